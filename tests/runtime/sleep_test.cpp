// SPDX-License-Identifier: MIT
// Sleeping, ticking, cancelling sleepers, and the manual clock.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::code_of;

namespace {

using clock_point = weir::clock_source::time_point;

weir::task<int> sleeps(std::chrono::nanoseconds duration, int value) {
  co_await weir::sleep_for(duration);
  co_return value;
}

weir::task<> notes(std::vector<int>& order, std::chrono::nanoseconds duration, int number) {
  co_await weir::sleep_for(duration);
  order.push_back(number);
}

} // namespace

TEST_CASE("a sleeper wakes when the clock says so and not before", "[sleep]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const auto body = [](weir::runtime& on) -> weir::task<bool> {
      bool never_early = true;
      for (int i = 0; i < 20; ++i) {
        const auto from = on.now();
        co_await weir::sleep_for(std::chrono::microseconds(i * 37));
        never_early = never_early && on.now() - from >= std::chrono::microseconds(i * 37);
      }
      co_return never_early;
    };
    CHECK(rt.block_on(body(rt)));
  }
}

TEST_CASE("a busy worker serves timers too", "[sleep]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> over{false};
    std::atomic<int> yields{0};
    const auto busy = [](std::atomic<bool>& until, std::atomic<int>& count) -> weir::task<> {
      while (!until) {
        ++count;
        co_await weir::yield();
      }
    };
    std::vector<weir::handle<void>> spinners;
    for (std::size_t i = 0; i < 2 * workers; ++i)
      spinners.push_back(rt.spawn(busy(over, yields)));
    for (int i = 0; i < 5; ++i)
      CHECK(rt.block_on(sleeps(1ms, i)) == i);
    over = true;
    for (auto& s : spinners)
      s.get();
    CHECK(yields > 0);
  }
}

TEST_CASE("a timer is served although its worker is stuck", "[sleep]") {
  // One worker is blocked; the sleeper went to sleep on either of the two.
  weir::runtime rt{{.workers = 2}};
  for (int i = 0; i < test::rounds(50); ++i) {
    test::gate gate;
    std::atomic<bool> armed{false};
    const auto sleeper = [](std::atomic<bool>& flag) -> weir::task<> {
      flag = true;
      co_await weir::sleep_for(300us);
    };
    auto asleep = rt.spawn(sleeper(armed));
    test::eventually([&] { return armed.load(); });
    auto stuck = rt.submit([&] { gate.pass(); });
    asleep.get(); // hangs if nobody looks after the stuck worker's timers
    gate.open();
    stuck.get();
  }
}

TEST_CASE("sleeping for nothing lets others run first", "[sleep]") {
  weir::runtime rt{{.workers = 1}};
  std::string order;
  const auto body = [](weir::runtime& on, std::string& text) -> weir::task<> {
    auto other = on.submit([&] { text += 'b'; });
    text += 'a';
    co_await weir::sleep_for(0s);
    text += 'c';
    co_await weir::sleep_for(-1s);
    co_await weir::sleep_until(clock_point());
    text += 'd';
    co_await other;
  };
  rt.block_on(body(rt, order));
  CHECK(order == "abcd");
}

TEST_CASE("durations of any unit and size are taken", "[sleep]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  const auto body = [](weir::runtime& on) -> weir::task<std::chrono::nanoseconds> {
    const auto from = on.now();
    co_await weir::sleep_for(std::chrono::duration<double>(0.5));
    co_await weir::sleep_for(std::chrono::duration<double, std::nano>(0.25)); // rounded up
    co_return on.now() - from;
  };
  CHECK(rt.block_on(body(rt)) == 500'000'001ns);
  CHECK(rt.block_on(sleeps(std::chrono::nanoseconds::max(), 1)) == 1);
}

TEST_CASE("a day of sleeping takes no time on the manual clock", "[sleep][manual_clock]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock;
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    const auto body = [](weir::runtime& on) -> weir::task<int> {
      int hours = 0;
      const auto end = on.now() + 24h;
      while (on.now() < end) {
        co_await weir::sleep_for(1h);
        ++hours;
      }
      co_return hours;
    };
    std::vector<weir::handle<int>> days;
    {
      const auto still = clock.hold();
      for (int i = 0; i < 100; ++i)
        days.push_back(rt.spawn(body(rt)));
    }
    for (auto& day : days)
      CHECK(day.get() == 24);
    CHECK(clock.now() == clock_point() + 24h);
  }
}

TEST_CASE("equal deadlines fire in the order of registration", "[sleep][manual_clock]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  std::vector<int> order;
  const auto body = [](weir::runtime& on, std::vector<int>& numbers) -> weir::task<> {
    std::vector<weir::handle<void>> all;
    for (int i = 0; i < 1000; ++i) {
      // Numbers 0, 10, 20 fall due together, then 1, 11, 21 and so on.
      all.push_back(on.spawn(notes(numbers, std::chrono::seconds(1 + i % 10), i)));
      co_await weir::yield(); // registered one after the other
    }
    for (auto& one : all)
      co_await one;
  };
  rt.block_on(body(rt, order));
  REQUIRE(order.size() == 1000);
  int wrong = 0;
  for (int i = 0; i < 1000; ++i)
    wrong += order[static_cast<std::size_t>(i)] == (i % 100) * 10 + i / 100 ? 0 : 1;
  CHECK(wrong == 0);
}

TEST_CASE("a clock that is moved by hand stands still otherwise", "[manual_clock]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock(weir::manual_clock::moves::by_hand, clock_point() + 100s);
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    CHECK(rt.now() == clock_point() + 100s);
    auto one = rt.spawn(sleeps(1s, 1));
    auto ten = rt.spawn(sleeps(10s, 10));
    clock.advance(0s); // until both sleep
    CHECK(clock.next_deadline() == clock_point() + 101s);
    CHECK_FALSE(one.done());
    clock.advance(999ms);
    CHECK_FALSE(one.done());
    clock.advance(1ms);
    CHECK(one.done());
    CHECK_FALSE(ten.done());
    clock.advance_to(clock_point());
    CHECK(clock.now() == clock_point() + 101s);
    clock.advance(1h);
    CHECK(ten.done());
    CHECK(clock.now() == clock_point() + 101s + 1h);
    CHECK(clock.next_deadline() == clock_point::max());
    CHECK(one.get() + ten.get() == 11);
  }
}

TEST_CASE("advancing goes from deadline to deadline", "[manual_clock]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock(weir::manual_clock::moves::by_hand);
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    std::vector<std::chrono::seconds> seen;
    const auto body = [](weir::runtime& on, std::vector<std::chrono::seconds>& at) -> weir::task<> {
      for (int i = 0; i < 10; ++i) {
        co_await weir::sleep_for(1s);
        at.push_back(std::chrono::duration_cast<std::chrono::seconds>(on.now().time_since_epoch()));
      }
    };
    auto ticking = rt.spawn(body(rt, seen));
    clock.advance(10s);
    CHECK(ticking.done());
    ticking.get();
    REQUIRE(seen.size() == 10);
    for (int i = 0; i < 10; ++i)
      CHECK(seen[static_cast<std::size_t>(i)] == std::chrono::seconds(i + 1));
  }
}

TEST_CASE("two runtimes share a manual clock", "[manual_clock]") {
  weir::manual_clock clock;
  weir::runtime a{{.workers = 2, .clock = &clock}};
  weir::runtime b{{.workers = 1, .clock = &clock}};
  std::vector<int> order;
  const auto body = [](weir::runtime& other, std::vector<int>& numbers) -> weir::task<> {
    auto first = other.spawn(notes(numbers, 1s, 1));
    co_await weir::sleep_for(2s);
    numbers.push_back(2);
    co_await first;
    co_await other.spawn(notes(numbers, 1s, 3));
  };
  a.block_on(body(b, order));
  CHECK(order == std::vector<int>{1, 2, 3});
  CHECK(clock.now() == clock_point() + 3s);
}

TEST_CASE("a worker must not advance the clock", "[manual_clock]") {
  weir::manual_clock clock(weir::manual_clock::moves::by_hand);
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  CHECK(rt.submit([&] { return code_of([&] { clock.advance(1s); }); }).get() ==
        weir::errc::would_deadlock);
}

TEST_CASE("a sleeper that is stopped wakes at once, with the reason", "[sleep][cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::manual_clock clock(weir::manual_clock::moves::by_hand);
    weir::runtime rt{{.workers = workers, .clock = &clock}};
    auto asleep = rt.spawn(sleeps(1h, 1));
    clock.advance(0s);
    CHECK(clock.next_deadline() == clock_point() + 1h);
    CHECK(asleep.request_stop(weir::stop_reason("not today")));
    CHECK_FALSE(asleep.request_stop());
    CHECK(clock.next_deadline() == clock_point::max()); // the timer is gone
    std::string text;
    try {
      asleep.get();
    } catch (const weir::task_cancelled& cancelled) {
      text = cancelled.reason().text();
      CHECK(cancelled.reason().cause() == weir::stop_cause::requested);
    }
    CHECK(text == "not today");
  }
}

TEST_CASE("stopping the runtime wakes all sleepers", "[sleep][shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::vector<weir::handle<int>> all;
    for (int i = 0; i < 1000; ++i)
      all.push_back(rt.spawn(sleeps(1h, i)));
    if (workers == 2)
      test::eventually([&] { return rt.stats().total.run >= 1000; });
    rt.stop();
    int shut = 0;
    for (auto& one : all) {
      try {
        one.get();
      } catch (const weir::task_cancelled& cancelled) {
        shut += cancelled.reason().cause() == weir::stop_cause::shutdown ? 1 : 0;
      }
    }
    CHECK(shut == 1000);
  }
}

TEST_CASE("a timer that fires races with a stop: one of the two wins", "[sleep][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    int slept = 0;
    int stopped = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      auto asleep = rt.spawn(sleeps(std::chrono::microseconds(i % 60), i));
      for (int spin = 0; spin < (i * 7) % 500; ++spin)
        weir::detail::sync::relax();
      (void)asleep.request_stop();
      try {
        slept += asleep.get() == i ? 1 : 0;
      } catch (const weir::task_cancelled&) {
        ++stopped;
      }
    }
    CHECK(slept + stopped == rounds);
  }
}

TEST_CASE("many sleepers, some of them stopped, each end once", "[sleep][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> slept{0};
    const auto body = [](std::atomic<int>& count, int micros) -> weir::task<> {
      co_await weir::sleep_for(std::chrono::microseconds(micros));
      ++count;
    };
    std::vector<weir::handle<void>> all;
    const int number = test::rounds(20'000);
    all.reserve(static_cast<std::size_t>(number));
    for (int i = 0; i < number; ++i)
      all.push_back(rt.spawn(body(slept, (i * 7919) % 20'000)));
    for (std::size_t i = 0; i < all.size(); i += 3)
      (void)all[i].request_stop();
    int stopped = 0;
    for (auto& one : all) {
      try {
        one.get();
      } catch (const weir::task_cancelled&) {
        ++stopped;
      }
    }
    CHECK(slept + stopped == number);
  }
}

TEST_CASE("a ticker keeps its beat", "[ticker][manual_clock]") {
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  const auto body = [](weir::missed_ticks missed) -> weir::task<std::string> {
    weir::ticker tick(10s, missed);
    std::string text;
    const auto note = [&](std::uint64_t skipped) {
      text +=
          std::to_string(tick.due().time_since_epoch() / 1s) + "/" + std::to_string(skipped) + " ";
    };
    for (int i = 0; i < 4; ++i) {
      const auto skipped = co_await tick.next();
      note(skipped);
      if (i == 1)
        co_await weir::sleep_for(25s); // two ticks pass meanwhile
    }
    co_return text;
  };
  // Ticks at 10 and 20; at 45 the ticks of 30 and 40 have been missed.
  CHECK(rt.block_on(body(weir::missed_ticks::skip)) == "20/0 30/0 50/1 60/0 ");
  const auto restart = clock.now();
  CHECK(restart == clock_point() + 50s);
  weir::manual_clock second;
  weir::runtime other{{.workers = 1, .clock = &second}};
  CHECK(other.block_on(body(weir::missed_ticks::catch_up)) == "20/0 30/0 40/0 50/0 ");
  weir::manual_clock third;
  weir::runtime last{{.workers = 1, .clock = &third}};
  CHECK(last.block_on(body(weir::missed_ticks::delay)) == "20/0 30/0 55/0 65/0 ");
}

TEST_CASE("a ticker's period must be positive", "[ticker]") {
  CHECK(code_of([] { weir::ticker never(0s); }) == weir::errc::invalid_option);
  CHECK(code_of([] { weir::ticker never(-1ns); }) == weir::errc::invalid_option);
}
