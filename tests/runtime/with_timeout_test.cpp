// SPDX-License-Identifier: MIT
// with_timeout and with_deadline, on the manual clock; ends racing with the timer.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::forever;
using weir::stop_cause;

namespace {

const auto timed_out = weir::make_error_code(weir::errc::timed_out);

weir::task<int> sleeps(std::chrono::nanoseconds duration, int value) {
  co_await weir::sleep_for(duration);
  co_return value;
}

} // namespace

TEST_CASE("what ends in time gives its result or its exception", "[with_timeout]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock;
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    CHECK(rt.block_on(weir::with_timeout(sleeps(1h, 5), 2h)) == 5);
    CHECK(rt.block_on(weir::with_timeout(test::number(6), 1h)) == 6);
    CHECK_THROWS_WITH(rt.block_on(weir::with_timeout(test::fails("inside"), 1h)), "inside");
    CHECK(rt.block_on(weir::with_deadline(sleeps(1h, 7), rt.now() + 2h)) == 7);
    CHECK(test::code_of([&] { rt.block_on(weir::with_timeout(weir::task<>(), 1h)); }) ==
          weir::make_error_code(weir::errc::no_state));
  }
}

TEST_CASE("what does not end in time is stopped at the deadline", "[with_timeout]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock;
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    std::atomic<int> stopped{0};
    const auto start = rt.now();
    CHECK(test::code_of([&] {
            rt.block_on(weir::with_timeout(forever(stopped, stop_cause::timed_out), 24h));
          }) == timed_out);
    CHECK(stopped == 1);
    CHECK(rt.now() == start + 24h);
    CHECK(test::code_of([&] {
            rt.block_on(weir::with_deadline(forever(stopped, stop_cause::timed_out), start + 30h));
          }) == timed_out);
    CHECK(rt.now() == start + 30h);
    CHECK(stopped == 2);
  }
}

TEST_CASE("without any time it does not start", "[with_timeout]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 2, .clock = &clock}};
  std::atomic<int> ran{0};
  CHECK(test::code_of([&] { rt.block_on(weir::with_timeout(test::count(ran), 0s)); }) == timed_out);
  CHECK(test::code_of([&] { rt.block_on(weir::with_deadline(test::count(ran), rt.now() - 1h)); }) ==
        timed_out);
  CHECK(ran == 0);
}

TEST_CASE("a result that comes after the time is not lost", "[with_timeout]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 2, .clock = &clock}};
  const auto stubborn = []() -> weir::task<int> {
    co_await weir::shield(sleeps(2h, 0));
    co_return weir::this_task::stop_requested() ? 8 : 0;
  };
  CHECK(rt.block_on(weir::with_timeout(stubborn(), 1h)) == 8);
}

TEST_CASE("the inner limit or the outer one, whichever comes first", "[with_timeout]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 2, .clock = &clock}};
  const auto nested = [](std::chrono::hours inner, std::chrono::hours outer) -> weir::task<int> {
    const auto inside = [](std::chrono::hours limit) -> weir::task<int> {
      int got = 0;
      try {
        got = co_await weir::with_timeout(sleeps(100h, 1), limit);
      } catch (const weir::error&) {
        got = 2;
      }
      co_return got;
    };
    int got = 0;
    try {
      got = co_await weir::with_timeout(inside(inner), outer);
    } catch (const weir::error&) {
      got = 3;
    }
    co_return got;
  };
  CHECK(rt.block_on(nested(1h, 2h)) == 2);
  CHECK(rt.block_on(nested(2h, 1h)) == 3);
}

TEST_CASE("stop of the parent is no time-out", "[with_timeout]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> waiting{0};
    std::atomic<int> stopped{0};
    const auto parent = [&]() -> weir::task<> {
      co_await weir::with_timeout(test::waits(waiting, stopped, stop_cause::requested), 24h);
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 1; });
    handle.request_stop();
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(stopped == 1);
  }
}

TEST_CASE("the timer races with the end and with the parent's stop", "[with_timeout]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<int> live{0};
      auto handle = rt.spawn(test::racing_parent(live, i, [](std::atomic<int>& l, int r) {
        return weir::with_timeout(test::tracked(l, 1 + r % 3, r % 7 == 0),
                                  std::chrono::nanoseconds((r % 32) * 250));
      }));
      if (i % 4 == 0)
        handle.request_stop();
      try {
        handle.get();
      } catch (const weir::task_cancelled&) {
        wrong += i % 4 == 0 ? 0 : 1;
      } catch (const weir::error& e) {
        wrong += e.code() == timed_out ? 0 : 1;
      } catch (const std::runtime_error&) {
        wrong += i % 7 == 0 ? 0 : 1;
      }
      wrong += live == 0 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}
