// SPDX-License-Identifier: MIT
// The life of one task (1A.6) and its callbacks (1A.7).
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

weir::task<> endless() {
  co_await weir::sleep_for(1000h);
}

/// "name(id) r<running> c<cancelled> e<ended>".
std::string state(const weir::pool_base& pool, const char* name, weir::task_id id) {
  return std::string(name) + "(" + std::to_string(id) + ") r" + std::to_string(pool.num_running()) +
         " c" + std::to_string(pool.num_cancelled()) + " e" + std::to_string(pool.num_ended());
}

} // namespace

TEST_CASE("1A.6: the lines of a task that ends, fails or is cancelled", "[callbacks]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.full_sink()});
  stage.log.clear();
  const auto said = [&](const char* what) {
    return [&log = stage.log, what](weir::task_id id) { log.say(what + std::to_string(id)); };
  };
  const auto main = [&]() -> weir::task<> {
    weir::apply_options options;
    options.end_callback = said("end ");
    options.cancel_callback = said("cancel ");
    (void)pool.apply([] {}, options);
    co_await weir::sleep_for(1s);
    (void)pool.apply([] { throw std::runtime_error("broken"); }, options);
    co_await weir::sleep_for(1s);
    (void)pool.apply(&endless, options);
    co_await weir::sleep_for(1s);
    pool.cancel(2);
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
  };
  stage.play(main);
  CHECK(stage.log.lines() ==
        std::vector<std::string>{
            "INFO weir.task_pool: Started TaskPool-x_Task-0",
            "INFO weir.task_pool: Ended TaskPool-x_Task-0",
            "end 0",
            "INFO weir.task_pool: Started TaskPool-x_Task-1",
            "ERROR weir.task_pool: std::runtime_error occurred in TaskPool-x_Task-1: broken",
            "INFO weir.task_pool: Ended TaskPool-x_Task-1",
            "end 1",
            "INFO weir.task_pool: Started TaskPool-x_Task-2",
            "INFO weir.task_pool: TaskPool-x is locked!",
            "DEBUG weir.task_pool: Cancelling TaskPool-x_Task-2 ...",
            "DEBUG weir.task_pool: Cancelled TaskPool-x_Task-2",
            "cancel 2",
            "INFO weir.task_pool: Ended TaskPool-x_Task-2",
            "end 2",
        });
}

TEST_CASE("D6: callbacks of two tasks that are cancelled together", "[callbacks][D6]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.sink(weir::log_level::info)});
  auto* const log = &stage.log;
  auto* const on = &pool;
  const auto callback = [log, on](const char* name) {
    return [log, on, name](weir::task_id id) -> weir::task<> {
      log->say(state(*on, name, id));
      co_await weir::sleep_for(10ms);
      log->say(std::string(name) + " done " + std::to_string(id));
    };
  };
  const auto main = [&]() -> weir::task<> {
    weir::apply_options options;
    options.num = 2;
    options.end_callback = callback("end");
    options.cancel_callback = callback("can");
    (void)pool.apply(&endless, options);
    co_await weir::sleep_for(1s);
    stage.log.clear();
    pool.cancel({0, 1});
    (void)co_await pool.gather_and_close();
    log->say("gathered");
  };
  stage.play(main);
  // Which of the two comes first is not guaranteed; one worker runs the newest first.
  CHECK(stage.log.timeline() == std::vector<std::string>{
                                    "1000 TaskPool-x is locked!",
                                    "1000 can(1) r1 c1 e0",
                                    "1000 can(0) r0 c2 e0",
                                    "1010 can done 1",
                                    "1010 Ended TaskPool-x_Task-1",
                                    "1010 end(1) r0 c1 e1",
                                    "1010 can done 0",
                                    "1010 Ended TaskPool-x_Task-0",
                                    "1010 end(0) r0 c0 e2",
                                    "1020 end done 1",
                                    "1020 end done 0",
                                    "1020 gathered",
                                });
}

TEST_CASE("D7, D8: a slow cancel_callback keeps the room, a slow end_callback does not",
          "[callbacks][D7][D8]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto slow = [](weir::task_id) -> weir::task<> { co_await weir::sleep_for(100ms); };
    const auto say = [&log = stage.log] { log.say("next"); };
    {
      weir::task_pool pool(stage.rt, {.pool_size = 1});
      const auto main = [&]() -> weir::task<> {
        (void)pool.apply(&endless, {.cancel_callback = slow});
        (void)pool.apply(say);
        co_await weir::sleep_for(1s);
        pool.cancel(0);
        (void)co_await pool.gather_and_close();
      };
      stage.play(main);
    }
    {
      weir::task_pool pool(stage.rt, {.pool_size = 1});
      const auto main = [&]() -> weir::task<> {
        (void)pool.apply(&endless, {.end_callback = slow});
        (void)pool.apply(say);
        co_await weir::sleep_for(900ms);
        pool.cancel(0);
        (void)co_await pool.gather_and_close();
      };
      stage.play(main);
    }
    CHECK(stage.log.timeline() == std::vector<std::string>{"1100 next", "2000 next"});
  }
}

TEST_CASE("D9: gather waits for callbacks", "[callbacks][D9]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt);
  const auto slow = [](weir::task_id) -> weir::task<int> {
    co_await weir::sleep_for(100ms);
    co_return 7; // dropped
  };
  (void)pool.apply([] {}, {.end_callback = slow});
  stage.rt.block_on(pool.gather_and_close());
  CHECK(stage.clock.now().time_since_epoch() == 100ms);
}

TEST_CASE("D11: callbacks that throw", "[callbacks][D11]") {
  for (const bool coroutine : {false, true}) {
    test::pool_stage stage;
    weir::task_pool pool(stage.rt, {.pool_size = 1, .name = "x", .log = stage.log.full_sink()});
    std::atomic<int> called{0};
    const auto throwing = [&called, coroutine](const char* what) -> weir::task_callback {
      if (!coroutine)
        return [&called, what](weir::task_id) {
          ++called;
          throw std::runtime_error(what);
        };
      return [&called, what](weir::task_id) -> weir::task<> {
        ++called;
        co_await weir::yield();
        throw std::runtime_error(what);
      };
    };
    const auto main = [&]() -> weir::task<std::string> {
      weir::apply_options options;
      options.end_callback = throwing("e");
      options.cancel_callback = throwing("c");
      (void)pool.apply(&endless, options);
      co_await weir::sleep_for(1s);
      pool.cancel(0);
      co_await weir::sleep_for(1s);
      std::string seen = pool.is_full() ? "full" : "free";
      auto flushed = pool.flush();
      try {
        (void)co_await std::move(flushed);
      } catch (const std::runtime_error& e) {
        seen += std::string(" ") + e.what();
        try {
          std::rethrow_if_nested(e);
        } catch (const std::runtime_error& nested) {
          seen += std::string(" ") + nested.what();
        }
      }
      const auto again = co_await pool.flush();
      seen += " " + std::to_string(again.tasks.size());
      seen += " " + std::to_string(pool.try_cancel(0) == weir::errc::task_not_found ? 1 : 0);
      co_return seen;
    };
    CHECK(stage.play(main) == "free e c 0 1");
    CHECK(called == 2);
    const std::string line = "ERROR weir.task_pool: std::runtime_error occurred in ";
    CHECK(stage.log.count(line + "cancel_callback of TaskPool-x_Task-0: c") == 1);
    CHECK(stage.log.count(line + "end_callback of TaskPool-x_Task-0: e") == 1);
  }
}

TEST_CASE("1A.7: an exception of a callback takes the place of the result", "[callbacks]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto throws = [](weir::task_id) { throw std::logic_error("callback"); };
  auto group = pool.apply([] { return 1; }, {.end_callback = throws});
  auto results = rt.block_on(group.results());
  REQUIRE(results.size() == 1);
  CHECK_THROWS_AS(results[0].get(), std::logic_error);
  auto failing =
      pool.apply([]() -> int { throw std::runtime_error("task"); }, {.end_callback = throws});
  auto failed = rt.block_on(failing.results());
  try {
    (void)failed[0].get();
    FAIL("nothing was thrown");
  } catch (const weir::callback_failed& e) {
    CHECK(std::string(e.what()) == "callback");
    CHECK(e.code() == weir::errc::callback_failed);
    CHECK_THROWS_AS(std::rethrow_exception(e.error()), std::logic_error);
    CHECK_THROWS_AS(e.rethrow_nested(), std::runtime_error);
  }
}

TEST_CASE("1A.7: inside a callback its task has ended or is cancelled", "[callbacks]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.name = "x"});
  const auto attempt = [&](weir::task_id id) {
    stage.log.say(test::thrown_text<weir::task_ended>([&] { pool.cancel(id); }));
  };
  const auto main = [&]() -> weir::task<> {
    (void)pool.apply(&endless, {.end_callback = attempt, .cancel_callback = attempt});
    co_await weir::sleep_for(1s);
    pool.cancel(0);
    (void)co_await pool.gather_and_close();
  };
  stage.play(main);
  CHECK(stage.log.lines() == std::vector<std::string>{"'TaskPool-x_Task-0' has been cancelled",
                                                      "'TaskPool-x_Task-0' has finished running"});
}

TEST_CASE("1A.7: cancelling does not reach a task in its callbacks", "[callbacks]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt);
  const auto slow = [&log = stage.log](weir::task_id) -> weir::task<> {
    co_await weir::sleep_for(1s);
    log.say("whole");
  };
  const auto main = [&]() -> weir::task<> {
    (void)pool.apply(&endless, {.end_callback = slow, .cancel_callback = slow});
    co_await weir::sleep_for(1s);
    pool.cancel_all();
    co_await weir::sleep_for(500ms);
    pool.cancel_all(); // in the cancel_callback
    co_await weir::sleep_for(1s);
    pool.cancel_all(); // in the end_callback
    (void)co_await pool.gather_and_close();
  };
  stage.play(main);
  CHECK(stage.log.timeline() == std::vector<std::string>{"2000 whole", "3000 whole"});
}

TEST_CASE("1A.6: a task that swallows its cancellation has ended, not been cancelled",
          "[callbacks]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.log = stage.log.sink()});
  std::atomic<int> cancels{0};
  const auto stubborn = []() -> weir::task<int> {
    try {
      co_await weir::sleep_for(1000h);
    } catch (const weir::task_cancelled&) { // and goes on
    }
    co_return 5;
  };
  const auto main = [&]() -> weir::task<bool> {
    auto group = pool.apply(stubborn, {.cancel_callback = [&](weir::task_id) { ++cancels; }});
    co_await weir::sleep_for(1s);
    pool.cancel(0);
    auto results = co_await group.results();
    co_return results[0].has_value() && results[0].get() == 5;
  };
  CHECK(stage.play(main));
  CHECK(cancels == 0);
  CHECK(pool.stats().finished == 1);
  CHECK(pool.stats().cancelled == 0);
  CHECK(stage.log.count_with("Cancel") == 0);
}

TEST_CASE("A-26: a callback has a time limit and a stop token", "[callbacks][A-26]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.callback_timeout = 2s});
  const auto never = [&log = stage.log](weir::task_id,
                                        weir::inplace_stop_token token) -> weir::task<> {
    try {
      co_await weir::sleep_for(1000h);
    } catch (const weir::task_cancelled&) {
      log.say(token.stop_requested() ? "asked to stop" : "not asked");
      throw;
    }
  };
  (void)pool.apply([] {}, {.end_callback = never});
  CHECK(test::code_of([&] { stage.rt.block_on(pool.gather_and_close()); }) ==
        weir::errc::timed_out);
  CHECK(stage.log.timeline() == std::vector<std::string>{"2000 asked to stop"});
}

TEST_CASE("a callback may use the pool", "[callbacks]") {
  weir::runtime rt{{.workers = 2}};
  weir::task_pool pool(rt, {.pool_size = 1});
  std::atomic<int> ran{0};
  const auto again = [&](weir::task_id id) {
    if (id < 100)
      (void)pool.apply([&ran] { ++ran; });
    pool.set_pool_size(1 + id % 3);
  };
  (void)pool.apply([&ran] { ++ran; }, {.num = 50, .end_callback = again});
  rt.block_on(pool.flush());
  test::eventually([&] { return pool.stats().ended == 100; });
  rt.block_on(pool.gather_and_close());
  CHECK(ran == 100);
}

TEST_CASE("a log sink may use the pool: no lock is held", "[callbacks]") {
  weir::runtime rt{{.workers = 2}};
  weir::task_pool* volatile self = nullptr;
  std::atomic<std::uint64_t> seen{0};
  const auto look = [&](auto...) {
    if (weir::task_pool* const pool = self; pool != nullptr)
      seen += pool->stats().started + pool->num_running();
  };
  weir::task_pool pool(rt, {.pool_size = 2, .log = look});
  self = &pool;
  (void)pool.apply(&endless, {.num = 4});
  pool.cancel_all();
  (void)pool.apply([] {}, {.num = 20});
  pool.lock();
  rt.block_on(pool.gather_and_close());
  CHECK(seen > 0);
  CHECK(pool.stats().finished == 20);
  self = nullptr;
}
