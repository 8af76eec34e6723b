// SPDX-License-Identifier: MIT
// Options and their errors, names, hooks, statistics, sleeping and waking.
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <pthread.h>
#include <scheduler.hpp>
#include <support/support.hpp>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

std::string refusal(weir::runtime_options options) {
  try {
    weir::runtime rt(std::move(options));
  } catch (const weir::error& e) {
    return e.code() == weir::errc::invalid_option ? e.what() : "another code";
  }
  return "";
}

std::string thread_name() {
  char name[32] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

/// What the kernel says of some threads.
struct kernel_view {
  int threads = 0;
  int asleep = 0;
  long sleeps = 0; // how often they went to sleep
  bool operator==(const kernel_view&) const = default;
};

/// Of the threads with this name prefix.
kernel_view kernel_view_of(const std::string& prefix) {
  kernel_view sum;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    bool counts = false;
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Name:")) {
        counts = line.find(prefix) != std::string::npos;
        sum.threads += counts ? 1 : 0;
      } else if (counts && line.starts_with("State:")) {
        sum.asleep += line.find("S (sleeping)") != std::string::npos ? 1 : 0;
      } else if (counts && line.starts_with("voluntary_ctxt_switches:")) {
        sum.sleeps += std::stol(line.substr(line.find(':') + 1));
      }
    }
  }
  return sum;
}

class fixed_clock final : public weir::clock_source {
 public:
  [[nodiscard]] time_point now() const noexcept override { return time_point(42s); }
};

} // namespace

TEST_CASE("options out of range are refused by field, value and limit", "[runtime]") {
  using Catch::Matchers::Contains;
  CHECK_THAT(refusal({.workers = 1025}), Contains("workers is 1025") && Contains("1024"));
  CHECK_THAT(refusal({.workers = static_cast<std::size_t>(-1)}), Contains("workers is"));
  CHECK_THAT(refusal({.workers = 4, .max_workers = 3}),
             Contains("max_workers is 3") && Contains("4 (the number of workers)"));
  CHECK_THAT(refusal({.workers = 1, .max_workers = 5000}), Contains("max_workers is 5000"));
  CHECK_THAT(refusal({.workers = 1, .stack_size = 100}), Contains("stack_size is 100"));
  CHECK_THAT(refusal({.workers = 1, .spin = -1ns}), Contains("spin is -1 ns"));
  CHECK_THAT(refusal({.workers = 1, .spin = 2s}), Contains("spin is"));
  CHECK_THAT(refusal({.workers = 1, .thread_name = std::string("a\0b", 3)}),
             Contains("thread_name"));
  CHECK(refusal({.workers = 1, .max_workers = 1024, .spin = 0ns}).empty());
}

TEST_CASE("the default number of workers is the number of usable CPUs", "[runtime]") {
  const weir::runtime rt;
  CHECK(rt.workers() == weir::usable_cpus().count);
}

TEST_CASE("threads that cannot be started are reported and leave nothing behind", "[runtime]") {
  try {
    // No machine has that much address space for one stack.
    weir::runtime rt{{.workers = 2, .stack_size = std::size_t{1} << 50}};
    FAIL("no exception");
  } catch (const weir::error& e) {
    CHECK(e.code() == weir::errc::thread_start_failed);
    CHECK_THAT(e.what(), Catch::Matchers::Contains("worker thread 1 of 2"));
  }
}

TEST_CASE("worker threads are named, with the option's prefix cut by the kernel", "[runtime]") {
  weir::runtime rt{{.workers = 1, .thread_name = "ingest"}};
  CHECK(rt.submit(thread_name).get() == "ingest-0");
  weir::runtime longer{{.workers = 1, .thread_name = "a-very-long-name-indeed"}};
  CHECK(longer.submit(thread_name).get() == "a-very-long-nam");
}

TEST_CASE("hooks run once on each worker, before its first and after its last task", "[runtime]") {
  for (const auto workers : test::worker_counts) {
    std::vector<std::atomic<int>> started(workers);
    std::vector<std::atomic<int>> stopped(workers);
    std::atomic<bool> before_start{false};
    {
      weir::runtime rt{{.workers = workers,
                        .on_worker_start = [&](std::size_t i) { ++started[i]; },
                        .on_worker_stop = [&](std::size_t i) { ++stopped[i]; }}};
      for (int i = 0; i < 100; ++i) {
        rt.post([&] {
          int all = 0;
          for (auto& s : started)
            all += s.load();
          if (all == 0)
            before_start = true;
        });
      }
      rt.drain();
    }
    CHECK_FALSE(before_start);
    for (std::size_t i = 0; i < workers; ++i) {
      CHECK(started[i] == 1);
      CHECK(stopped[i] == 1);
    }
  }
}

TEST_CASE("a hook that throws is reported and harms nothing", "[runtime]") {
  std::atomic<int> handled{0};
  {
    weir::runtime rt{{.workers = 2,
                      .on_worker_start = [](std::size_t) { throw 1; },
                      .on_worker_stop = [](std::size_t) { throw 2; },
                      .on_unhandled_exception = [&](std::exception_ptr) { ++handled; }}};
    CHECK(rt.submit([] { return 1; }).get() == 1);
  }
  CHECK(handled == 4);
}

TEST_CASE("the runtime reads the clock that it was given", "[runtime]") {
  const fixed_clock clock;
  const weir::runtime rt{{.workers = 1, .clock = &clock}};
  CHECK(rt.now() == weir::clock_source::time_point(42s));
  const weir::runtime real{{.workers = 1}};
  const auto before = std::chrono::steady_clock::now();
  CHECK(real.now() >= before);
}

TEST_CASE("a process may hold many runtimes, used by the same threads", "[runtime]") {
  std::vector<std::unique_ptr<weir::runtime>> many;
  for (int i = 0; i < 20; ++i)
    many.push_back(std::make_unique<weir::runtime>(weir::runtime_options{.workers = 1}));
  std::atomic<int> ran{0};
  for (int round = 0; round < 10; ++round) {
    for (auto& rt : many)
      rt->post([&] { ++ran; });
  }
  for (auto& rt : many)
    rt->drain();
  CHECK(ran == 200);
}

TEST_CASE("statistics count what happened", "[runtime]") {
  weir::runtime rt{{.workers = 1}};
  for (int i = 0; i < 100; ++i)
    rt.post([] {});
  rt.submit([&] {
      for (int i = 0; i < 50; ++i)
        rt.post([] {});
    }).get();
  rt.drain();
  const auto stats = rt.stats();
  CHECK(stats.accepted == 151);
  CHECK(stats.ended == 151);
  CHECK(stats.total.run == 151);
  CHECK(stats.total.spawned == 50);
  CHECK(stats.total.injector_takes == 101);
  CHECK(stats.total.stolen == 0);
  CHECK(stats.total.overflows == 0);
  REQUIRE(stats.workers.size() == 1);
  CHECK(stats.workers[0].run == stats.total.run);
}

TEST_CASE("more tasks than a worker's deque holds overflow and all run", "[runtime]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    rt.submit([&] {
        for (int i = 0; i < 20'000; ++i)
          rt.post([&] { ++ran; });
      }).get();
    rt.drain();
    CHECK(ran == 20'000);
    if (workers == 1)
      CHECK(rt.stats().total.overflows > 0);
  }
}

TEST_CASE("small callables beyond the first 256 leave a worker's deque to others", "[runtime]") {
  weir::runtime rt{{.workers = 1}};
  int ran = 0;
  rt.submit([&] {
      for (int i = 0; i < 1'000; ++i)
        rt.post([&ran] { ++ran; });
    }).get();
  rt.drain();
  CHECK(ran == 1'000);
  CHECK(rt.stats().total.spawned == 1'000);
  CHECK(rt.stats().total.overflows == 1'000 - 256);
  CHECK(rt.stats().ended == 1'001);

  weir::runtime another{{.workers = 1}};
  another
      .submit([&] {
        const std::array<int*, 16> larger_than_a_packet{&ran};
        for (int i = 0; i < 1'000; ++i)
          another.post([larger_than_a_packet] { ++*larger_than_a_packet[0]; });
      })
      .get();
  another.drain();
  CHECK(ran == 2'000);
  CHECK(another.stats().total.overflows == 0);
}

TEST_CASE("an idle runtime sleeps: no worker wakes up by itself", "[runtime]") {
  weir::runtime rt{{.workers = 4, .thread_name = "idlers"}};
  rt.submit([] {}).get();
  // The kernel is asked too: a worker that waits for a CPU changes no figure either.
  kernel_view asleep;
  test::eventually([&] {
    const auto before = rt.stats().total;
    const auto earlier = kernel_view_of("idlers");
    std::this_thread::sleep_for(20ms);
    const auto after = rt.stats().total;
    asleep = kernel_view_of("idlers");
    return asleep.threads == 4 && asleep.asleep == 4 && asleep == earlier &&
           after.parks == before.parks && after.failed_steals == before.failed_steals;
  });
  const auto stats = rt.stats().total;
  CHECK(asleep.sleeps > 0);
  std::this_thread::sleep_for(300ms);
  CHECK(kernel_view_of("idlers").sleeps == asleep.sleeps);
  CHECK(rt.stats().total.failed_steals == stats.failed_steals);
  CHECK(rt.stats().total.parks == stats.parks);
}

TEST_CASE("single submissions to sleeping workers always wake one", "[runtime]") {
  // Without a time-out anywhere, one lost wake-up would hang this test.
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers, .spin = 0ns}};
    for (int i = 0; i < test::rounds(20'000); ++i)
      rt.submit([] {}).get();
  }
}

namespace {

/// A job wakes a coroutine and holds its worker until that has run, which must be elsewhere.
void wake_and_wait(weir::runtime& rt) {
  weir::event wake;
  std::atomic<bool> ran{false};
  auto sleeper = rt.spawn([](weir::event& woken, std::atomic<bool>& done) -> weir::task<> {
    co_await woken.wait();
    done = true;
  }(wake, ran));
  rt.submit([&] {
      wake.set();
      test::eventually([&] { return ran.load(); });
    }).get();
  sleeper.get();
}

} // namespace

TEST_CASE("a coroutine runs elsewhere when what woke it goes on", "[runtime]") {
  // It is in the next slot of a worker that waits for it: a thief must see that no job ends there.
  for (const std::size_t workers : {2U, 16U}) {
    for (const auto spin : {0ns, 20'000ns}) {
      weir::runtime rt{{.workers = workers, .spin = spin}};
      for (int round = 0; round < test::rounds(300); ++round)
        wake_and_wait(rt);
    }
  }
}

TEST_CASE("a coroutine runs elsewhere also while others hand work to each other", "[runtime]") {
  // A pair keeps a next slot taken that changes hands all the time; a thief must look past it.
  weir::runtime rt{{.workers = 3}};
  weir::queue<int> there(1);
  weir::queue<int> back(1);
  std::atomic<bool> over{false};
  const auto asks = [&]() -> weir::task<> {
    while (!over) {
      co_await there.push(1);
      (void)co_await back.pop();
    }
    there.close();
  };
  const auto answers = [&]() -> weir::task<> {
    while (auto asked = co_await there.pop())
      co_await back.push(*asked);
  };
  auto answering = rt.spawn(answers());
  auto asking = rt.spawn(asks());
  for (int round = 0; round < test::rounds(100); ++round)
    wake_and_wait(rt);
  over = true;
  asking.get();
  answering.get();
}

TEST_CASE("the others sleep while a pair hand work to each other, and help when it stops",
          "[runtime]") {
  if (weir::usable_cpus().count < 2)
    return; // nobody sees a pair at work that has to wait meanwhile
  for (const std::size_t workers : {2U, 3U, 16U}) {
    for (const auto spin : {0ns, 20'000ns}) {
      weir::runtime rt{{.workers = workers, .spin = spin}};
      const auto& idle = rt.scheduler().idle();
      weir::queue<int> there(1);
      weir::queue<int> back(1);
      std::atomic<bool> over{false};
      std::atomic<bool> stops{false};
      std::atomic<long> answered{0};
      const auto watched = [&] { return idle.is_watched() && idle.searching() == 0; };
      std::atomic<long> pushed_watched{0};
      long woken = 0;
      const auto asks = [&]() -> weir::task<> {
        while (!over) {
          const long before = answered;
          const bool sleep = watched();
          const auto wakes = rt.stats().total.wakes;
          co_await there.push(1);
          if (sleep) {
            woken += rt.stats().total.wakes == wakes ? 0 : 1;
            ++pushed_watched;
          }
          // Who answers is in this worker's next slot, and nobody has been woken for it.
          if (stops.exchange(false))
            test::eventually([&] { return answered != before; });
          (void)co_await back.pop();
        }
        there.close();
      };
      const auto answers = [&]() -> weir::task<> {
        while (auto asked = co_await there.pop()) {
          ++answered;
          co_await back.push(*asked);
        }
      };
      auto answering = rt.spawn(answers());
      auto asking = rt.spawn(asks());
      for (int round = 0; round < test::rounds(20); ++round) {
        test::eventually(watched);
        stops = true;
        test::eventually([&] { return !stops; });
      }
      test::eventually([&] { return pushed_watched >= 100; });
      over = true;
      asking.get();
      answering.get();
      // The watch may end just then, but seldom does.
      CHECK(woken * 2 < pushed_watched);
      test::eventually([&] { return !idle.is_watched(); });
    }
  }
}

TEST_CASE("a worker never keeps tasks that an idle worker could run", "[runtime]") {
  // One task blocks the worker that took a whole batch; the others must run all the same. Each may
  // be waiting in the batch ring, in the deque or in the next slot of the blocked worker.
  weir::runtime rt{{.workers = 2}};
  for (int round = 0; round < test::rounds(300); ++round) {
    test::gate first_door;
    test::gate second_door;
    std::atomic<int> ran{0};
    std::vector<std::function<void()>> batch;
    batch.emplace_back([&] { first_door.pass(); });
    for (int i = 0; i < 20; ++i)
      batch.emplace_back([&] { ++ran; });
    rt.post_bulk(batch);
    test::eventually([&] { return ran == 20; });
    first_door.open();
    auto blocker = rt.submit([&] {
      for (int i = 0; i < 20; ++i)
        rt.post([&] { ++ran; });
      second_door.pass();
    });
    test::eventually([&] { return ran == 40; });
    second_door.open();
    blocker.get();
  }
  rt.drain();
}
