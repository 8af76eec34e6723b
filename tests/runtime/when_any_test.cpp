// SPDX-License-Identifier: MIT
// when_any: the first to end wins, the others are stopped and waited for.
#include <weir/weir.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
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
using weir::stop_cause;

TEST_CASE("when_any gives the index and the value of the first to end", "[when_any]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    const auto body = [](std::atomic<int>& s) -> weir::task<bool> {
      auto first = co_await weir::when_any(forever(s, stop_cause::not_needed), test::text("here"));
      static_assert(
          std::is_same_v<decltype(first.value), std::variant<std::monostate, std::string>>);
      co_return first.index == 1 && std::get<1>(first.value) == "here";
    };
    CHECK(rt.block_on(body(stopped)));
    CHECK(stopped <= 1); // not started, or stopped
    const auto only = rt.block_on(weir::when_any(number(5)));
    CHECK(only.index == 0);
    CHECK(std::get<0>(only.value) == 5);
  }
}

TEST_CASE("losers that wait are stopped, losers that have not started never do", "[when_any]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> stopped{0};
  std::atomic<int> ran{0};
  // One worker starts the first one first; which of the others follows is up to its beat (F2).
  const auto first = rt.block_on(
      weir::when_any(forever(stopped, stop_cause::not_needed), number(2), test::count(ran)));
  CHECK(first.index != 0);
  CHECK(stopped == 1);
  CHECK(ran == (first.index == 2 ? 1 : 0));
}

TEST_CASE("when_any of a range gives index and value, or the index", "[when_any]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::vector<weir::task<std::unique_ptr<int>>> tasks;
    const auto make = [](int value, bool last) -> weir::task<std::unique_ptr<int>> {
      std::atomic<int> ignored{0};
      if (!last)
        co_await forever(ignored, stop_cause::not_needed);
      co_return std::make_unique<int>(value);
    };
    for (int i = 0; i < 10; ++i)
      tasks.push_back(make(i, i == 7));
    const auto [index, value] = rt.block_on(weir::when_any(std::move(tasks)));
    CHECK(index == 7);
    CHECK(*value == 7);

    std::atomic<int> stopped{0};
    std::atomic<int> calls{0};
    std::vector<weir::task<>> nothings;
    nothings.push_back(forever(stopped, stop_cause::not_needed));
    nothings.push_back(test::count(calls));
    const std::size_t winner = rt.block_on(weir::when_any(std::move(nothings)));
    CHECK(winner == 1);
    CHECK(calls == 1);
  }
}

TEST_CASE("when_any refuses an empty range", "[when_any]") {
  CHECK(test::code_of([] { (void)weir::when_any(std::vector<weir::task<>>()); }) ==
        weir::make_error_code(weir::errc::invalid_option));
}

TEST_CASE("an exception wins too; exceptions of losers are counted", "[when_any]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> stopped{0};
  CHECK_THROWS_WITH(
      rt.block_on(weir::when_any(forever(stopped, stop_cause::not_needed), fails("won"))), "won");
  CHECK(stopped == 1);
  CHECK(rt.stats().suppressed_exceptions == 0);

  const auto fails_when_stopped = [](std::atomic<int>& s) -> weir::task<> {
    bool was_stopped = false;
    try {
      co_await forever(s, stop_cause::not_needed);
    } catch (const weir::task_cancelled&) {
      was_stopped = true;
    }
    if (was_stopped)
      throw std::runtime_error("nobody needs this");
  };
  CHECK(rt.block_on(weir::when_any(fails_when_stopped(stopped), number(1))).index == 1);
  CHECK(rt.stats().suppressed_exceptions == 1);
  CHECK(rt.stats().unhandled_exceptions == 0);
}

TEST_CASE("stop of the parent ends a when_any with the parent's reason", "[when_any]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    const auto waits = [&] { return test::waits(waiting, stopped, stop_cause::requested); };
    const auto parent = [&]() -> weir::task<> { co_await weir::when_any(waits(), waits()); };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 2; });
    handle.request_stop(weir::stop_reason("enough"));
    std::string reason;
    try {
      handle.get();
    } catch (const weir::task_cancelled& cancelled) {
      reason = cancelled.reason().text();
    }
    CHECK(reason == "enough");
    CHECK(stopped == 2);
  }
}

TEST_CASE("when_any awaits all losers before it goes on", "[when_any]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<int> live{0};
      auto handle = rt.spawn(test::racing_parent(live, i, [](std::atomic<int>& l, int r) {
        return weir::when_any(test::tracked(l, r % 3, false), test::tracked(l, r % 5, r % 4 == 0),
                              test::tracked(l, 1, false));
      }));
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
  }
}
