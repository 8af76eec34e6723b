// SPDX-License-Identifier: MIT
// Workers that come and go: resize from everywhere, raced with everything; growth and retirement by
// load.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>
#include <support/threads.hpp>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most = 16;

/// Counts each of many tasks, so that one that is lost or run twice shows.
class tally {
 public:
  explicit tally(std::size_t tasks) : runs_(tasks) {}
  void run(std::size_t task) { ++runs_[task]; }
  [[nodiscard]] std::size_t wrong() const {
    return static_cast<std::size_t>(
        std::count_if(runs_.begin(), runs_.end(), [](const auto& r) { return r != 1; }));
  }

 private:
  std::vector<std::atomic<int>> runs_;
};

weir::task<int> yields(int rounds) {
  for (int i = 0; i < rounds; ++i)
    co_await weir::yield();
  co_return rounds;
}

/// Makes all workers of `rt` busy until the gate opens; `inside` says how many are.
void occupy(weir::runtime& rt, std::size_t workers, std::atomic<std::size_t>& inside,
            test::gate& door) {
  for (std::size_t i = 0; i < workers; ++i) {
    rt.post([&] {
      ++inside;
      door.pass();
      --inside;
    });
    test::eventually([&] { return inside == i + 1; });
  }
}

} // namespace

TEST_CASE("resize refuses numbers out of range by value and limit", "[elastic]") {
  weir::runtime rt{{.workers = 2, .max_workers = 4}};
  CHECK(rt.workers() == 2);
  for (const std::size_t wanted : {std::size_t{0}, std::size_t{5}, static_cast<std::size_t>(-1)}) {
    try {
      rt.resize(wanted);
      FAIL("no exception");
    } catch (const weir::error& e) {
      CHECK(e.code() == weir::errc::invalid_option);
      CHECK_THAT(e.what(), Catch::Matchers::Contains("resize to " + std::to_string(wanted)) &&
                               Catch::Matchers::Contains("1 to 4"));
    }
  }
  CHECK(rt.workers() == 2);
  rt.stop();
  CHECK(test::code_of([&] { rt.resize(1); }) == weir::errc::stopped);
  CHECK(rt.workers() == 2);
}

TEST_CASE("options of elastic runtimes out of range are refused", "[elastic]") {
  const auto refusal = [](weir::runtime_options options) -> std::string {
    try {
      const weir::runtime rt(std::move(options));
    } catch (const weir::error& e) {
      return e.what();
    }
    return "";
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(refusal({.workers = 2, .min_workers = 3}),
             Contains("min_workers is 3") && Contains("1 to 2"));
  CHECK_THAT(refusal({.workers = 1, .max_blocking = 1025}),
             Contains("max_blocking is 1025") && Contains("0 to 1024"));
  CHECK_THAT(refusal({.workers = 1, .keep_alive = -1ns}), Contains("keep_alive is -1 ns"));
  CHECK(refusal({.workers = 1, .max_workers = 1024, .max_blocking = 1024}).empty());
}

TEST_CASE("a resize takes effect: so many run, and each thread calls both hooks", "[elastic]") {
  std::atomic<int> started{0};
  std::atomic<int> stopped{0};
  {
    weir::runtime rt{{.workers = 1,
                      .max_workers = most,
                      .on_worker_start = [&](std::size_t) { ++started; },
                      .on_worker_stop = [&](std::size_t) { ++stopped; }}};
    for (const std::size_t wanted : {16U, 3U, 7U, 1U, 16U, 2U}) {
      rt.resize(wanted);
      CHECK(rt.workers() == wanted);
      // Busy or asleep, those that are too many leave.
      test::eventually([&] { return rt.stats().running_workers == wanted; });
      test::gate door;
      std::atomic<std::size_t> inside{0};
      occupy(rt, wanted, inside, door);
      auto waits = rt.submit([] { return 1; });
      CHECK_FALSE(waits.wait_for(0ns));
      door.open();
      CHECK(waits.get() == 1);
      test::eventually([&] { return inside == 0; });
    }
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
  CHECK(started == stopped);
  CHECK(started >= 1 + 15 + 4 + 15);
}

TEST_CASE("a worker that leaves hands over everything that waits for it", "[elastic]") {
  // One worker holds jobs in its deque, its next slot and its ring while the other one is busy, and
  // then has to leave. Both stay busy for ever with tasks that submit themselves again, so that
  // nothing that could only be stolen would ever run.
  for (int round = 0; round < test::rounds(100); ++round) {
    weir::runtime rt{{.workers = 2, .max_workers = 2}};
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> ran{0};
    struct again {
      weir::runtime* rt;
      std::atomic<bool>* stop;
      void operator()() const {
        if (!*stop)
          rt->post(*this);
      }
    };
    test::gate door;
    std::atomic<std::size_t> inside{0};
    auto holder = rt.submit([&] {
      ++inside;
      for (int i = 0; i < 50; ++i)
        rt.post([&] { ++ran; });
      door.pass();
      for (int i = 0; i < 50; ++i)
        rt.post([&] { ++ran; });
    });
    for (int i = 0; i < 50; ++i)
      rt.post([&] { ++ran; });
    for (int i = 0; i < 4; ++i)
      rt.post(again{&rt, &stop});
    test::eventually([&] { return inside == 1; });
    rt.resize(1);
    door.open();
    test::eventually([&] { return ran == 150 && rt.stats().running_workers == 1; });
    stop = true;
    holder.get();
    rt.drain();
  }
}

TEST_CASE("resize from 1 to 16 and back under load: nothing lost, nothing run twice", "[elastic]") {
  const test::thread_count threads;
  constexpr std::size_t tasks = 20'000;
  {
    weir::runtime rt{{.workers = 1, .max_workers = most}};
    tally counted(4 * tasks);
    std::atomic<bool> stop{false};
    std::thread resizes([&] {
      for (std::size_t i = 0; !stop; ++i) {
        rt.resize(i % 2 == 0 ? most : 1);
        std::this_thread::sleep_for(1ms);
      }
    });
    std::vector<std::thread> submitters;
    for (std::size_t t = 0; t < 2; ++t) {
      submitters.emplace_back([&, t] {
        for (std::size_t i = 0; i < tasks; ++i) {
          const auto number = (t * tasks + i) * 2;
          rt.post([&, number] {
            counted.run(number);
            rt.post([&, number] { counted.run(number + 1); });
          });
          if (i % 1000 == 0)
            std::this_thread::yield();
        }
      });
    }
    std::vector<weir::handle<int>> coroutines;
    for (int i = 0; i < 20; ++i)
      coroutines.push_back(rt.submit(yields, 200));
    for (auto& t : submitters)
      t.join();
    for (auto& c : coroutines)
      CHECK(c.get() == 200);
    stop = true;
    resizes.join();
    rt.drain();
    CHECK(counted.wrong() == 0);
    const auto stats = rt.stats();
    CHECK(stats.accepted == stats.ended);
    CHECK(stats.workers.size() <= most + 64);
  }
  threads.wait_until_gone();
}

TEST_CASE("threads that have left are joined, however often the runtime is resized", "[elastic]") {
  weir::runtime rt{{.workers = 1, .max_workers = 4}};
  const test::thread_count threads;
  for (int i = 0; i < test::rounds(200); ++i) {
    rt.resize(4);
    rt.resize(1);
    // Else those that leave, or have only given up their places, may be needed again.
    if (i % 2 == 0) {
      test::eventually([&] { return rt.stats().running_workers == 1; });
      threads.wait_until_gone();
    }
  }
  CHECK(rt.stats().threads_started > static_cast<std::uint64_t>(test::rounds(200)));
  // No sleep makes this hold: the threads leave by themselves.
  threads.wait_until_gone();
  CHECK(rt.submit([] { return 1; }).get() == 1);
}

TEST_CASE("tasks may resize their own runtime, several at once", "[elastic]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers, .max_workers = most}};
    std::atomic<int> ran{0};
    for (std::size_t i = 0; i < 300; ++i) {
      rt.post([&, i] {
        rt.resize(1 + i % most);
        rt.post([&] { ++ran; });
      });
    }
    test::eventually([&] { return ran == 300; });
    rt.drain();
    const auto stats = rt.stats();
    CHECK(stats.accepted == 600);
    CHECK(stats.ended == 600);
  }
}

TEST_CASE("resize races with stop, drain, submissions and the destructor", "[elastic]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (int round = 0; round < test::rounds(150); ++round) {
      std::atomic<std::uint64_t> accepted{0};
      const auto held = std::make_shared<int>(0);
      {
        weir::runtime rt{{.workers = workers, .max_workers = most}};
        const auto resize = [&](std::size_t i) {
          try {
            rt.resize(1 + (i * 7 + workers) % most);
          } catch (const weir::error&) {
            return false;
          }
          return true;
        };
        // A task that goes on resizing until it is refused, or for a while.
        rt.post([resize, held] {
          for (std::size_t i = 0; i < 20 && resize(i); ++i) {
          }
        });
        std::thread resizes([&] {
          for (std::size_t i = 0; i < 50 && resize(i); ++i) {
          }
        });
        std::thread submits([&] {
          try {
            for (int i = 0; i < 500; ++i) {
              rt.post([held] {});
              ++accepted;
            }
          } catch (const weir::error&) {
          }
        });
        if (round % 3 == 0)
          rt.stop();
        else if (round % 3 == 1)
          rt.drain();
        resizes.join();
        submits.join();
        if (round % 3 != 2) {
          const auto stats = rt.stats();
          CHECK(stats.accepted == accepted + 1);
          CHECK(stats.ended == accepted + 1);
        }
      }
      CHECK(held.use_count() == 1);
    }
  }
}

TEST_CASE("a task destroys its runtime while workers come and go", "[elastic]") {
  for (int round = 0; round < test::rounds(200); ++round) {
    std::atomic<int> started{0};
    std::atomic<int> left{0};
    auto owned = std::make_unique<weir::runtime>(
        weir::runtime_options{.workers = 3,
                              .max_workers = 8,
                              .on_worker_start = [&](std::size_t) { ++started; },
                              .on_worker_stop = [&](std::size_t) { ++left; }});
    auto& rt = *owned;
    std::atomic<bool> gone{false};
    rt.resize(8);
    rt.resize(2);
    rt.post([owned = std::move(owned), &gone]() mutable {
      owned->resize(5);
      owned.reset();
      gone = true;
    });
    test::eventually([&] { return gone.load() && started >= 8 && started == left; });
  }
}

TEST_CASE("tasks that hooks submit while workers come and go are all run", "[elastic]") {
  for (int round = 0; round < test::rounds(100); ++round) {
    std::atomic<std::uint64_t> ran{0};
    std::atomic<std::uint64_t> submitted{0};
    std::unique_ptr<weir::runtime> rt;
    std::atomic<weir::runtime*> known{nullptr};
    const auto submit = [&](std::size_t) {
      if (auto* const to = known.load()) {
        try {
          to->post([&] { ++ran; });
          ++submitted;
        } catch (const weir::error&) {
          return; // stopped
        }
      }
    };
    rt = std::make_unique<weir::runtime>(weir::runtime_options{
        .workers = 1, .max_workers = 8, .on_worker_start = submit, .on_worker_stop = submit});
    known = rt.get();
    for (std::size_t i = 0; i < 10; ++i)
      rt->resize(i % 2 == 0 ? 8 : 1);
    rt->drain();
    CHECK(rt->stats().accepted == rt->stats().ended);
    CHECK(ran == submitted);
    rt.reset();
  }
}

TEST_CASE("timers of workers that have left still fire", "[elastic]") {
  weir::runtime rt{{.workers = 8, .max_workers = 8}};
  std::vector<weir::handle<void>> sleepers;
  const auto body = []() -> weir::task<> { co_await weir::sleep_for(20ms); };
  for (int i = 0; i < 200; ++i)
    sleepers.push_back(rt.submit(body));
  rt.resize(1);
  for (auto& s : sleepers)
    s.get();
  CHECK(rt.stats().ended <= 200);
}

TEST_CASE("a manual clock knows when a runtime that is resized is idle", "[elastic]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .max_workers = 4, .clock = &clock}};
  const auto body = []() -> weir::task<> { co_await weir::sleep_for(24h); };
  for (const std::size_t wanted : {4U, 2U, 3U, 1U}) {
    rt.resize(wanted);
    rt.submit(body).get();
  }
  CHECK(clock.now().time_since_epoch() >= 4 * 24h);
}

TEST_CASE("an elastic runtime grows with its backlog, not beyond the bounds", "[elastic]") {
  const auto usable = weir::usable_cpus().count;
  const std::size_t bound = std::min<std::size_t>(usable, 3);
  weir::runtime rt{{.workers = 1, .max_workers = 3, .elastic = true}};
  test::gate door;
  std::atomic<std::size_t> inside{0};
  // Each finds everybody busy and makes one more worker start, until the bound.
  occupy(rt, bound, inside, door);
  CHECK(rt.workers() == bound);
  for (int i = 0; i < 100; ++i)
    rt.post([] {});
  CHECK(rt.workers() == bound);
  CHECK(rt.stats().threads_started == bound);
  door.open();
  rt.drain();
}

TEST_CASE("a runtime that is not elastic does not grow", "[elastic]") {
  weir::runtime rt{{.workers = 1, .max_workers = 8}};
  test::gate door;
  std::atomic<std::size_t> inside{0};
  occupy(rt, 1, inside, door);
  for (int i = 0; i < 100; ++i)
    rt.post([] {});
  CHECK(rt.stats().threads_started == 1);
  CHECK(rt.workers() == 1);
  door.open();
  rt.drain();
}

TEST_CASE("workers of an elastic runtime that are idle too long leave, down to the minimum",
          "[elastic]") {
  std::atomic<int> alive{0};
  weir::runtime rt{{.workers = 8,
                    .elastic = true,
                    .min_workers = 2,
                    .keep_alive = 1ms,
                    .on_worker_start = [&](std::size_t) { ++alive; },
                    .on_worker_stop = [&](std::size_t) { --alive; }}};
  test::eventually([&] { return rt.workers() == 2 && alive == 2; });
  for (int i = 0; i < 100; ++i)
    CHECK(rt.submit([i] { return i; }).get() == i);
  CHECK(rt.workers() >= 2);
  CHECK(rt.stats().running_workers >= 2);
}

TEST_CASE("an elastic runtime breathes without losing a task", "[elastic]") {
  // Grown and shrunk by resize as well, which it takes as its new size.
  for (const auto keep : {0ns, 100'000ns}) {
    weir::runtime rt{
        {.workers = 4, .max_workers = 4, .elastic = true, .min_workers = 1, .keep_alive = keep}};
    constexpr std::size_t tasks = 5'000;
    tally counted(tasks);
    for (std::size_t i = 0; i < tasks; ++i) {
      if (i % 100 == 0)
        rt.resize(1 + i / 100 % 4);
      auto done = rt.submit([&, i] { counted.run(i); });
      if (i % 10 == 0)
        done.get();
      else
        rt.post([held = std::move(done)] {});
    }
    rt.drain();
    CHECK(counted.wrong() == 0);
  }
}
