// SPDX-License-Identifier: MIT
// A worker that goes through a part of somebody's loop leaves the rest of it when other work waits.
#include <weir/parallel_for.hpp>
#include <weir/parallel_transform.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/parallel.hpp>

using namespace std::chrono_literals;

namespace {

constexpr int elements = 1 << 16;

constinit weir::context_key<int> request;

/// A thread that posts tasks, which fork, one after the other, as long as this lives.
class poster {
 public:
  explicit poster(weir::runtime& rt)
      : thread_([this, &rt](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            const auto before = ran_.load();
            rt.post([this] {
              std::atomic<int> sum{0};
              weir::parallel_for(0, 4, [&](int i) { sum += i; });
              // To block makes all forks of the thread public, those below too; they stay what they
              // were.
              for (int i = 0; i < 2; ++i)
                weir::fork_join([&] { weir::blocking([&] { ++sum; }); }, [&] { --sum; });
              ran_ += sum == 6 ? 1 : 1'000'000;
            });
            while (ran_.load() == before)
              std::this_thread::yield();
          }
        }) {}
  /// Whether all of them have seen their own forks.
  [[nodiscard]] bool good() const { return ran_ < 1'000'000; }

 private:
  std::atomic<std::uint64_t> ran_{0};
  std::jthread thread_;
};

} // namespace

TEST_CASE("a task does not wait for a loop that its worker takes part in", "[parallel_for]") {
  for (const bool due_timer : {false, true}) {
    weir::runtime rt{{.workers = 1}};
    const auto owner = std::this_thread::get_id();
    std::atomic<bool> inside{false};
    std::atomic<bool> waits{false};
    std::atomic<bool> ran{false};
    std::atomic<int> before{0};
    std::atomic<bool> sleeps{!due_timer};
    const auto sleeper = [](std::atomic<bool>& starts, std::atomic<bool>& ends) -> weir::task<> {
      starts = true;
      co_await weir::sleep_for(10ms);
      ends = true;
    };
    if (due_timer)
      (void)rt.spawn(sleeper(sleeps, ran));
    test::eventually([&] { return sleeps.load(); });
    std::jthread other([&] {
      test::eventually([&] { return inside.load(); });
      if (due_timer)
        std::this_thread::sleep_for(30ms); // more than the timer's
      else
        rt.post([&] { ran = true; });
      waits = true;
    });
    weir::parallel_for(rt, 0, elements, [&](int) {
      if (std::this_thread::get_id() == owner) {
        test::eventually([&] { return ran.load(); });
        return;
      }
      inside = true;
      test::eventually([&] { return waits.load(); });
      if (!ran)
        ++before;
    });
    inside = true; // should the timer have been faster than the worker
    // The owner has held the front half until then; the worker has not gone through the other one.
    CHECK(before < elements / 8);
    CHECK(ran);
  }
}

TEST_CASE("others finish what a worker has left of a loop", "[parallel_for]") {
  // The task that the worker runs instead ends only after the loop. Whether the loop's owner is
  // awake, asleep or about to sleep is chance.
  for (const auto spin : {0us, 50us}) {
    for (const bool on_worker : {false, true}) {
      for (int round = 0; round < test::rounds(100); ++round) {
        weir::runtime rt{{.workers = on_worker ? 2U : 1U, .spin = spin}};
        std::atomic<bool> inside{false};
        std::atomic<bool> started{false};
        std::atomic<bool> ended{false};
        std::atomic<int> calls{0};
        std::jthread other([&] {
          test::eventually([&] { return inside.load(); });
          if (round % 2 != 0)
            std::this_thread::sleep_for(std::chrono::microseconds(round));
          rt.post([&] {
            started = true;
            test::eventually([&] { return ended.load(); });
          });
        });
        const auto loop = [&] {
          const auto owner = std::this_thread::get_id();
          weir::parallel_for(0, 1000, [&](int) {
            ++calls;
            if (std::this_thread::get_id() == owner)
              return;
            // One who stays inside until the task waits for a worker: then leaving is all that
            // helps.
            if (!inside.exchange(true))
              std::this_thread::sleep_for(100us);
          });
          ended = true;
        };
        if (on_worker)
          rt.submit(loop).get();
        else
          weir::parallel_invoke(rt, loop, [] {});
        // If nobody has taken part, the other thread waits in vain.
        inside = true;
        CHECK(calls == 1000);
        other.join();
        test::eventually([&] { return started.load(); });
        rt.drain(); // the task may still be looking at `ended`
      }
    }
  }
}

TEST_CASE("what is left of a loop keeps its request context", "[parallel_for][context]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    test::faults faults;
    {
      const poster tasks(rt);
      for (int i = 1; i <= 4; ++i) {
        rt.submit([&faults, i] {
            const weir::context_scope set(request, i);
            for (int round = 0; round < test::rounds(500); ++round) {
              weir::parallel_for(0, 1000, [&](int) {
                const int* const seen = request.get();
                faults.check(seen != nullptr && *seen == i);
              });
            }
          }).get();
      }
      CHECK(tasks.good());
    }
    CHECK(faults.count() == 0);
  }
}

TEST_CASE("a loop that is stopped drops what a worker has left of it", "[parallel_for]") {
  for (int round = 0; round < test::rounds(50); ++round) {
    weir::runtime rt{{.workers = 2}};
    std::atomic<bool> inside{false};
    std::atomic<bool> stopped{false};
    std::atomic<int> calls{0};
    auto loop = rt.submit([&] {
      const auto owner = std::this_thread::get_id();
      weir::parallel_for(0, elements, [&](int) {
        ++calls;
        if (std::this_thread::get_id() == owner)
          test::eventually([&] { return stopped.load(); });
        else
          inside = true;
      });
    });
    test::eventually([&] { return inside.load(); });
    rt.submit([&] { CHECK(loop.request_stop()); }).get();
    stopped = true;
    CHECK_THROWS_AS(loop.get(), weir::task_cancelled);
    CHECK(calls < elements);
  }
}

TEST_CASE("a stolen piece of a loop that was stopped meanwhile is dropped", "[parallel_for]") {
  weir::runtime rt{{.workers = 2}};
  test::gate door;
  std::atomic<bool> blocked{false};
  rt.post([&] {
    blocked = true;
    door.pass();
  });
  test::eventually([&] { return blocked.load(); });
  std::atomic<int> calls{0};
  auto loop = rt.submit([&] {
    weir::parallel_for(
        0, 2,
        [&](int) {
          ++calls;
          test::eventually([&] { return rt.stats().total.stolen_forks != 0; });
        },
        weir::grain(1));
  });
  test::eventually([&] { return calls != 0; });
  CHECK(loop.request_stop());
  door.open();
  // The owner itself has nothing left at which it could see the request.
  CHECK_THROWS_AS(loop.get(), weir::task_cancelled);
  CHECK(calls == 1);
}

TEST_CASE("of a loop's exceptions the first in the range is thrown", "[parallel_for]") {
  for (const bool front_first : {false, true}) {
    weir::runtime rt{{.workers = 1}};
    const auto owner = std::this_thread::get_id();
    std::atomic<int> entered{0};
    std::atomic<bool> thrown{false};
    try {
      weir::parallel_for(
          rt, 0, 2,
          [&](int i) {
            const bool front = std::this_thread::get_id() == owner;
            ++entered;
            test::eventually([&] { return entered == 2; });
            struct told {
              ~told() { flag = true; }
              std::atomic<bool>& flag;
            };
            if (front != front_first) {
              test::eventually([&] { return thrown.load(); });
              // The other one is on its way.
              std::this_thread::sleep_for(1ms);
            }
            const told unwinding{thrown};
            throw std::runtime_error(std::to_string(i));
          },
          weir::grain(1));
      FAIL("no exception");
    } catch (const std::runtime_error& e) {
      CHECK(std::string(e.what()) == "0");
    }
    CHECK(rt.stats().suppressed_exceptions == 1);
  }
}

TEST_CASE("children of a scope that are forked inside of a loop run once", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::vector<int> calls(n);
      std::vector<int> runs(n);
      weir::with_fork_scope([&](weir::fork_scope& scope) {
        weir::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
          ++calls[i];
          scope.fork([&runs, i] { ++runs[i]; });
        });
        scope.fork([] {});
      });
      faults.check(test::all_are(calls, 1));
      faults.check(test::all_are(runs, 1));
    }
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("loops with other tasks in between go through each element once", "[parallel_for]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers, .max_workers = 16}};
    test::faults faults;
    {
      const poster tasks(rt);
      const poster more(rt);
      std::jthread resizer([&](const std::stop_token& stop) {
        for (std::size_t i = 0; !stop.stop_requested(); ++i) {
          rt.resize(i % 3 == 0 ? workers : 1 + i % 4);
          std::this_thread::sleep_for(1ms);
        }
      });
      const auto work = [&faults](std::uint32_t seed) {
        for (int round = 0; round < test::rounds(60); ++round) {
          seed = seed * 1'664'525 + 1'013'904'223;
          const std::size_t n = test::sizes[seed % std::size(test::sizes)];
          std::vector<int> counts(n);
          switch (seed >> 16 & 3) {
          case 0: {
            std::atomic<int> thrown{0};
            try {
              weir::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
                ++counts[i];
                if (i % 777 == 700) {
                  ++thrown;
                  throw std::runtime_error("700");
                }
              });
              faults.check(thrown == 0 && n <= 700);
            } catch (const std::runtime_error&) {
              faults.check(thrown != 0);
            }
            faults.check(std::ranges::all_of(counts, [](int c) { return c <= 1; }));
            break;
          }
          case 1:
            weir::parallel_for(std::size_t{0}, n / 16, [&](std::size_t block) {
              weir::parallel_for(block * 16, block * 16 + 16, [&](std::size_t i) { ++counts[i]; });
            });
            faults.check(std::accumulate(counts.begin(), counts.end(), std::size_t{0}) ==
                         n / 16 * 16);
            break;
          default:
            weir::parallel_transform(counts, counts.begin(), [](int c) { return c + 1; });
            faults.check(test::all_are(counts, 1));
          }
        }
      };
      std::jthread guest([&] { weir::parallel_invoke(rt, [&] { work(1); }, [&] { work(2); }); });
      auto on_worker = rt.submit(work, 3U);
      on_worker.get();
      guest.join();
      CHECK((tasks.good() && more.good()));
    }
    CHECK(faults.count() == 0);
  }
}
