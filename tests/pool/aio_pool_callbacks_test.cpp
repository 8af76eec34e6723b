// SPDX-License-Identifier: MIT
// Callbacks, deadlines and time limits of the tasks of fixed_pool and autoscale_pool, by the rules
// of 1A.6 and 1A.7.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using lines = std::vector<std::string>;

namespace {

// What takes something else is refused as such, and what has no name.
struct of_int_and_text {
  void operator()(int, const char*) const {}
};
static_assert(!std::is_convertible_v<of_int_and_text, weir::task_callback>);
static_assert(!std::is_convertible_v<void (*)(weir::task_id), weir::callback_ref>);
static_assert(std::is_convertible_v<void (*)(weir::task_id), weir::task_callback>);

weir::task<> endless() {
  for (;;)
    co_await weir::sleep_for(1h);
}

/// "end(3) 1 waiting, 0 running, 2 ended" at each call.
template <class Pool>
weir::task_callback telling(test::pool_log& log, const Pool& pool, const char* name) {
  return [&log, &pool, name](weir::task_id id) -> weir::task<> {
    const auto s = pool.stats();
    log.say(std::string(name) + "(" + std::to_string(id) + ") " + std::to_string(s.waiting) +
            " waiting, " + std::to_string(s.running) + " running, " + std::to_string(s.ended) +
            " ended");
    co_await weir::sleep_for(10ms);
    log.say(std::string(name) + " done " + std::to_string(id));
  };
}

} // namespace

TEMPLATE_TEST_CASE("1A.6, D6: cancel_callback, slot, end_callback, result, in this order",
                   "[aio_pool][callbacks]", weir::fifo, weir::lifo, weir::priority) {
  test::pool_stage stage;
  weir::fixed_pool<TestType> pool(stage.rt, {.size = 1});
  const auto end = telling(stage.log, pool, "end");
  const auto can = telling(stage.log, pool, "can");
  const auto main = [&]() -> weir::task<> {
    auto running = pool.submit_nowait({.end_callback = end, .cancel_callback = can}, &endless);
    co_await weir::sleep_for(1ms); // so that it is the one that runs
    auto next = pool.submit_nowait([&log = stage.log] { log.say("next"); });
    co_await weir::sleep_for(999ms);
    running.request_stop();
    bool cancelled = false;
    try {
      co_await running;
    } catch (const weir::task_cancelled&) {
      cancelled = true;
    }
    stage.log.say(cancelled ? "cancelled" : "wrong");
    co_await next;
    auto fine = pool.submit_nowait({.end_callback = end, .cancel_callback = can}, [] { return 5; });
    const int value = co_await fine;
    stage.log.say("gave " + std::to_string(value));
  };
  stage.play(main);
  CHECK(stage.log.timeline() == lines{
                                    "1000 can(0) 1 waiting, 1 running, 0 ended",
                                    "1010 can done 0",
                                    "1010 end(0) 1 waiting, 0 running, 1 ended",
                                    "1010 next",
                                    "1020 end done 0",
                                    "1020 cancelled",
                                    "1020 end(1) 0 waiting, 0 running, 3 ended",
                                    "1030 end done 1",
                                    "1030 gave 5",
                                });
}

TEST_CASE("D7, D8: a slow cancel_callback keeps the slot, a slow end_callback does not",
          "[aio_pool][callbacks]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const weir::task_callback slow = [](weir::task_id) -> weir::task<> {
      co_await weir::sleep_for(100ms);
    };
    const auto say = [&log = stage.log] { log.say("next"); };
    for (const bool cancel_is_slow : {true, false}) {
      weir::fixed_pool<> pool(stage.rt, {.size = 1});
      weir::submit_options options;
      (cancel_is_slow ? options.cancel_callback : options.end_callback) = slow;
      const auto main = [&]() -> weir::task<> {
        auto running = pool.submit_nowait(options, &endless);
        auto next = pool.submit_nowait(say);
        co_await weir::sleep_for(1s);
        running.request_stop();
        co_await next;
        auto closing = pool.close();
        co_await closing; // and for the callback
      };
      stage.play(main);
    }
    CHECK(stage.log.timeline() == lines{"1100 next", "2100 next"});
    CHECK(stage.clock.now().time_since_epoch() == 2200ms);
  }
}

TEST_CASE("D8: an end_callback that blocks its thread does not hold the slot",
          "[aio_pool][callbacks]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt, {.size = 1});
  test::gate next_ran;
  const weir::task_callback waits = [&](weir::task_id) { next_ran.pass(); };
  auto first = pool.submit_nowait({.end_callback = waits}, [] {});
  auto next = pool.submit_nowait([&] { next_ran.open(); });
  next.get();
  first.get();
}

TEST_CASE(
    "D14: a waiting task that is cancelled gets both callbacks, and its place is free at once",
    "[aio_pool][callbacks]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.size = 1, .queue_maxsize = 1});
  const auto end = telling(stage.log, pool, "end");
  const auto can = telling(stage.log, pool, "can");
  const auto main = [&]() -> weir::task<> {
    auto running = pool.submit_nowait(&endless);
    co_await weir::sleep_for(1s);
    auto waiting = pool.submit_nowait({.end_callback = end, .cancel_callback = can},
                                      [&log = stage.log] { log.say("wrong"); });
    waiting.request_stop();
    stage.log.say(waiting.done() ? "done" : "not done");
    auto other = pool.try_submit([] {});
    stage.log.say(other ? "has room" : "full");
    bool cancelled = false;
    try {
      co_await waiting;
    } catch (const weir::task_cancelled&) {
      cancelled = true;
    }
    stage.log.say(cancelled ? "cancelled" : "wrong");
    running.request_stop();
  };
  stage.play(main);
  CHECK(stage.log.timeline() == lines{
                                    "1000 not done",
                                    "1000 has room",
                                    "1000 can(0) 1 waiting, 1 running, 1 ended",
                                    "1010 can done 0",
                                    "1010 end(0) 1 waiting, 1 running, 1 ended",
                                    "1020 end done 0",
                                    "1020 cancelled",
                                });
  stage.rt.block_on(pool.close());
  CHECK(pool.stats().cancelled == 2);
}

TEST_CASE("D11, 1A.7: what callbacks throw takes the place of the outcome",
          "[aio_pool][callbacks]") {
  for (const bool coroutine : {false, true}) {
    for (const bool started : {false, true}) {
      test::pool_stage stage;
      weir::fixed_pool<> pool(stage.rt, {.size = 1, .log = stage.log.full_sink(), .name = "x"});
      std::atomic<int> called{0};
      const auto throwing = [&called, coroutine](const char* what) -> weir::task_callback {
        if (!coroutine)
          return [&called, what] {
            ++called;
            throw std::runtime_error(what);
          };
        return [&called, what](weir::task_id) -> weir::task<> {
          ++called;
          co_await weir::yield();
          throw std::runtime_error(what);
        };
      };
      const auto end = throwing("e");
      const auto can = throwing("c");
      const auto main = [&]() -> weir::task<std::string> {
        auto before = pool.submit_nowait(&endless);
        if (started)
          before.request_stop();
        auto task = pool.submit_nowait({.end_callback = end, .cancel_callback = can}, &endless);
        co_await weir::sleep_for(1s);
        task.request_stop();
        std::string seen;
        try {
          co_await task;
        } catch (const weir::callback_failed& e) {
          seen = e.what();
          try {
            e.rethrow_nested();
          } catch (const std::runtime_error& nested) {
            seen += std::string(" ") + nested.what();
          }
        }
        before.request_stop();
        auto again = pool.submit_nowait({.end_callback = end}, [] { return 1; });
        try {
          (void)co_await again;
        } catch (const std::runtime_error& e) {
          seen += std::string(" ") + e.what();
        }
        co_return seen;
      };
      CHECK(stage.play(main) == "e c e");
      CHECK(called == 3);
      const std::string line = "ERROR weir.pool: std::runtime_error occurred in ";
      CHECK(stage.log.count(line + "cancel_callback of FixedPool-x_Task-0: c") == 1);
      CHECK(stage.log.count(line + "end_callback of FixedPool-x_Task-0: e") == 1);
      CHECK(stage.log.count(line + "end_callback of FixedPool-x_Task-1: e") == 1);
      CHECK(pool.stats().running == 0);
    }
  }
}

TEST_CASE("A-26: a coroutine callback has a time limit and a token", "[aio_pool][callbacks]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.callback_timeout = 2s});
  bool asked = false;
  const weir::task_callback stuck = [&](weir::task_id,
                                        weir::inplace_stop_token token) -> weir::task<> {
    try {
      co_await weir::sleep_for(1h);
    } catch (const weir::task_cancelled&) {
      asked = token.stop_requested();
      throw;
    }
  };
  auto task = pool.submit_nowait({.end_callback = stuck}, [] {});
  CHECK(test::code_of([&] { task.get(); }) == weir::errc::timed_out);
  CHECK(asked);
  CHECK(stage.clock.now().time_since_epoch() == 2s);
}

TEST_CASE("a callback may use the pool, but not wait for its end", "[aio_pool][callbacks]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.size = 1});
  int ran = 0;
  std::error_code refused;
  const weir::task_callback again = [&](weir::task_id) -> weir::task<> {
    auto one = pool.submit_nowait([&] { ++ran; });
    co_await one;
    try {
      auto closing = pool.close();
      (void)co_await closing;
    } catch (const weir::error& e) {
      refused = e.code();
    }
  };
  pool.submit_nowait({.end_callback = again}, [&] { ++ran; }).get();
  CHECK(ran == 2);
  CHECK(refused == weir::errc::would_deadlock);
  CHECK(stage.rt.block_on(pool.close()).in_time);
}

TEST_CASE("an end callback may wait for room in its pool: it holds no slot",
          "[aio_pool][callbacks]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
  test::gate door;
  std::atomic<int> ran{0};
  const weir::task_callback more = [&](weir::task_id) -> weir::task<> {
    // The slot and the place in the queue are taken.
    auto first = pool.submit_nowait([&] { door.pass(); });
    auto second = pool.submit_nowait([&] { ++ran; });
    const auto third = [&] { ++ran; };
    auto submitting = pool.submit_async(third);
    rt.post([&] { door.open(); });
    auto handle = co_await submitting;
    co_await handle;
  };
  pool.submit_nowait({.end_callback = more}, [] {}).get();
  CHECK(rt.block_on(pool.close()).in_time);
  CHECK(ran == 2);
}

TEST_CASE(
    "1A.6: a task of a queued pool that swallows its cancellation has ended, not been cancelled",
    "[aio_pool][callbacks]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt);
  const auto end = telling(stage.log, pool, "end");
  const auto can = telling(stage.log, pool, "can");
  const auto stubborn = []() -> weir::task<int> {
    try {
      co_await weir::sleep_for(1h);
    } catch (const weir::task_cancelled&) { // and goes on
    }
    co_return 3;
  };
  const auto main = [&]() -> weir::task<int> {
    auto task = pool.submit_nowait({.end_callback = end, .cancel_callback = can}, stubborn);
    co_await weir::sleep_for(1s);
    task.request_stop();
    co_return co_await task;
  };
  CHECK(stage.play(main) == 3);
  CHECK(stage.log.timeline() ==
        lines{"1000 end(0) 0 waiting, 0 running, 1 ended", "1010 end done 0"});
}

TEMPLATE_TEST_CASE("a task that has not started by its deadline is cancelled then",
                   "[aio_pool][start_by]", weir::fifo, weir::lifo, weir::priority) {
  test::pool_stage stage;
  weir::fixed_pool<TestType> pool(stage.rt, {.size = 1, .queue_maxsize = 2});
  const auto end = telling(stage.log, pool, "end");
  const auto main = [&]() -> weir::task<> {
    auto first = pool.submit_nowait(
        {.start_by = stage.rt.now() + 1s},
        [&log = stage.log](std::chrono::seconds time) -> weir::task<> {
          co_await weir::sleep_for(time);
          log.say("first, started in time");
        },
        10s);
    co_await weir::sleep_for(1ms);
    auto late = pool.submit_nowait({.end_callback = end, .start_by = stage.rt.now() + 2s},
                                   [&log = stage.log] { log.say("wrong"); });
    auto in_time = pool.submit_nowait({.start_by = stage.rt.now() + 1h},
                                      [&log = stage.log] { log.say("in time"); });
    auto no_room = pool.try_submit([] {});
    stage.log.say(no_room ? "wrong" : "full");
    try {
      co_await late;
    } catch (const weir::task_cancelled& e) {
      stage.log.say(e.reason() == weir::stop_cause::not_started_in_time
                        ? std::string(e.reason().text())
                        : "wrong");
    }
    auto room = pool.try_submit([] {});
    stage.log.say(room ? "room" : "wrong");
    co_await in_time;
    co_await *room;
    // One whose time is over already.
    auto never = pool.submit_nowait({.start_by = stage.rt.now() - 1s},
                                    [&log = stage.log] { log.say("wrong"); });
    try {
      co_await never;
    } catch (const weir::task_cancelled& e) {
      stage.log.say("never");
    }
  };
  stage.play(main);
  CHECK(stage.log.timeline() == lines{"1 full", "2001 end(1) 1 waiting, 1 running, 1 ended",
                                      "2011 end done 1", "2011 the task was not started in time",
                                      "2011 room", "10000 first, started in time", "10000 in time",
                                      "10000 never"});
  CHECK(stage.rt.block_on(pool.close()).in_time);
  CHECK(pool.stats().cancelled == 2);
  CHECK(pool.stats().finished == 3);
}

TEST_CASE("the deadline of who waits for room counts from its admission", "[aio_pool][start_by]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.size = 1, .queue_maxsize = 1});
  const auto main = [&]() -> weir::task<std::string> {
    auto sleeping = pool.submit_nowait([]() -> weir::task<> { co_await weir::sleep_for(5s); });
    auto queued = pool.submit_nowait([]() -> weir::task<> { co_await weir::sleep_for(5s); });
    auto submission = pool.submit({.start_by = stage.rt.now() + 1s}, [] {});
    std::string seen;
    try {
      co_await submission;
    } catch (const weir::task_cancelled& e) {
      seen = e.reason().text();
    }
    seen += " " + std::to_string(stage.clock.now().time_since_epoch() / 1s);
    co_await queued;
    co_return seen;
  };
  CHECK(stage.play(main) == "the task was not started in time 5");
}

TEST_CASE("5.2 row 77: a task's time limit is counted from its start", "[aio_pool][timeout]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.size = 1});
  const auto sleeps = [](std::chrono::seconds time) -> weir::task<int> {
    co_await weir::sleep_for(time);
    co_return 1;
  };
  auto before = pool.submit_nowait(sleeps, 10s);
  auto quick = pool.submit_nowait({.timeout = 3s}, sleeps, 2s);
  auto slow = pool.submit_nowait({.timeout = 3s}, sleeps, 20s);
  bool told = false;
  auto token =
      pool.submit_nowait({.timeout = 3s}, [&](weir::inplace_stop_token stop) -> weir::task<> {
        try {
          co_await weir::sleep_for(20s);
        } catch (const weir::task_cancelled&) {
          told = stop.stop_requested();
          throw;
        }
      });
  auto plain = pool.submit_nowait({.timeout = 3s}, [] { return std::make_unique<int>(4); });
  CHECK(quick.get() == 1);
  CHECK(test::code_of([&] { (void)slow.get(); }) == weir::errc::timed_out);
  CHECK(test::code_of([&] { token.get(); }) == weir::errc::timed_out);
  CHECK(told);
  CHECK(*plain.get() == 4);
  CHECK(before.get() == 1);
  CHECK(stage.clock.now().time_since_epoch() == 18s);
  CHECK(pool.stats().failed == 2);
}

TEST_CASE("a time limit for a plain function on an executor", "[aio_pool][timeout]") {
  weir::manual_clock clock(weir::manual_clock::moves::by_hand);
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  weir::blocking_executor threads({.max_threads = 1});
  weir::fixed_pool<> pool(rt, {.executor = threads});
  // It looks at its token; the limit is why it ends.
  std::atomic<bool> called = false;
  auto task = pool.submit_nowait({.timeout = 1ms}, [&](weir::inplace_stop_token stop) {
    called = true;
    called.notify_one();
    while (!stop.stop_requested())
      std::this_thread::yield();
    return 6;
  });
  called.wait(false);
  clock.advance(1ms);
  CHECK(task.get() == 6); // a result that comes late is one
  int ends = 0;
  const weir::task_callback end = [&] { ++ends; };
  CHECK(pool.submit_nowait({.end_callback = end}, [] { return 2; }).get() == 2);
  CHECK(ends == 1);
}

TEST_CASE("a runtime that stops ends, whoever cancels what still waits in its pools",
          "[aio_pool][callbacks]") {
  weir::runtime other{{.workers = 1}};
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool(rt, {.size = 1});
  std::atomic<bool> inside{false};
  test::gate gate;
  auto running = pool.submit_nowait([&] {
    inside = true;
    gate.pass();
  });
  test::eventually([&] { return inside.load(); });
  const weir::task_callback cancelled = [](weir::task_id) -> weir::task<> {
    co_await weir::sleep_for(1ms);
  };
  auto waiting = pool.submit_nowait({.cancel_callback = cancelled}, [] {});
  std::thread stopper([&] { rt.stop(); });
  test::eventually([&] { return test::code_of([&] { rt.post([] {}); }) == weir::errc::stopped; });
  other.submit([&] { (void)waiting.request_stop(); }).get();
  gate.open();
  stopper.join();
  running.get();
  CHECK_THROWS_AS(waiting.get(), weir::task_cancelled);
}
