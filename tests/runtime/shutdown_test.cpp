// SPDX-License-Identifier: MIT
// Ending a runtime: drain, stop, the destructor, on and off its workers, under fire.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

namespace {

bool refused_as_stopped(weir::runtime& rt) {
  try {
    rt.post([] {});
  } catch (const weir::error& e) {
    return e.code() == weir::errc::stopped;
  }
  return false;
}

weir::task<int> busy(int rounds) {
  for (int i = 0; i < rounds; ++i)
    co_await weir::yield();
  co_return rounds;
}

} // namespace

TEST_CASE("drain runs everything accepted and what those tasks submit", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    struct tree {
      static void grow(weir::runtime& on, std::atomic<int>& count, int depth) {
        ++count;
        if (depth > 0) {
          on.post([&on, &count, depth] { grow(on, count, depth - 1); });
          on.post([&on, &count, depth] { grow(on, count, depth - 1); });
        }
      }
    };
    rt.post([&] { tree::grow(rt, ran, 10); });
    auto coroutine = rt.submit(busy, 100);
    rt.drain();
    CHECK(ran == 2047);
    CHECK(coroutine.done());
    CHECK(coroutine.get() == 100);
    CHECK(refused_as_stopped(rt));
    rt.drain();
    rt.stop();
  }
}

TEST_CASE("stop drops what has not started and says so to its waiters", "[shutdown]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  std::atomic<bool> inside{false};
  auto running = rt.submit([&] {
    inside = true;
    door.pass();
    return 1;
  });
  test::eventually([&] { return inside.load(); });
  std::vector<weir::handle<void>> waiting;
  auto destroyed = std::make_shared<int>(0);
  std::atomic<int> ran{0};
  for (int i = 0; i < 100; ++i) {
    waiting.push_back(rt.submit([&ran, destroyed] { ++ran; }));
    rt.post([&ran, destroyed] { ++ran; });
  }
  std::thread stopper([&] { rt.stop(); });
  test::eventually([&] { return refused_as_stopped(rt); });
  door.open();
  stopper.join();
  CHECK(running.get() == 1);
  for (auto& handle : waiting)
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
  CHECK(ran == 0);
  CHECK(destroyed.use_count() == 1);
  const auto stats = rt.stats();
  CHECK(stats.accepted == stats.ended);
}

TEST_CASE("started coroutines run to their end while the runtime stops", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> started{0};
    const auto body = [](std::atomic<int>& count, weir::runtime& on) -> weir::task<int> {
      ++count;
      int refused = 0;
      while (refused == 0) {
        co_await weir::yield();
        try {
          on.post([] {});
        } catch (const weir::error&) {
          refused = 1;
        }
      }
      for (int i = 0; i < 100; ++i)
        co_await weir::yield();
      co_return refused;
    };
    auto one = rt.submit(body, std::ref(started), std::ref(rt));
    auto two = rt.submit(body, std::ref(started), std::ref(rt));
    test::eventually([&] { return started == 2; });
    rt.stop();
    CHECK(one.get() == 1);
    CHECK(two.get() == 1);
  }
}

TEST_CASE("a task that awaits a dropped task gets task_cancelled and ends", "[shutdown]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<bool> waiting{false};
  const auto body = [](weir::runtime& on, std::atomic<bool>& flag) -> weir::task<bool> {
    bool cancelled = false;
    // Both stay in this worker's deque behind this task until it suspends.
    auto child = on.submit(busy, 1);
    flag = true;
    while (!refused_as_stopped(on))
      std::this_thread::yield();
    try {
      co_await child;
    } catch (const weir::task_cancelled&) {
      cancelled = true;
    }
    co_return cancelled;
  };
  auto parent = rt.submit(body, std::ref(rt), std::ref(waiting));
  test::eventually([&] { return waiting.load(); });
  rt.stop();
  CHECK(parent.get());
}

TEST_CASE("submitting from many threads while the runtime stops loses nothing", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    for (int round = 0; round < test::rounds(40); ++round) {
      weir::runtime rt{{.workers = workers}};
      std::atomic<std::uint64_t> accepted{0};
      auto destroyed = std::make_shared<int>(0);
      std::vector<std::thread> threads;
      std::vector<std::vector<weir::handle<int>>> handles(3);
      for (std::size_t t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
          try {
            for (;;) {
              rt.post([destroyed] {});
              ++accepted;
              handles[t].push_back(rt.submit([destroyed] { return 1; }));
              ++accepted;
              if (handles[t].size() % 64 == 0)
                std::this_thread::yield(); // or the queue grows while stop() waits for a CPU
            }
          } catch (const weir::error&) {
          }
        });
      }
      test::eventually([&] { return accepted > 20; });
      if (round % 2 == 0)
        rt.stop();
      else
        rt.drain();
      for (auto& t : threads)
        t.join();
      std::uint64_t unfinished = 0;
      for (auto& list : handles) {
        for (auto& handle : list) {
          unfinished += !handle.done();
          try {
            handle.get();
          } catch (const weir::task_cancelled&) {
          }
        }
      }
      CHECK(unfinished == 0);
      const auto stats = rt.stats();
      CHECK(stats.accepted == accepted);
      CHECK(stats.ended == accepted);
      CHECK(destroyed.use_count() == 1);
    }
  }
}

TEST_CASE("on a worker the runtime can be asked to stop or drain, but not waited for",
          "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    auto handle = rt.submit([&] {
      const bool refused = test::code_of([&] { rt.stop(); }) == weir::errc::would_deadlock &&
                           test::code_of([&] { rt.drain(); }) == weir::errc::would_deadlock;
      const bool still_open = !refused_as_stopped(rt);
      rt.request_stop();
      return refused && still_open && refused_as_stopped(rt);
    });
    CHECK(handle.get());
    rt.stop();
    weir::runtime other{{.workers = workers}};
    other.post([&] { other.request_drain(); });
    other.drain();
  }
}

TEST_CASE("a runtime may be destroyed by one of its own tasks", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    for (int round = 0; round < test::rounds(200); ++round) {
      std::atomic<int> left{0};
      auto owned = std::make_unique<weir::runtime>(weir::runtime_options{
          .workers = workers, .on_worker_stop = [&](std::size_t) { ++left; }});
      auto& rt = *owned;
      rt.post([owned = std::move(owned)]() mutable { owned.reset(); });
      test::eventually([&] { return left == static_cast<int>(workers); });
    }
  }
}

TEST_CASE("several threads may stop and drain one runtime", "[shutdown]") {
  for (int round = 0; round < test::rounds(500); ++round) {
    weir::runtime rt{{.workers = 2}};
    rt.post([] {});
    std::thread a([&] { rt.drain(); });
    std::thread b([&] { rt.stop(); });
    rt.drain();
    a.join();
    b.join();
    CHECK(refused_as_stopped(rt));
  }
}

TEST_CASE("drain and stop give up at their deadline and say what is left", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    test::gate door;
    std::atomic<std::size_t> inside{0};
    std::atomic<int> ran{0};
    for (std::size_t i = 0; i < workers; ++i) {
      rt.post([&] {
        ++inside;
        door.pass();
      });
    }
    test::eventually([&] { return inside == workers; });
    auto queued = rt.submit([&] { ++ran; });
    rt.post([&] { ++ran; });
    const auto past = std::chrono::steady_clock::time_point();
    const auto soon = [] {
      return std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    };
    CHECK(rt.drain(past) == workers + 2);
    CHECK(rt.drain(soon()) == workers + 2);
    CHECK(refused_as_stopped(rt));
    CHECK_FALSE(queued.done());
    CHECK(rt.drain(std::chrono::seconds(-1)) == workers + 2);
    CHECK(rt.drain(std::chrono::milliseconds(1)) == workers + 2);
    // What has not started is dropped by a worker that comes by, and none does.
    CHECK(rt.stop(std::chrono::microseconds(1)) == workers + 2);
    CHECK(rt.stop(soon()) == workers + 2);
    CHECK(rt.drain(past) == workers + 2);
    door.open();
    CHECK(rt.stop(std::chrono::steady_clock::time_point::max()) == 0);
    CHECK(rt.stop(std::chrono::nanoseconds::max()) == 0);
    CHECK(rt.drain(past) == 0);
    CHECK_THROWS_AS(queued.get(), weir::task_cancelled);
    CHECK(ran == 0);
    const auto stats = rt.stats();
    CHECK(stats.accepted == workers + 2);
    CHECK(stats.ended == stats.accepted);
  }
}

TEST_CASE("a drain that was given up goes on by itself", "[shutdown]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  std::atomic<int> ran{0};
  rt.post([&] { door.pass(); });
  for (int i = 0; i < 10; ++i)
    rt.post([&] { ++ran; });
  CHECK(rt.drain(std::chrono::steady_clock::time_point()) > 0);
  door.open();
  test::eventually([&] { return ran == 10; });
  CHECK(rt.drain(std::chrono::steady_clock::time_point::max()) == 0);
}

TEST_CASE("what is refused is left with the caller", "[shutdown]") {
  for (const bool drained : {false, true}) {
    weir::runtime rt{{.workers = 1}};
    weir::runtime other{{.workers = 1}};
    if (drained)
      rt.drain();
    else
      rt.stop();
    const auto try_all = [&] {
      int intact = 0;
      const auto make = [] {
        return [p = std::make_unique<int>(1)](auto&&...) { return p != nullptr; };
      };
      auto callable = make();
      auto argument = std::make_unique<int>(2);
      const auto refused = [&](auto&& call) {
        intact += test::code_of(call) == weir::errc::stopped && argument != nullptr && callable();
      };
      refused([&] { rt.post(std::move(callable)); });
      refused([&] { (void)rt.submit(std::move(callable)); });
      refused([&] { (void)rt.submit(std::move(callable), std::move(argument)); });
      refused([&] {
        (void)rt.submit([](std::unique_ptr<int>) -> weir::task<> { co_return; },
                        std::move(argument));
      });
      std::vector<decltype(make())> some;
      some.push_back(make());
      refused([&] { rt.post_bulk(std::move(some)); });
      refused([&] { (void)rt.submit_bulk(std::move(some)); });
      intact += some.size() == 1 && some[0]();
      return intact;
    };
    CHECK(try_all() == 7);
    CHECK(other.submit(try_all).get() == 7);
    // On a worker of the runtime itself.
    weir::runtime own{{.workers = 1}};
    const auto on_own = [&own] {
      own.request_stop();
      auto argument = std::make_unique<int>(3);
      const bool refused = test::code_of([&] {
                             (void)own.submit([](std::unique_ptr<int>) {}, std::move(argument));
                           }) == weir::errc::stopped;
      return refused && argument != nullptr;
    };
    CHECK(own.submit(on_own).get());
  }
}

TEST_CASE("whoever drops the last reference ends the runtime, a worker too", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    for (int round = 0; round < test::rounds(workers > 2 ? 25 : 100); ++round) {
      std::atomic<int> left{0};
      std::atomic<int> ran{0};
      auto shared = std::make_shared<weir::runtime>(weir::runtime_options{
          .workers = workers, .on_worker_stop = [&](std::size_t) { ++left; }});
      const auto body = [](std::shared_ptr<weir::runtime> held,
                           std::atomic<int>& count) -> weir::task<> {
        const bool here = held->on_worker();
        co_await weir::yield();
        count += here;
      };
      std::vector<weir::handle<void>> all;
      for (int i = 0; i < 3; ++i) {
        all.push_back(shared->submit(body, shared, std::ref(ran)));
        all.push_back(shared->submit([held = shared, &ran] { ++ran; }));
      }
      if (round % 3 == 0)
        shared->request_drain();
      shared.reset();
      test::eventually([&] { return left == static_cast<int>(workers); });
      int ended = 0;
      for (auto& one : all) {
        try {
          one.get();
          ++ended;
        } catch (const weir::task_cancelled&) {
          ++ended;
        }
      }
      CHECK(ended == 6);
      CHECK(ran <= 6);
    }
  }
}

TEST_CASE("stop ends every wait of the runtime's tasks", "[shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime other{{.workers = 1}};
    test::gate door;
    other.post([&] { door.pass(); });
    auto foreign = other.submit([] { return 1; });
    weir::semaphore none(0);
    weir::mutex locked;
    weir::event unset;
    weir::queue<int> empty;
    weir::queue<int> full(1);
    REQUIRE(full.try_push(1));
    REQUIRE(locked.try_lock());
    weir::latch latch(1);
    std::vector<weir::handle<void>> all;
    std::atomic<std::size_t> waiting{0};
    // Counts itself and waits for what `make` gives.
    const auto waits = [&](auto make) -> weir::task<> {
      ++waiting;
      (void)co_await make();
    };
    const auto acquires = [&] { return none.acquire(); };
    weir::runtime rt{{.workers = workers}};
    all.push_back(rt.submit(waits, acquires));
    all.push_back(rt.submit(waits, [&] { return locked.lock(); }));
    all.push_back(rt.submit(waits, [&] { return unset.wait(); }));
    all.push_back(rt.submit(waits, [&] { return latch.wait(); }));
    all.push_back(rt.submit(waits, [&] { return empty.pop(); }));
    all.push_back(rt.submit(waits, [&] { return full.push(2); }));
    all.push_back(rt.submit(waits, [] { return weir::sleep_for(std::chrono::hours(1)); }));
    all.push_back(rt.submit(waits, [&]() -> weir::handle<int>& { return foreign; }));
    all.push_back(
        rt.submit(waits, [&] { return weir::when_all(waits(acquires), waits(acquires)); }));
    test::eventually([&] { return waiting == all.size() + 2; }); // the last one has two children
    rt.stop();
    int shut = 0;
    for (auto& one : all) {
      try {
        one.get();
      } catch (const weir::task_cancelled& cancelled) {
        shut += cancelled.reason().cause() == weir::stop_cause::shutdown;
      }
    }
    CHECK(shut == static_cast<int>(all.size()));
    door.open();
    CHECK(foreign.get() == 1);
  }
}

TEST_CASE("a thread-local destructor may drop handles and end the runtime's tasks", "[shutdown]") {
  for (int round = 0; round < test::rounds(100); ++round) {
    std::atomic<int> handled{0};
    std::atomic<int> ran{0};
    weir::runtime rt{
        {.workers = 2, .on_unhandled_exception = [&](std::exception_ptr) { ++handled; }}};
    std::thread user([&] {
      struct at_exit {
        ~at_exit() {
          if (rt == nullptr)
            return;
          (void)sleeping.request_stop();
          auto last = rt->submit([count = ran] { ++*count; });
          last.wait();
        }
        weir::runtime* rt = nullptr;
        std::atomic<int>* ran = nullptr;
        weir::handle<int> failed;
        weir::handle<void> sleeping;
      };
      static thread_local at_exit late; // built before the thread's first use of weir
      late.rt = &rt;
      late.ran = &ran;
      late.failed = rt.submit([]() -> int { throw std::runtime_error("unseen"); });
      late.sleeping =
          rt.spawn([]() -> weir::task<> { co_await weir::sleep_for(std::chrono::hours(1)); }());
    });
    user.join();
    rt.drain();
    CHECK(handled == 1);
    CHECK(ran == 1);
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
}

TEST_CASE("a thread-local destructor may submit, and outlive the runtime it used", "[shutdown]") {
  std::atomic<int> ran{0};
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 1});
  std::thread submits([&] {
    struct at_exit {
      ~at_exit() {
        if (rt != nullptr)
          rt->post([count = ran] { ++*count; });
      }
      weir::runtime* rt = nullptr;
      std::atomic<int>* ran = nullptr;
    };
    static thread_local at_exit late; // built first, so destroyed after weir's own
    late.rt = rt.get();
    late.ran = &ran;
    rt->post([&] { ++ran; });
  });
  submits.join();
  rt->drain();
  CHECK(ran == 2);
  std::thread outlives([&] {
    rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 1});
    rt->submit([] {}).get();
    rt.reset();
  });
  outlives.join();
}
