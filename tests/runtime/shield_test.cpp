// SPDX-License-Identifier: MIT
// shield: what runs inside sees no stop request of the awaiting task.
#include <weir/weir.hpp>

#include <atomic>
#include <stdexcept>
#include <string>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using test::forever;
using test::number_after_yields;

TEST_CASE("a shielded awaitable gives its result or its exception", "[shield]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.block_on(weir::shield(number_after_yields(3, 0))) == 3);
    CHECK(rt.block_on(weir::shield(number_after_yields(4, 4))) == 4);
    CHECK_THROWS_WITH(rt.block_on(weir::shield(test::fails("inside"))), "inside");
    rt.block_on(weir::shield(weir::yield()));
    CHECK(test::code_of([&] { rt.block_on(weir::shield(weir::task<>())); }) ==
          weir::make_error_code(weir::errc::no_state));
  }
}

TEST_CASE("clean-up in a handler of task_cancelled can wait under a shield", "[shield]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    std::atomic<bool> waits{false};
    std::string steps;
    const auto parent = [&]() -> weir::task<> {
      bool cancelled = false;
      try {
        waits = true;
        co_await forever(stopped, weir::stop_cause::requested);
      } catch (const weir::task_cancelled&) {
        cancelled = true;
      }
      if (!cancelled)
        co_return;
      // Level-triggered: every other wait throws again.
      try {
        co_await weir::yield();
      } catch (const weir::task_cancelled&) {
        steps += "again ";
      }
      const auto clean_up = [](std::string& to) -> weir::task<int> {
        for (int i = 0; i < 3; ++i)
          co_await weir::yield();
        to += weir::this_task::stop_requested() ? "seen " : "unseen ";
        auto [a, b] = co_await weir::when_all(test::number(1), number_after_yields(2, 2));
        co_return a + b;
      };
      const int sum = co_await weir::shield(clean_up(steps));
      steps += std::to_string(sum);
      steps += weir::this_task::stop_requested() ? " stopped" : " not stopped";
      co_await weir::yield();
      steps += " too far";
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waits.load(); });
    handle.request_stop();
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(steps == "again unseen 3 stopped");
  }
}

TEST_CASE("stop while a shield is awaited does not disturb it", "[shield]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> inside{false};
    std::atomic<bool> go_on{false};
    const auto shielded = [&]() -> weir::task<int> {
      inside = true;
      while (!go_on)
        co_await weir::yield();
      co_return weir::this_task::stop_requested() ? -1 : 9;
    };
    const auto parent = [&]() -> weir::task<int> { co_return co_await weir::shield(shielded()); };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return inside.load(); });
    handle.request_stop();
    CHECK_FALSE(handle.done());
    go_on = true;
    CHECK(handle.get() == 9);
  }
}

TEST_CASE("a runtime that stops waits for what is shielded", "[shield]") {
  for (const auto workers : test::worker_counts) {
    std::atomic<bool> ready{false};
    std::atomic<int> ran{0};
    const auto parent = [&]() -> weir::task<> {
      std::atomic<int> ignored{0};
      bool stopped = false;
      try {
        ready = true;
        co_await forever(ignored, weir::stop_cause::shutdown);
      } catch (const weir::task_cancelled&) {
        stopped = true;
      }
      if (stopped)
        co_await weir::shield(weir::when_all(test::count_after_yields(ran, 2), test::count(ran)));
    };
    weir::runtime rt{{.workers = workers}};
    auto handle = rt.spawn(parent());
    test::eventually([&] { return ready.load(); });
    rt.stop();
    CHECK(ran == 2);
    handle.get();
  }
}

TEST_CASE("stop races with the end of what is shielded", "[shield]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<bool> started{false};
      const auto parent = [&](int yields) -> weir::task<int> {
        started = true;
        co_return co_await weir::shield(number_after_yields(yields, yields));
      };
      auto handle = rt.spawn(parent(i % 3));
      test::eventually([&] { return started.load(); });
      for (int spin = 0; spin < i % 64; ++spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      handle.request_stop();
      wrong += handle.get() == i % 3 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}
