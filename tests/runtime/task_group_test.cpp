// SPDX-License-Identifier: MIT
// with_task_group: cannot be left before all children have ended, whoever fails or is stopped.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using test::count_after_yields;
using test::forever;
using weir::stop_cause;
using weir::task_group;

namespace {

static_assert(weir::task_group_body<weir::task<int> (*)(task_group&)>);
static_assert(!weir::task_group_body<int (*)(task_group&)>);

weir::task<int> spawns(task_group& group, std::atomic<int>& ran) {
  for (int i = 0; i < 20; ++i)
    group.spawn(count_after_yields(ran, i % 4));
  co_return 5;
}

weir::task<> spawns_tree(task_group& group, std::atomic<int>& ran, int depth) {
  ++ran;
  co_await weir::yield();
  for (int i = 0; i < 2 && depth != 0; ++i)
    group.spawn(spawns_tree(group, ran, depth - 1));
}

} // namespace

TEST_CASE("a group ends when its children have, and gives the body's result", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    CHECK(rt.block_on(
              weir::with_task_group([&](task_group& group) { return spawns(group, ran); })) == 5);
    CHECK(ran == 20);
    const auto empty = [](task_group& group) -> weir::task<std::size_t> { co_return group.size(); };
    CHECK(rt.block_on(weir::with_task_group(empty)) == 0);
    // Not open yet.
    const auto asks_first = [&empty](task_group& group) {
      CHECK(group.size() == 0);
      return empty(group);
    };
    CHECK(rt.block_on(weir::with_task_group(asks_first)) == 0);
  }
}

TEST_CASE("children may spawn, also when the body has ended", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    const auto body = [&](task_group& group) -> weir::task<> {
      group.spawn(spawns_tree(group, ran, 7));
      co_return;
    };
    rt.block_on(weir::with_task_group(body));
    CHECK(ran == 255);
  }
}

TEST_CASE("a group counts its children", "[task_group]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> ran{0};
  const auto body = [&](task_group& group) -> weir::task<bool> {
    const bool before = group.size() == 0;
    group.spawn(test::count(ran));
    group.spawn(test::count(ran));
    const bool two = group.size() == 2;
    while (group.size() != 0)
      co_await weir::yield();
    co_return before&& two&& ran == 2;
  };
  CHECK(rt.block_on(weir::with_task_group(body)));
}

TEST_CASE("a group's size leaves out what has ended before a child that goes on", "[task_group]") {
  // A worker tells the group of several ends at once; the size must not wait for that.
  for (const std::size_t workers : {2U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(200); ++round) {
      std::atomic<bool> go{false};
      const auto body = [&go, round](task_group& group) -> weir::task<> {
        for (int i = 0; i < 40; ++i) {
          group.submit([] {});
          if (i == round % 40)
            group.submit([&go] { test::eventually([&go] { return go.load(); }); });
        }
        // Sleeping, for longer each time: a worker that always finds something of its own does
        // not steal.
        for (std::chrono::microseconds pause(10); group.size() != 1; pause *= 2)
          co_await weir::sleep_for(pause);
        go = true;
        while (group.size() != 0)
          co_await weir::sleep_for(std::chrono::microseconds(10));
      };
      rt.block_on(weir::with_task_group(body));
      CHECK(go);
    }
  }
}

TEST_CASE("children of several groups end in turn on the same workers", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    const auto group_of = [&ran](int children) -> weir::task<> {
      co_await weir::with_task_group([&ran, children](task_group& group) -> weir::task<> {
        for (int i = 0; i < children; ++i) {
          group.submit([&ran] { ++ran; });
          if (i % 7 == 0)
            group.spawn(test::count(ran));
          if (i % 11 == 0)
            co_await weir::yield();
        }
      });
    };
    for (int round = 0; round < test::rounds(20); ++round) {
      ran = 0;
      std::vector<weir::handle<void>> groups;
      int expected = 0;
      for (int i = 0; i < 20; ++i) {
        groups.push_back(rt.spawn(group_of(i * 5)));
        expected += i * 5 + (i * 5 + 6) / 7;
      }
      for (auto& each : groups)
        each.get();
      CHECK(ran == expected);
    }
  }
}

TEST_CASE("submit keeps callables and arguments until their task has ended", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> sum{0};
    const auto body = [&](task_group& group) -> weir::task<> {
      group.submit(
          [&sum, kept = std::make_unique<int>(1)](int more) -> weir::task<> {
            co_await weir::yield();
            sum += *kept + more;
          },
          2);
      group.submit([&sum] { sum += 10; });
      group.submit(
          [&sum](weir::inplace_stop_token token) { sum += token.stop_possible() ? 100 : 0; });
      group.submit([&sum](std::stop_token token) { sum += token.stop_possible() ? 1000 : 0; });
      group.submit([] { return std::make_unique<int>(3); }); // dropped
      co_return;
    };
    rt.block_on(weir::with_task_group(body));
    CHECK(sum == 1113);
  }
}

TEST_CASE("misuse of a group is refused", "[task_group]") {
  weir::runtime rt{{.workers = 1}};
  const auto spawns_nothing = [](task_group& group) -> weir::task<> {
    group.spawn(weir::task<>());
    co_return;
  };
  CHECK(test::code_of([&] { rt.block_on(weir::with_task_group(spawns_nothing)); }) ==
        weir::make_error_code(weir::errc::no_state));
  const auto submits_nothing = [](task_group& group) -> weir::task<> {
    group.submit(std::function<void()>());
    co_return;
  };
  CHECK(test::code_of([&] { rt.block_on(weir::with_task_group(submits_nothing)); }) ==
        weir::make_error_code(weir::errc::empty_callable));
  const auto no_body = [](task_group&) { return weir::task<int>(); };
  CHECK(test::code_of([&] { rt.block_on(weir::with_task_group(no_body)); }) ==
        weir::make_error_code(weir::errc::no_state));
  const auto throws_early = [](task_group&) -> weir::task<int> {
    throw std::runtime_error("no task");
  };
  CHECK_THROWS_WITH(rt.block_on(weir::with_task_group(throws_early)), "no task");
}

TEST_CASE("the first failure of a child stops body and siblings, and is thrown", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    const auto body = [&](task_group& group) -> weir::task<> {
      for (int i = 0; i < 5; ++i)
        group.spawn(test::waits(waiting, stopped, stop_cause::sibling_failed));
      while (waiting == 0) // a child that has not started when another one fails never does
        co_await weir::yield();
      group.spawn(test::fails_after_yields("a child", 2));
      co_await forever(stopped, stop_cause::sibling_failed);
    };
    CHECK_THROWS_WITH(rt.block_on(weir::with_task_group(body)), "a child");
    CHECK(waiting >= 1);
    CHECK(stopped >= waiting); // perhaps the body too
    CHECK(rt.stats().suppressed_exceptions == 0);
  }
}

TEST_CASE("a body that throws cannot leave its children behind", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> live{0};
    const auto body = [&](task_group& group) -> weir::task<> {
      for (int i = 0; i < 5; ++i)
        group.spawn(test::tracked(live, 100, false));
      co_await weir::yield();
      throw std::runtime_error("the body");
    };
    CHECK_THROWS_WITH(rt.block_on(weir::with_task_group(body)), "the body");
    CHECK(live == 0);
  }
}

TEST_CASE("with keep_going all run to their end, and the first exception is thrown",
          "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    const auto body = [&](task_group& group) -> weir::task<> {
      group.spawn(test::fails("a child"));
      group.spawn(test::fails("another child"));
      for (int i = 0; i < 5; ++i)
        group.spawn(count_after_yields(ran, 3));
      co_return;
    };
    CHECK_THROWS_AS(rt.block_on(weir::with_task_group(weir::keep_going, body)), std::runtime_error);
    CHECK(ran == 5);
    CHECK(rt.stats().suppressed_exceptions == 1);
  }
}

TEST_CASE("a group that is stopped ends its children and starts no more", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    std::atomic<int> late{0};
    bool first = false;
    bool second = true;
    const auto waits = [&] { return test::waits(waiting, stopped, stop_cause::requested); };
    const auto body = [&](task_group& group) -> weir::task<int> {
      for (int i = 0; i < 3; ++i)
        group.spawn(waits());
      while (waiting != 3)
        co_await weir::yield();
      first = group.request_stop(weir::stop_reason("done with it"));
      second = group.request_stop();
      group.spawn(test::count(late));
      co_return group.stop_requested() ? 1 : 0;
    };
    CHECK(rt.block_on(weir::with_task_group(body)) == 1);
    CHECK(first);
    CHECK_FALSE(second);
    CHECK(stopped == 3);
    CHECK(late == 0);
  }
}

TEST_CASE("stop of the parent is handed to the group and thrown in the end", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    const auto waits = [&] { return test::waits(waiting, stopped, stop_cause::requested); };
    // The body has its value already; the children's work is cut short all the same.
    const auto body = [&](task_group& group) -> weir::task<int> {
      for (int i = 0; i < 3; ++i)
        group.spawn(waits());
      co_return 1;
    };
    const auto parent = [&]() -> weir::task<int> {
      co_return co_await weir::with_task_group(body);
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 3; });
    handle.request_stop(weir::stop_reason("from above"));
    std::string reason;
    try {
      (void)handle.get();
    } catch (const weir::task_cancelled& cancelled) {
      reason = cancelled.reason().text();
    }
    CHECK(reason == "from above");
    CHECK(stopped == 3);
  }
}

TEST_CASE("a group in a stopped task does not start", "[task_group]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> ran{0};
  const auto parent = [&]() -> weir::task<> {
    test::stop_this_task();
    const auto body = [&](task_group&) -> weir::task<> { return test::count(ran); };
    co_await weir::with_task_group(body);
  };
  CHECK_THROWS_AS(rt.block_on(parent()), weir::task_cancelled);
  CHECK(ran == 0);
}

TEST_CASE("stop, failures, ends and spawns race in a group", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(2000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<int> live{0};
      struct shared {
        std::atomic<int>& live;
        int round;
        weir::task<> spawner(task_group& group) {
          const test::presence here(live);
          co_await weir::yield();
          group.spawn(test::tracked(live, round % 3, round % 5 == 0));
          if (round % 7 == 0)
            group.request_stop();
        }
        weir::task<int> body(task_group& group) {
          for (int k = 0; k < 3; ++k)
            group.spawn(spawner(group));
          group.spawn(test::tracked(live, round % 2, round % 3 == 0));
          co_await weir::yield();
          if (round % 11 == 0)
            throw std::runtime_error("the body");
          co_return 1;
        }
      } state{live, i};
      const auto body = [&state](task_group& group) { return state.body(group); };
      auto handle = rt.spawn(test::racing_parent(
          live, i, [&](std::atomic<int>&, int) { return weir::with_task_group(body); }));
      if (i % 2 == 0) {
        for (int spin = 0; spin < i % 64; ++spin)
          std::atomic_signal_fence(std::memory_order_seq_cst);
        handle.request_stop();
      }
      try {
        handle.get();
      } catch (const weir::task_cancelled&) {
      } catch (const std::runtime_error&) {
      }
      wrong += live == 0 ? 0 : 1;
    }
    CHECK(wrong == 0);
    rt.drain();
    CHECK(rt.stats().unhandled_exceptions == 0);
  }
}

TEST_CASE("a runtime that stops ends its groups", "[task_group]") {
  for (const auto workers : test::worker_counts) {
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    const auto waits = [&] { return test::waits(waiting, stopped, stop_cause::shutdown); };
    const auto body = [&](task_group& group) -> weir::task<> {
      group.spawn(waits());
      co_await waits();
    };
    const auto parent = [&]() -> weir::task<> { co_await weir::with_task_group(body); };
    weir::runtime rt{{.workers = workers}};
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 2; });
    rt.stop();
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(stopped == 2);
  }
}
