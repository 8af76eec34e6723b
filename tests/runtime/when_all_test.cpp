// SPDX-License-Identifier: MIT
// when_all: results, failures, stop requests handed on, and all of it racing.
#include <weir/weir.hpp>

#include <atomic>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using test::fails;
using test::fails_after_yields;
using test::forever;
using test::number;
using test::number_after_yields;

namespace {

static_assert(!weir::task_range<std::vector<int>>);
static_assert(weir::task_range<std::vector<weir::task<int>>>);

weir::task<int&> reference(int& target) {
  co_return target;
}

weir::task<long> fib(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::when_all(fib(n - 1), fib(n - 2));
  co_return a + b;
}

} // namespace

TEST_CASE("when_all gives the results in the order of its arguments", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int target = 0;
    const auto body = [](int& t) -> weir::task<bool> {
      auto all = co_await weir::when_all(number_after_yields(1, 3), weir::yield(),
                                         test::text("two"), reference(t));
      static_assert(std::is_same_v<decltype(all), std::tuple<int, std::monostate, std::string,
                                                             std::reference_wrapper<int>>>);
      co_return std::get<0>(all) == 1 && std::get<2>(all) == "two" && &std::get<3>(all).get() == &t;
    };
    CHECK(rt.block_on(body(target)));
    CHECK(std::get<0>(rt.block_on(weir::when_all(number(7)))) == 7);
    CHECK(std::tuple_size_v<decltype(rt.block_on(weir::when_all()))> == 0);
  }
}

TEST_CASE("when_all of a range gives a vector, and nothing for tasks of void", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::vector<weir::task<int>> tasks;
    for (int i = 0; i < 100; ++i)
      tasks.push_back(number_after_yields(i, i % 3));
    const auto values = rt.block_on(weir::when_all(std::move(tasks)));
    REQUIRE(values.size() == 100);
    for (int i = 0; i < 100; ++i)
      CHECK(values[static_cast<std::size_t>(i)] == i);

    CHECK(rt.block_on(weir::when_all(std::vector<weir::task<int>>())).empty());
    const auto view = std::views::iota(0, 10) | std::views::transform(number);
    CHECK(rt.block_on(weir::when_all(view)).size() == 10);
    std::atomic<int> calls{0};
    std::vector<weir::task<>> nothings;
    for (int i = 0; i < 10; ++i)
      nothings.push_back(test::count(calls));
    static_assert(std::is_void_v<decltype(rt.block_on(weir::when_all(std::move(nothings))))>);
    rt.block_on(weir::when_all(std::move(nothings)));
    CHECK(calls == 10);
  }
}

TEST_CASE("when_all takes handles and other awaitables, lvalues by reference", "[when_all]") {
  weir::runtime rt{{.workers = 2}};
  const auto body = [](weir::runtime& r) -> weir::task<int> {
    auto kept = r.submit([] { return 1; });
    auto [a, b, c] =
        co_await weir::when_all(kept, r.submit([] { return 2; }), weir::when_all(number(3)));
    co_return kept.valid() ? -1 : a + b + std::get<0>(c);
  };
  CHECK(rt.block_on(body(rt)) == 6);
}

TEST_CASE("children of when_all start in order on one worker, and run at once on two",
          "[when_all]") {
  weir::runtime one{{.workers = 1}};
  const auto note = [](std::string& to, char c) -> weir::task<> {
    to += c;
    co_return;
  };
  // Once in a beat of 61 jobs the oldest one comes first (F2), which is the last child.
  int in_order = 0;
  for (int i = 0; i < 61; ++i) {
    std::string order;
    one.block_on(weir::when_all(note(order, 'a'), note(order, 'b'), note(order, 'c')));
    CHECK(order.substr(0, 1) == "a");
    in_order += order == "abc" ? 1 : 0;
  }
  CHECK(in_order > 30);

  weir::runtime two{{.workers = 2}};
  std::atomic<int> there{0};
  const auto meet = [](std::atomic<int>& count) -> weir::task<> {
    ++count;
    test::eventually([&] { return count == 2; }); // blocks its worker
    co_return;
  };
  two.block_on(weir::when_all(meet(there), meet(there)));
  CHECK(there == 2);
}

TEST_CASE("when_all throws the first failure after all have ended and counts the others",
          "[when_all]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> ended{0};
  CHECK_THROWS_WITH(rt.block_on(weir::when_all(fails("first"), test::count_after_yields(ended, 5),
                                               fails("second"), fails("third"))),
                    "first");
  CHECK(ended == 1);
  CHECK(rt.stats().suppressed_exceptions == 2);
  CHECK(rt.stats().unhandled_exceptions == 0);
}

TEST_CASE("with stop_on_failure the first failure stops the others", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    CHECK_THROWS_WITH(
        rt.block_on(weir::when_all(
            weir::stop_on_failure, forever(stopped, weir::stop_cause::sibling_failed),
            fails_after_yields("it", 3), forever(stopped, weir::stop_cause::sibling_failed))),
        "it");
    // A child that had not started never does.
    CHECK(stopped <= 2);
    std::vector<weir::task<>> many;
    std::atomic<int> many_stopped{0};
    for (int i = 0; i < 20; ++i)
      many.push_back(forever(many_stopped, weir::stop_cause::sibling_failed));
    const auto fails_void = []() -> weir::task<> {
      co_await weir::yield();
      throw std::runtime_error("one of many");
    };
    many.push_back(fails_void());
    CHECK_THROWS_WITH(rt.block_on(weir::when_all(weir::stop_on_failure, std::move(many))),
                      "one of many");
    CHECK(rt.stats().suppressed_exceptions == 0);
  }
}

TEST_CASE("stop of the parent reaches all children, running ones too", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> started{0};
    std::atomic<int> stopped{0};
    const auto polls = [](std::atomic<int>& s, std::atomic<int>& e) -> weir::task<> {
      ++s;
      // Never suspends: its own token must tell.
      while (!weir::this_task::stop_requested())
        std::this_thread::yield();
      ++e;
      co_return;
    };
    const auto parent = [&](std::atomic<int>& s, std::atomic<int>& e) -> weir::task<> {
      co_await weir::when_all(polls(s, e), forever(e, weir::stop_cause::requested));
    };
    auto handle = rt.spawn(parent(started, stopped));
    test::eventually([&] { return started == 1; });
    CHECK(handle.request_stop());
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(stopped >= 1);
  }
}

TEST_CASE("no child starts if stop was requested of the parent already", "[when_all]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> ran{0};
  const auto parent = [](std::atomic<int>& count) -> weir::task<std::string> {
    test::stop_this_task(weir::stop_reason("enough"));
    std::string got;
    try {
      co_await weir::when_all(test::count(count), test::count(count));
    } catch (const weir::task_cancelled& cancelled) {
      got = cancelled.reason().text();
    }
    try {
      co_await weir::when_all(std::vector<weir::task<int>>());
      got += " and went on";
    } catch (const weir::task_cancelled&) {
    }
    co_return got;
  };
  CHECK(rt.block_on(parent(ran)) == "enough");
  CHECK(ran == 0);
}

TEST_CASE("results that are there when stop is requested are not lost", "[when_all]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> started{0};
  const auto parent = [](std::atomic<int>& count) -> weir::task<int> {
    const auto stubborn = [](std::atomic<int>& there, int value) -> weir::task<int> {
      ++there;
      while (!weir::this_task::stop_requested())
        std::this_thread::yield();
      co_return value;
    };
    auto [a, b] = co_await weir::when_all(stubborn(count, 4), stubborn(count, 3));
    co_return a + b;
  };
  auto handle = rt.spawn(parent(started));
  test::eventually([&] { return started == 2; });
  CHECK(handle.request_stop());
  CHECK(handle.get() == 7);
}

TEST_CASE("a real failure goes before a cancellation", "[when_all]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> waiting{0};
  std::atomic<int> stopped{0};
  const auto fails_when_stopped = [&]() -> weir::task<> {
    try {
      co_await test::waits(waiting, stopped, weir::stop_cause::requested);
    } catch (const weir::task_cancelled&) {
    }
    throw std::runtime_error("while cleaning up");
  };
  const auto parent = [&]() -> weir::task<> {
    co_await weir::when_all(test::waits(waiting, stopped, weir::stop_cause::requested),
                            fails_when_stopped());
  };
  auto handle = rt.spawn(parent());
  test::eventually([&] { return waiting == 2; });
  CHECK(handle.request_stop());
  CHECK_THROWS_WITH(handle.get(), "while cleaning up");
  CHECK(stopped == 2);
}

TEST_CASE("a child that was cancelled apart from its parent makes when_all throw", "[when_all]") {
  weir::runtime rt{{.workers = 2}};
  const auto parent = [](weir::runtime& r) -> weir::task<std::string> {
    std::atomic<int> stopped{0};
    auto other = r.spawn(forever(stopped, weir::stop_cause::requested));
    other.request_stop(weir::stop_reason("the other one"));
    std::string got;
    try {
      co_await weir::when_all(number(1), other);
    } catch (const weir::task_cancelled& cancelled) {
      got = cancelled.reason().text();
    }
    co_return got;
  };
  CHECK(rt.block_on(parent(rt)) == "the other one");
}

TEST_CASE("empty and used tasks are refused before anything starts", "[when_all]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> ran{0};
  const auto no_state = weir::make_error_code(weir::errc::no_state);
  CHECK(test::code_of([&] { rt.block_on(weir::when_all(test::count(ran), weir::task<int>())); }) ==
        no_state);
  const auto twice = [](std::atomic<int>& count) -> weir::task<> {
    auto all = weir::when_all(test::count(count));
    co_await all;
    co_await all;
  };
  CHECK(test::code_of([&] { rt.block_on(twice(ran)); }) == no_state);
  CHECK(ran == 1);
}

TEST_CASE(
    "a child that has waited has a stop state of its own; afterwards it is the parent's again",
    "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const auto child = [](int yields) -> weir::task<weir::inplace_stop_token> {
      for (int i = 0; i < yields; ++i)
        co_await weir::yield();
      co_return weir::this_task::stop_token();
    };
    const auto parent = [&](int yields) -> weir::task<bool> {
      const auto mine = weir::this_task::stop_token();
      auto [a, b] = co_await weir::when_all(child(yields), child(yields));
      const bool apart = a != mine && b != mine && a != b;
      // Children that run through may share the parent's: they are stopped with it.
      co_return (apart || yields == 0) && weir::this_task::stop_token() == mine;
    };
    CHECK(rt.block_on(parent(0)));
    CHECK(rt.block_on(parent(2)));
  }
}

TEST_CASE("a tree of when_all counts right on every number of workers", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.block_on(fib(test::sanitized ? 12 : 18)) == (test::sanitized ? 144 : 2584));
  }
}

TEST_CASE("stop races with the ends of children and with their failures", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<int> live{0};
      auto handle = rt.spawn(test::racing_parent(live, i, [](std::atomic<int>& l, int r) {
        return weir::when_all(weir::stop_on_failure, test::tracked(l, r % 3, false),
                              test::tracked(l, r % 5, r % 4 == 0), test::tracked(l, 1, false));
      }));
      for (int spin = 0; spin < i % 64; ++spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      handle.request_stop();
      try {
        (void)handle.get();
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

TEST_CASE("a runtime that stops ends the children of a when_all", "[when_all]") {
  for (const auto workers : test::worker_counts) {
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    weir::runtime rt{{.workers = workers}};
    const auto parent = [&]() -> weir::task<> {
      co_await weir::when_all(test::waits(waiting, stopped, weir::stop_cause::shutdown),
                              test::number(1));
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 1; });
    rt.stop();
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(stopped == 1);
  }
}
