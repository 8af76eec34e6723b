// SPDX-License-Identifier: MIT
// Ten seconds of workers that come and go under load, and how fast a runtime answers whose workers
// all block. Slow, so that it stands alone.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>
#include <support/threads.hpp>

using namespace std::chrono_literals;

TEST_CASE("resize from 1 to 16 and back every millisecond for ten seconds under load",
          "[elastic]") {
  const test::thread_count threads;
  std::uint64_t submitted = 0;
  std::uint64_t resizes = 0;
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> twice{0};
  {
    weir::runtime rt{{.workers = 1, .max_workers = 16}};
    std::atomic<bool> stop{false};
    std::thread resizer([&] {
      for (; !stop; ++resizes) {
        rt.resize(resizes % 2 == 0 ? 16 : 1);
        std::this_thread::sleep_for(1ms);
      }
    });
    const auto end = std::chrono::steady_clock::now() + 10s;
    constexpr std::size_t batch = 2000;
    std::vector<std::atomic<std::uint32_t>> marks(2 * batch);
    while (std::chrono::steady_clock::now() < end) {
      for (auto& m : marks)
        m = 0;
      for (std::size_t i = 0; i < batch; ++i) {
        rt.post([&, i] {
          twice += marks[2 * i]++ != 0;
          ++ran;
          rt.post([&, i] {
            twice += marks[2 * i + 1]++ != 0;
            ++ran;
          });
        });
      }
      submitted += 2 * batch;
      test::eventually([&] { return ran == submitted; }); // a lost one hangs here
    }
    stop = true;
    resizer.join();
    rt.drain();
    const auto stats = rt.stats();
    CHECK(stats.accepted == submitted);
    CHECK(stats.ended == submitted);
    CHECK(stats.threads_started > 1);
    std::cout << submitted << " tasks, " << resizes << " resizes, " << stats.threads_started
              << " threads started\n";
  }
  CHECK(ran == submitted);
  CHECK(twice == 0);
  threads.wait_until_gone();
}

TEST_CASE("how fast a runtime answers whose workers all block", "[blocking]") {
  weir::runtime rt{{.workers = 2}};
  std::vector<double> latencies;
  for (int round = 0; round < test::rounds(200); ++round) {
    test::gate door;
    std::atomic<int> inside{0};
    for (int i = 0; i < 4; ++i) {
      rt.post([&] {
        ++inside;
        weir::blocking([&] { door.pass(); });
        --inside;
      });
    }
    test::eventually([&] { return inside == 4; });
    std::atomic<bool> answered{false};
    const auto start = std::chrono::steady_clock::now();
    rt.post([&] { answered = true; });
    test::eventually([&] { return answered.load(); });
    latencies.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
    door.open();
    test::eventually([&] { return inside == 0; });
  }
  rt.drain();
  std::sort(latencies.begin(), latencies.end());
  std::cout << "answer of a runtime that blocks in all its workers: median "
            << latencies[latencies.size() / 2] << " us, longest " << latencies.back() << " us\n";
  CHECK(rt.stats().blocked_workers == 0);
}
