// SPDX-License-Identifier: MIT
// S1 and S2: the two programs of asyncio-taskpool's own document, their whole timelines.
#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <tuple>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

/// The first program's worker.
weir::task<> work(test::pool_log* out, int n) {
  for (int i = 0; i < n; ++i) {
    co_await weir::sleep_for(1s);
    out->say("did " + std::to_string(i));
  }
}

/// The second program's workers.
struct ranged {
  static weir::task<> work(test::pool_log* out, int start, int stop, int step) {
    for (int i = start; i < stop; i += step) {
      co_await weir::sleep_for(1s);
      out->say("work with " + std::to_string(i));
    }
  }
};

weir::task<> other_work(test::pool_log* out, int a, int b) {
  for (int i = a; i < b; ++i) {
    co_await weir::sleep_for(500ms);
    out->say("other_work with " + std::to_string(i));
  }
}

using lines = std::vector<std::string>;

/// The same lines at the same times; lines of one time may be in any order if several workers ran.
void check_timeline(test::pool_log& log, lines expected, bool exact) {
  lines got = log.timeline();
  if (!exact) {
    std::ranges::sort(got);
    std::ranges::sort(expected);
  }
  CHECK(got == expected);
}

lines first_timeline() {
  return {
      "0 SimpleTaskPool-0 initialized",
      "0 Started SimpleTaskPool-0_Task-0",
      "0 Started SimpleTaskPool-0_Task-1",
      "0 Started SimpleTaskPool-0_Task-2",
      "1000 did 0",
      "1000 did 0",
      "1000 did 0",
      "1500 Started SimpleTaskPool-0_Task-3",
      "2000 did 1",
      "2000 did 1",
      "2000 did 1",
      "2500 did 0",
      "3000 SimpleTaskPool-0 is locked!",
      "3000 did 2",
      "3000 did 2",
      "3000 Cancelling SimpleTaskPool-0_Task-2 ...",
      "3000 Cancelled SimpleTaskPool-0_Task-2",
      "3000 Ended SimpleTaskPool-0_Task-2",
      "3000 Cancelling SimpleTaskPool-0_Task-3 ...",
      "3000 Cancelled SimpleTaskPool-0_Task-3",
      "3000 Ended SimpleTaskPool-0_Task-3",
      "4000 did 3",
      "4000 did 3",
      "5000 did 4",
      "5000 Ended SimpleTaskPool-0_Task-0",
      "5000 did 4",
      "5000 Ended SimpleTaskPool-0_Task-1",
      "5000 gathered",
  };
}

void check_first_orders(const test::pool_log& log) {
  for (const std::string task : {"2", "3"}) {
    const std::string name = "SimpleTaskPool-0_Task-" + task;
    CHECK(log.before("Started " + name, "Cancelling " + name + " ..."));
    CHECK(log.before("Cancelling " + name + " ...", "Cancelled " + name));
    CHECK(log.before("Cancelled " + name, "Ended " + name));
  }
  CHECK(log.before("Ended SimpleTaskPool-0_Task-0", "gathered"));
  CHECK(log.before("Ended SimpleTaskPool-0_Task-1", "gathered"));
}

} // namespace

TEST_CASE("S1, the early form: start gives ids, stop the newest, gather the tasks", "[S1]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::pool_stats at_the_end;
    const auto main = [&]() -> weir::task<> {
      weir::simple_task_pool pool(stage.rt, weir::fn<&work>, std::tuple(&stage.log, 5),
                                  {.name = "0", .log = stage.log.sink()});
      const auto first = co_await pool.start(3).started();
      const bool started = first == test::ids(0, 1, 2) && pool.num_running() == 3;
      co_await weir::sleep_for(1500ms);
      const auto second = co_await pool.start().started();
      const bool one_more = second == test::ids(3) && pool.num_running() == 4;
      // With several workers main and task 2 may be woken at once by the same tick.
      co_await weir::sleep_for(workers == 1 ? 1500ms : 1400ms);
      const auto stopped = pool.stop(2);
      pool.lock();
      const auto report = co_await pool.gather();
      stage.log.say("gathered");
      at_the_end = pool.stats();
      if (!started || !one_more || stopped != test::ids(3, 2) || report.tasks.size() != 4 ||
          pool.num_running() != 0)
        stage.log.say("wrong");
    };
    stage.play(main);
    auto expected = first_timeline();
    if (workers != 1) {
      for (std::string& line : expected) {
        if (line.find("Task-2") != std::string::npos || line.find("Task-3") != std::string::npos ||
            line.find("locked") != std::string::npos) {
          if (line.starts_with("3000"))
            line.replace(0, 4, "2900");
        }
      }
    }
    check_timeline(stage.log, expected, workers == 1);
    check_first_orders(stage.log);
    CHECK(at_the_end.cancelled == 2);
    CHECK(at_the_end.ended == 4);
    CHECK(at_the_end.finished == 2);
  }
}

TEST_CASE("S1, the final form: start gives a name, gather_and_close locks", "[S1]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<> {
    weir::simple_task_pool pool(stage.rt, weir::fn<&work>, std::tuple(&stage.log, 5),
                                {.name = "0", .log = stage.log.sink()});
    const auto first = pool.start(3);
    co_await weir::sleep_for(1500ms);
    const auto second = pool.start(1);
    co_await weir::sleep_for(1500ms);
    const auto stopped = pool.stop(2);
    (void)co_await pool.gather_and_close();
    stage.log.say("gathered");
    if (first.name() != "start-group-0" || second.name() != "start-group-1" ||
        stopped != test::ids(3, 2) || !pool.is_closed() || pool.num_running() != 0 ||
        pool.num_cancelled() != 0 || pool.num_ended() != 0)
      stage.log.say("wrong");
  };
  stage.play(main);
  check_timeline(stage.log, first_timeline(), true);
}

namespace {

struct second_program {
  test::pool_stage& stage;
  bool early_form;
  std::vector<std::string> faults{};
  std::size_t most_running = 0;

  void expect(bool holds, const char* what) {
    if (!holds)
      faults.emplace_back(what);
  }

  /// Looks on once every 0.25 s, between the ticks.
  static weir::task<> observe(second_program& self, weir::task_pool& pool) {
    co_await weir::sleep_for(250ms);
    for (int quarter = 1; quarter < 66; quarter += 2) {
      const auto now = self.stage.clock.now().time_since_epoch();
      const auto running = pool.num_running();
      self.most_running = std::max(self.most_running, running);
      if (now > 1500ms && now < 10s)
        self.expect(running == 3 && pool.is_full(), "three run from 1.5 to 10");
      if (now > 10s && now < 11500ms)
        self.expect(running == 2 && !pool.is_full(), "two run from 10 to 11.5");
      if (now > 15s)
        self.expect(running == 1, "one runs from 15 on");
      co_await weir::sleep_for(500ms);
    }
  }

  static std::vector<std::tuple<test::pool_log*, int, int>> other_args(test::pool_log& out) {
    return {{&out, 0, 10}, {&out, 10, 20}, {&out, 20, 30}, {&out, 30, 40}};
  }

  static weir::task<> main(second_program& self) {
    auto& out = self.stage.log;
    weir::task_pool pool(self.stage.rt, {.pool_size = 3, .name = "0", .log = out.sink()});
    auto watcher = self.stage.rt.spawn(observe(self, pool));
    auto applied = pool.apply(weir::fn<&ranged::work>, std::tuple(&out, 100, 200, 10), {.num = 2});
    if (self.early_form)
      self.expect(co_await applied.started() == test::ids(0, 1), "ids 0 and 1");
    self.expect(applied.name() == "apply-work-group-0", "the first group's name");
    co_await weir::sleep_for(1500ms);
    out.say("Calling starmap");
    auto mapped = pool.starmap(weir::fn<&other_work>, other_args(out), {.num_concurrent = 2});
    self.expect(mapped.name() == "starmap-other_work-group-0", "the second group's name");
    self.expect(mapped.ids() == test::ids(2), "exactly one starts");
    if (self.early_form) {
      co_await mapped.first_batch_started();
      out.say("starmap returned");
      pool.lock();
      const auto report = co_await pool.gather();
      self.expect(report.tasks.size() == 6 && report.finished == 6, "six results");
    } else {
      (void)co_await pool.gather_and_close();
    }
    out.say("Done.");
    co_await watcher;
  }
};

lines second_timeline(bool early_form) {
  lines expected{"0 TaskPool-0 initialized", "0 Started TaskPool-0_Task-0",
                 "0 Started TaskPool-0_Task-1", "1500 Calling starmap",
                 "1500 Started TaskPool-0_Task-2"};
  const auto at = [&](int ms, const std::string& line) {
    expected.push_back(std::to_string(ms) + " " + line);
  };
  for (int i = 0; i < 10; ++i) {
    for (int twice = 0; twice < 2; ++twice)
      at(1000 * (i + 1), "work with " + std::to_string(100 + 10 * i));
  }
  for (int i = 0; i < 10; ++i) {
    at(2000 + 500 * i, "other_work with " + std::to_string(i));
    at(7000 + 500 * i, "other_work with " + std::to_string(10 + i));
    at(10500 + 500 * i, "other_work with " + std::to_string(20 + i));
    at(12000 + 500 * i, "other_work with " + std::to_string(30 + i));
  }
  at(6500, "Ended TaskPool-0_Task-2");
  at(6500, "Started TaskPool-0_Task-3");
  if (early_form)
    at(6500, "starmap returned");
  at(early_form ? 6500 : 1500, "TaskPool-0 is locked!");
  at(10000, "Ended TaskPool-0_Task-0");
  at(10000, "Ended TaskPool-0_Task-1");
  at(10000, "Started TaskPool-0_Task-4");
  at(11500, "Ended TaskPool-0_Task-3");
  at(11500, "Started TaskPool-0_Task-5");
  at(15000, "Ended TaskPool-0_Task-4");
  at(16500, "Ended TaskPool-0_Task-5");
  at(16500, "Done.");
  return expected;
}

} // namespace

TEST_CASE("S2: two calls share a pool of three, the second one with a limit of two", "[S2]") {
  const bool early_form = GENERATE(true, false);
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    second_program program{stage, early_form};
    stage.rt.block_on(second_program::main(program));
    CHECK(program.faults.empty());
    CHECK(program.most_running == 3);
    check_timeline(stage.log, second_timeline(early_form), false);
    const auto& log = stage.log;
    CHECK(log.before("Ended TaskPool-0_Task-2", "Started TaskPool-0_Task-3"));
    CHECK(log.before("Ended TaskPool-0_Task-3", "Started TaskPool-0_Task-5"));
    // 4 takes the room of the first of the two that ends.
    CHECK((log.before("Ended TaskPool-0_Task-0", "Started TaskPool-0_Task-4") ||
           log.before("Ended TaskPool-0_Task-1", "Started TaskPool-0_Task-4")));
    CHECK(log.before("Ended TaskPool-0_Task-5", "Done."));
    CHECK(log.count_with("Cancel") == 0);
    if (early_form)
      CHECK(log.before("starmap returned", "TaskPool-0 is locked!"));
    for (int i = 0; i < 39; ++i) {
      if (i % 10 != 9)
        CHECK(log.before("other_work with " + std::to_string(i),
                         "other_work with " + std::to_string(i + 1)));
    }
  }
}
