// SPDX-License-Identifier: MIT
// A-18: tasks that are tried again after they have thrown.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::thrown_text;

namespace {

/// Throws until it has been called `failures` times, however it was copied.
struct flaky {
  test::pool_log* log;
  int failures;
  std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);

  weir::task<int> operator()() const {
    const int call = ++*calls;
    log->say("attempt " + std::to_string(call));
    co_await weir::sleep_for(100ms);
    if (call <= failures)
      throw std::runtime_error("no " + std::to_string(call));
    co_return call;
  }
};

weir::apply_options with(weir::retry_options retry) {
  weir::apply_options options;
  options.retry = std::move(retry);
  return options;
}

} // namespace

TEST_CASE("A-18: a task is tried again until it succeeds, and is one task", "[retry][A-18]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.full_sink()});
    stage.log.clear();
    const auto main = [&]() -> weir::task<int> {
      auto options = with({.attempts = 4, .delay = 1s, .growth = 2});
      options.end_callback = [&](weir::task_id id) { stage.log.say("end " + std::to_string(id)); };
      options.cancel_callback = [&](weir::task_id) { stage.log.say("wrong"); };
      auto group = pool.apply(flaky{&stage.log, 2}, options);
      auto results = co_await group;
      co_return results[0].get();
    };
    CHECK(stage.play(main) == 3);
    const std::string task = "TaskPool-x_Task-0";
    const std::string error = " WARNING weir.task_pool: std::runtime_error occurred in attempt ";
    CHECK(stage.log.timeline() == std::vector<std::string>{
                                      "0 INFO weir.task_pool: Started " + task,
                                      "0 attempt 1",
                                      "100" + error + "1 of 4 of " + task + ": no 1",
                                      "1100 attempt 2",
                                      "1200" + error + "2 of 4 of " + task + ": no 2",
                                      "3200 attempt 3",
                                      "3300 INFO weir.task_pool: Ended " + task,
                                      "3300 end 0",
                                  });
    const auto s = pool.stats();
    CHECK(s.started == 1);
    CHECK(s.finished == 1);
    CHECK(s.failed == 0);
    CHECK(s.ended == 1);
    CHECK(s.accepted == 1);
    CHECK(s.retried == 2);
    CHECK(s.run_time.count() == 1);
  }
}

TEST_CASE("A-18: after the last attempt the task has failed by what that one threw",
          "[retry][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.sink(weir::log_level::info)});
    auto group = pool.apply(flaky{&stage.log, 9}, with({.attempts = 3}));
    auto results = co_await group;
    std::string seen = thrown_text<std::runtime_error>([&] { (void)results[0].get(); });
    const auto report = co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen + " " + std::to_string(report.failed) + std::to_string(report.tasks.size()) +
        std::to_string(pool.stats().retried);
  };
  CHECK(stage.play(main) == "no 3 112");
  CHECK(stage.log.count_with("occurred in attempt") == 2);
  CHECK(stage.log.count("std::runtime_error occurred in TaskPool-x_Task-0: no 3") == 1);
  CHECK(stage.log.count_with("Started") == 1);
  CHECK(stage.log.count_with("Ended") == 1);
}

TEST_CASE("A-18: only what the predicate allows is tried again", "[retry][A-18]") {
  test::pool_stage stage;
  const auto only_runtime_errors = [](const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::runtime_error&) {
      return true;
    } catch (...) {
      return false;
    }
  };
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    const auto calls = std::make_shared<int>(0);
    const auto changing = [calls]() -> int {
      if (++*calls < 3)
        throw std::runtime_error("again");
      throw std::logic_error("for good");
    };
    auto group = pool.apply(changing, with({.attempts = 9, .when = only_runtime_errors}));
    auto results = co_await group;
    std::string seen = thrown_text<std::logic_error>([&] { (void)results[0].get(); });
    seen += " " + std::to_string(*calls);
    const auto throws = [](const std::exception_ptr&) -> bool {
      throw std::domain_error("predicate");
    };
    auto second = pool.apply(changing, with({.attempts = 9, .when = throws}));
    auto ended = co_await second;
    seen += " " + thrown_text<std::domain_error>([&] { (void)ended[0].get(); });
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen;
  };
  CHECK(stage.play(main) == "for good 3 predicate");
}

TEST_CASE("A-18: the slot is kept during the delay, and cancelling ends that", "[retry][A-18]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.pool_size = 1, .name = "x"});
      auto options = with({.attempts = 3, .delay = 10s});
      options.cancel_callback = [&](weir::task_id) { stage.log.say("cancelled"); };
      options.end_callback = [&](weir::task_id) { stage.log.say("ended"); };
      auto group = pool.apply(flaky{&stage.log, 9}, options);
      (void)pool.apply([&log = stage.log] { log.say("next"); });
      co_await weir::sleep_for(5s);
      std::string seen = std::to_string(pool.num_running()) + (pool.is_full() ? " full" : " free");
      pool.cancel(0);
      auto results = co_await group;
      (void)co_await pool.gather_and_close();
      seen += results[0].cancelled() ? " cancelled" : "";
      co_return seen + " " + std::to_string(pool.stats().cancelled) +
          std::to_string(pool.stats().failed) + std::to_string(pool.stats().retried);
    };
    CHECK(stage.play(main) == "1 full cancelled 101");
    CHECK(stage.log.before("cancelled", "ended"));
    CHECK(stage.log.before("cancelled", "next"));
    CHECK(stage.log.timeline()[0] == "0 attempt 1");
    CHECK(stage.log.count("attempt 2") == 0);
    CHECK(stage.clock.now().time_since_epoch() == 5s);
  }
}

TEST_CASE("A-18: a task that is cancelled while it runs is not tried again", "[retry][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt);
    auto group = pool.apply(flaky{&stage.log, 9}, with({.attempts = 9}));
    co_await weir::sleep_for(50ms);
    pool.cancel_all();
    auto results = co_await group;
    co_return results[0].cancelled();
  };
  CHECK(stage.play(main));
  CHECK(stage.log.lines() == std::vector<std::string>{"attempt 1"});
}

TEST_CASE("A-18: time limits of an attempt and of all of them", "[retry][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    const auto calls = std::make_shared<int>(0);
    const auto slow = [calls](int) -> weir::task<int> {
      ++*calls;
      co_await weir::sleep_for(*calls == 1 ? 10s : 1s);
      co_return *calls;
    };
    weir::map_options options;
    options.retry = weir::retry_options{.attempts = 2, .attempt_timeout = 2s};
    auto group = pool.map(slow, std::vector<int>{1}, options);
    auto results = co_await group;
    std::string seen = std::to_string(results[0].get()) + "@" +
                       std::to_string(stage.clock.now().time_since_epoch() / 1s);
    auto all = with({.attempts = 100, .delay = 1s});
    all.timeout = 3500ms;
    auto limited = pool.apply(flaky{&stage.log, 99}, all);
    auto late = co_await limited;
    seen +=
        test::code_of([&] { (void)late[0].get(); }) == weir::errc::timed_out ? " timed out" : "";
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen + " " + std::to_string(stage.log.lines().size());
  };
  CHECK(stage.play(main) == "2@3 timed out 4");
}

TEST_CASE("A-18: each attempt gets the arguments as they were given", "[retry][A-18]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  std::atomic<int> calls{0};
  const auto eats = [&calls](std::string text) {
    const std::string eaten = std::move(text);
    if (++calls % 3 != 0)
      throw std::runtime_error(eaten);
    return eaten;
  };
  weir::map_options options;
  options.retry = weir::retry_options{.attempts = 3};
  auto group = pool.map(eats, std::vector<std::string>{"first", "second"}, options);
  auto results = rt.block_on(group.results());
  REQUIRE(results.size() == 2);
  CHECK(results[0].get() == "first");
  CHECK(results[1].get() == "second");
  weir::simple_task_pool simple(rt, eats, std::tuple(std::string("third")),
                                {.retry = weir::retry_options{.attempts = 3}});
  auto started = simple.start();
  CHECK(rt.block_on(started.results())[0].get() == "third");
  CHECK(simple.stats().retried == 2);
}

TEST_CASE("A-18: options of retry that make no sense are refused", "[retry][A-18]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          (void)pool.apply([] {}, with({.attempts = 0}));
        }) == "`attempts` of retry must be at least 1");
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          (void)pool.apply([] {}, with({.growth = 0.5}));
        }) == "`growth` of retry must be at least 1");
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          (void)pool.apply([](std::unique_ptr<int>) {}, std::tuple(std::make_unique<int>(1)),
                           with({.attempts = 2}));
        }) == "retry needs a callable and arguments that can be copied");
  weir::map_options options;
  options.retry = weir::retry_options{.attempts = 2};
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          (void)pool.map([](std::unique_ptr<int>) {}, std::vector<std::unique_ptr<int>>(),
                         std::move(options));
        }) == "retry needs arguments that can be copied");
  CHECK(pool.num_waiting_groups() == 0);
  CHECK(pool.stats().accepted == 0);
}

TEST_CASE("A-18: many tasks that are tried again, and the figures stay exact",
          "[retry][stress][A-18]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::task_pool pool(rt, {.pool_size = 3});
    std::atomic<int> ends{0};
    const int tasks = test::rounds(500);
    const auto calls = std::make_shared<std::atomic<int>>(0);
    const auto fails_often = [calls](int i) {
      ++*calls;
      if (*calls % 3 != i % 3)
        throw std::runtime_error("again");
    };
    std::vector<int> numbers;
    for (int i = 0; i < tasks; ++i)
      numbers.push_back(i);
    weir::map_options options;
    options.num_concurrent = 8;
    options.end_callback = [&](weir::task_id) { ++ends; };
    options.retry = weir::retry_options{.attempts = 3};
    (void)pool.map(fails_often, std::move(numbers), std::move(options));
    rt.block_on(pool.gather_and_close(weir::on_exception::collect));
    const auto s = pool.stats();
    CHECK(ends == tasks);
    CHECK(s.finished + s.failed == static_cast<std::uint64_t>(tasks));
    CHECK(s.retried + static_cast<std::uint64_t>(tasks) == static_cast<std::uint64_t>(*calls));
  }
}
