// SPDX-License-Identifier: MIT
// Cancelling tasks, groups and everything (1A.8).
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <ranges>
#include <string>
#include <tuple>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::ids;
using test::thrown_text;

namespace {

weir::task<> endless() {
  co_await weir::sleep_for(1000h);
}

weir::task<> endless_for(int) {
  co_await weir::sleep_for(1000h);
}

} // namespace

TEST_CASE("D5: cancelling a group", "[cancel][D5]") {
  test::pool_stage stage;
  std::atomic<int> pulled{0};
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.sink()});
    const auto pull = [&pulled](int i) {
      ++pulled;
      return i;
    };
    const auto say = [&](const char* what) {
      return [&log = stage.log, what](weir::task_id id) { log.say(what + std::to_string(id)); };
    };
    auto range = std::views::iota(0, 5) | std::views::transform(pull);
    weir::map_options options;
    options.group_name = "g";
    options.end_callback = say("end ");
    options.cancel_callback = say("cancel ");
    auto group = pool.map(&endless_for, range, options);
    co_await weir::sleep_for(1s);
    stage.log.clear();
    pool.cancel_group("g");
    std::string seen =
        thrown_text<weir::task_group_not_found>([&] { (void)pool.get_group_ids("g"); });
    (void)pool.apply([] {}, {.num = 0, .group_name = "g"}); // the name is free
    const auto results = co_await group.results();
    seen += " " + std::to_string(results.size()) + " " + std::to_string(pulled);
    co_return seen + (results[0].cancelled() && results[1].cancelled() ? " cancelled" : "");
  };
  CHECK(stage.play(main) == "No task group named 'g' exists in this pool. 2 2 cancelled");
  CHECK(stage.log.lines() == std::vector<std::string>{
                                 "TaskPool-x cancelling tasks in group g",
                                 "TaskPool-x cancelled and forgot meta tasks from group g",
                                 "TaskPool-x cancelled tasks from group g",
                                 "TaskPool-x forgot task group g",
                                 "Cancelled group 'g' after 1 tasks have been spawned",
                                 "Cancelling TaskPool-x_Task-0 ...",
                                 "Cancelled TaskPool-x_Task-0",
                                 "cancel 0",
                                 "Ended TaskPool-x_Task-0",
                                 "end 0",
                             });
}

TEST_CASE("a handle cancels its own group, not a later one of that name", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  auto former = pool.apply([] {}, {.num = 0, .group_name = "g"});
  rt.block_on(pool.flush()); // the name is free
  auto later = pool.apply(&endless, {.group_name = "g"});
  former.cancel();
  CHECK(pool.num_running() == 1);
  CHECK(pool.get_group_ids("g").size() == 1);
  later.cancel();
  CHECK_THROWS_AS(pool.get_group_ids("g"), weir::task_group_not_found);
  later.cancel(); // nothing
}

TEST_CASE("1A.11: the lines of a cancelled group are for debugging", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  weir::task_pool pool(rt, {.pool_size = 0, .name = "x", .log = log.full_sink()});
  (void)pool.map(&endless_for, std::vector<int>{1, 2}, {.group_name = "g"});
  pool.cancel_group("g");
  const std::string pool_says = "DEBUG weir.task_pool: TaskPool-x ";
  CHECK(log.lines() ==
        std::vector<std::string>{
            pool_says + "initialized",
            pool_says + "cancelling tasks in group g",
            pool_says + "cancelled and forgot meta tasks from group g",
            pool_says + "cancelled tasks from group g",
            pool_says + "forgot task group g",
            "DEBUG weir.task_pool: Cancelled group 'g' after 0 tasks have been spawned",
        });
}

TEST_CASE("1A.11: the line of an interrupted apply tells of how many", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  weir::task_pool pool(rt, {.pool_size = 2, .name = "x", .log = log.full_sink()});
  (void)pool.apply(&endless, {.num = 5, .group_name = "a"});
  CHECK(thrown_text<weir::task_group_not_found>([&] { pool.cancel_group("b"); }) ==
        "No task group named 'b' exists in this pool.");
  pool.cancel_group("a");
  CHECK(log.count("DEBUG weir.task_pool: Cancelled group 'a' after 2 out of 5 tasks have been "
                  "spawned") == 1);
  CHECK(pool.stats().waiting == 0);
  rt.block_on(pool.gather_and_close());
  CHECK(pool.stats().cancelled == 5);
}

TEST_CASE("1A.8: after a flush the ended feeder of a group is not mentioned", "[cancel]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<> {
    weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.sink()});
    (void)pool.apply(&endless, {.group_name = "g"});
    (void)co_await pool.flush();
    pool.cancel_group("g");
    (void)co_await pool.gather_and_close();
  };
  stage.play(main);
  CHECK(stage.log.count_with("forgot task group g") == 1);
  CHECK(stage.log.count_with("meta tasks") == 0);
}

TEST_CASE("D12: cancelling is all or nothing", "[cancel][D12]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.name = "x"});
    (void)pool.apply(&endless, {.num = 2});
    co_await weir::sleep_for(1s);
    std::string seen = thrown_text<weir::task_not_found>([&] { pool.cancel({0, 55, 1}); });
    co_await weir::sleep_for(1s);
    seen += " " + std::to_string(pool.num_running());
    pool.cancel(std::vector<weir::task_id>());
    seen += " " + std::to_string(pool.num_running());
    pool.cancel({1, 1});
    co_await weir::sleep_for(1s);
    seen += " " + std::to_string(pool.num_running());
    co_return seen;
  };
  CHECK(stage.play(main) == "No task with ID 55 found in TaskPool-x 2 2 1");
}

TEST_CASE("D13: what cannot be cancelled any more", "[cancel][D13]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.name = "x"});
    (void)pool.apply([] {});
    (void)pool.apply(&endless);
    co_await weir::sleep_for(1s);
    bool right = thrown_text<weir::already_ended>([&] { pool.cancel(0); }) ==
                 "'TaskPool-x_Task-0' has finished running";
    right = right && pool.try_cancel(0) == weir::errc::already_ended;
    pool.cancel(1);
    right = right && thrown_text<weir::already_cancelled>([&] { pool.cancel(1); }) ==
                         "'TaskPool-x_Task-1' has been cancelled";
    right = right && pool.try_cancel(1) == weir::errc::already_cancelled;
    co_await weir::sleep_for(1s);
    right = right && pool.try_cancel(1) == weir::errc::already_ended;
    (void)co_await pool.flush();
    right = right && thrown_text<weir::task_not_found>([&] { pool.cancel(0); }) ==
                         "No task with ID 0 found in TaskPool-x";
    right = right && pool.try_cancel(1) == weir::errc::task_not_found;
    (void)pool.apply(&endless);
    right = right && !pool.try_cancel(2);
    co_return right;
  };
  CHECK(stage.play(main));
}

TEST_CASE("D14, A-1: a task that is cancelled before its first step", "[cancel][D14][A-1]") {
  for (int how = 0; how < 4; ++how) {
    test::pool_stage stage;
    bool ran = false;
    const auto main = [&]() -> weir::task<> {
      weir::simple_task_pool pool(
          stage.rt, [&ran] { ran = true; }, {},
          {.end_callback = [&](weir::task_id id) { stage.log.say("end " + std::to_string(id)); },
           .cancel_callback =
               [&](weir::task_id id) { stage.log.say("cancel " + std::to_string(id)); },
           .pool_size = 1,
           .name = "x",
           .log = stage.log.sink()});
      // This coroutine holds the only worker, so that the task cannot have run.
      (void)pool.start();
      stage.log.clear();
      if (how == 0)
        pool.cancel(0);
      else if (how == 1)
        pool.cancel_group("start-group-0");
      else if (how == 2)
        pool.cancel_all();
      else
        (void)pool.stop(1);
      co_await weir::sleep_for(1s);
      stage.log.say(std::to_string(pool.num_running()) + std::to_string(pool.num_cancelled()) +
                    std::to_string(pool.num_ended()) + std::to_string(pool.room()));
    };
    stage.play(main);
    CHECK_FALSE(ran);
    CHECK(stage.log.count_with("Started") == 0);
    std::vector<std::string> lines = stage.log.lines();
    std::erase_if(lines, [](const std::string& l) {
      return l.find("group") != std::string::npos || l.find("all tasks") != std::string::npos;
    });
    CHECK(lines == std::vector<std::string>{"Cancelling SimpleTaskPool-x_Task-0 ...",
                                            "Cancelled SimpleTaskPool-x_Task-0", "cancel 0",
                                            "Ended SimpleTaskPool-x_Task-0", "end 0", "0011"});
  }
}

TEST_CASE("D15, A-7: stop takes the newest that were not stopped before", "[cancel][D15][A-7]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<bool> {
      weir::simple_task_pool pool(stage.rt, &endless);
      (void)pool.start(4);
      bool right = pool.stop(1) == ids(3) && pool.stop(1) == ids(2) && pool.stop(0).empty();
      co_await weir::sleep_for(1s);
      right = right && pool.num_running() == 2;
      (void)pool.start(2);
      right = right && pool.stop(2) == ids(5, 4) && pool.stop_all() == ids(1, 0) &&
              pool.stop(3).empty();
      (void)co_await pool.gather_and_close();
      co_return right&& pool.stats().cancelled == 6;
    };
    CHECK(stage.play(main));
  }
}

TEST_CASE("row 32: the reason comes to the task", "[cancel]") {
  test::pool_stage stage;
  const auto tells = [&log = stage.log]() -> weir::task<> {
    try {
      co_await weir::sleep_for(1000h);
    } catch (const weir::task_cancelled& cancelled) {
      log.say(std::string(cancelled.reason().text()));
      log.say(std::string(weir::this_task::cancel_reason()->text()));
      throw;
    }
  };
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    auto group = pool.apply(tells, {.group_name = "g"});
    (void)pool.apply(tells);
    (void)pool.apply(tells);
    co_await weir::sleep_for(1s);
    pool.cancel(1, weir::stop_reason("one"));
    co_await weir::sleep_for(1s);
    pool.cancel_group("g", weir::stop_reason("group"));
    co_await weir::sleep_for(1s);
    pool.cancel_all(weir::stop_reason("all"));
    auto results = co_await group.results();
    (void)co_await pool.gather_and_close();
    co_return std::string(results[0].reason().text());
  };
  CHECK(stage.play(main) == "group");
  CHECK(stage.log.lines() ==
        std::vector<std::string>{"one", "one", "group", "group", "all", "all"});
}

TEST_CASE("1A.8: cancel_all takes the newest group first and leaves the pool open", "[cancel]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 2, .name = "x", .log = stage.log.full_sink()});
    for (const char* name : {"a", "b", "c"})
      (void)pool.apply(&endless, {.group_name = name});
    (void)pool.map(&endless_for, std::views::iota(0), {.group_name = "d"}); // without end
    stage.log.clear();
    pool.cancel_all();
    bool right = !pool.is_locked() && !pool.is_closed();
    co_await weir::sleep_for(1s);
    right = right && pool.num_running() == 0 && pool.stats().started == 2;
    (void)pool.apply([&log = stage.log] { log.say("open"); }, {.group_name = "a"});
    (void)co_await pool.gather_and_close();
    co_return right;
  };
  CHECK(stage.play(main));
  const auto lines = stage.log.lines();
  REQUIRE(lines.size() > 3);
  CHECK(lines[0] == "WARNING weir.task_pool: TaskPool-x cancelling all tasks!");
  const std::string group = "DEBUG weir.task_pool: Cancelled group '";
  CHECK(lines[1] == group + "d' after 0 tasks have been spawned");
  CHECK(lines[2] == group + "c' after 0 out of 1 tasks have been spawned");
  CHECK(stage.log.count("open") == 1);
}

TEST_CASE("D21, A-6: cancelling one group leaves the others alone", "[cancel][D21][A-6]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    std::atomic<int> ran{0};
    const auto main = [&]() -> weir::task<> {
      weir::task_pool pool(stage.rt, {.pool_size = 1});
      const auto count = [&ran](int) -> weir::task<> {
        co_await weir::sleep_for(1s);
        ++ran;
      };
      (void)pool.map(count, std::vector<int>(6));
      (void)pool.apply(&endless, {.group_name = "B"});
      pool.cancel_group("B");
      (void)co_await pool.gather_and_close();
    };
    stage.play(main);
    CHECK(ran == 6);
  }
}

TEST_CASE("1A.8: a task may cancel itself", "[cancel]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt);
    bool after = false;
    const auto self = [&]() -> weir::task<> {
      pool.cancel(0);
      after = true; // it is delivered at the next await
      co_await weir::yield();
      after = false;
    };
    auto group = pool.apply(self);
    auto results = co_await group.results();
    co_return after&& results[0].cancelled();
  };
  CHECK(stage.play(main));
}

TEST_CASE("row 33: a plain callable sees the request by its token", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  std::atomic<bool> runs{false};
  auto group = pool.apply([&runs](weir::inplace_stop_token token) {
    runs = true;
    while (!token.stop_requested()) {
    }
    return 3;
  });
  test::eventually([&] { return runs.load(); });
  pool.cancel(0);
  CHECK(rt.block_on(group.results())[0].get() == 3); // it returned: not cancelled
}

TEST_CASE("stopping the runtime ends the pool's tasks and groups without end", "[cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ends{0};
    {
      weir::task_pool pool(rt, {.pool_size = 3});
      (void)pool.map(&endless_for, std::views::iota(0),
                     {.num_concurrent = 5, .end_callback = [&](weir::task_id) { ++ends; }});
      rt.stop();
      CHECK(pool.num_running() == 0);
      CHECK_THROWS_AS(pool.apply([] {}), weir::error);
      CHECK(pool.stats().ended >= 3);
    }
    CHECK(ends >= 3);
  }
}

TEST_CASE("destroying a pool ends its tasks, also on a worker", "[cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ends{0};
    const auto use = [&] {
      weir::task_pool pool(rt, {.pool_size = 2});
      (void)pool.apply(&endless, {.num = 5, .end_callback = [&](weir::task_id) { ++ends; }});
    };
    use();
    CHECK(ends == 2);
    rt.submit(use).get();
    rt.drain();
    CHECK(ends == 4);
  }
}
