// SPDX-License-Identifier: MIT
// flush, gather, gather_and_close, until_closed (1A.10), and the figures that pools keep.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <ranges>
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

weir::task<> sleeps(std::chrono::milliseconds duration) {
  co_await weir::sleep_for(duration);
}

weir::task<> fails(std::chrono::milliseconds duration, const char* what) {
  co_await weir::sleep_for(duration);
  throw std::runtime_error(what);
}

/// What awaiting it throws.
template <class T>
weir::task<std::string> text_of(weir::task<T> awaited) {
  try {
    (void)co_await std::move(awaited);
  } catch (const std::exception& e) {
    co_return e.what();
  }
  co_return "nothing";
}

/// The tasks of a report in its order.
std::string ids_of(const weir::gather_report& report) {
  std::string ids;
  for (const auto& t : report.tasks)
    ids += " " + std::to_string(t.id);
  return ids;
}

} // namespace

TEST_CASE("D10: an exception ends the wait, not the other tasks", "[gather][D10]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt);
      std::vector<weir::handle<bool>> waiters;
      for (int i = 0; i < 3; ++i)
        waiters.push_back(stage.rt.spawn(pool.until_closed()));
      (void)pool.apply(&fails, std::tuple(10ms, "first"));
      (void)pool.apply(&sleeps, std::tuple(60ms));
      std::string seen = co_await text_of(pool.gather_and_close());
      seen += " at " + std::to_string(stage.clock.now().time_since_epoch() / 1ms);
      seen += pool.is_locked() && !pool.is_closed() && pool.num_running() == 1 ? " open" : "";
      const auto report = co_await pool.gather_and_close(weir::on_exception::collect);
      seen += " at " + std::to_string(stage.clock.now().time_since_epoch() / 1ms);
      seen += pool.is_closed() ? " closed" : "";
      seen += " " + std::to_string(report.finished) + std::to_string(report.failed);
      bool all = true;
      for (auto& w : waiters) {
        const bool closed = co_await w;
        all = all && closed;
      }
      seen += all ? " told" : "";
      const auto third = co_await pool.gather_and_close();
      seen += " " + std::to_string(third.tasks.size());
      seen += " " + thrown_text<weir::pool_is_closed>([&] { (void)pool.apply([] {}); });
      pool.unlock();
      seen += " " + thrown_text<weir::pool_is_closed>([&] { (void)pool.apply([] {}); });
      const bool late = co_await pool.until_closed();
      co_return seen + (late ? " true" : "");
    };
    CHECK(stage.play(main) == "first at 10 open at 60 closed 11 told 0 You must use another pool "
                              "You must use another pool true");
  }
}

TEST_CASE("row 41: the other ways to treat exceptions", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.exceptions = weir::on_exception::rethrow_first});
    (void)pool.apply(&fails, std::tuple(20ms, "second"));
    (void)pool.apply(&fails, std::tuple(10ms, "first"));
    (void)pool.apply(&sleeps, std::tuple(30ms));
    std::string seen = co_await text_of(pool.gather_and_close()); // the option's way
    seen += " at " + std::to_string(stage.clock.now().time_since_epoch() / 1ms);
    seen += pool.is_closed() ? " closed" : "";
    weir::task_pool collecting(stage.rt);
    (void)collecting.apply(&fails, std::tuple(1ms, "kept"));
    (void)collecting.apply(&sleeps, std::tuple(2ms));
    const auto report = co_await collecting.gather_and_close(weir::on_exception::collect);
    seen += " " + std::to_string(report.tasks.size());
    try {
      std::rethrow_exception(report.tasks[0].error);
    } catch (const std::runtime_error& e) {
      seen += std::string(" ") + e.what();
    }
    seen += report.tasks[0].how == weir::task_end::failed &&
                    report.tasks[1].how == weir::task_end::finished
                ? " right"
                : "";
    co_return seen;
  };
  CHECK(stage.play(main) == "first at 30 closed 2 kept right");
}

TEST_CASE("2.1: the early form's gather, and its order", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    const auto slow = [](weir::task_id) -> weir::task<> { co_await weir::sleep_for(500ms); };
    (void)pool.apply(&sleeps, std::tuple(2500ms));
    (void)pool.apply(&sleeps, std::tuple(2400ms));
    (void)pool.apply(&sleeps, std::tuple(9000ms), {.cancel_callback = slow});
    (void)pool.apply(&sleeps, std::tuple(1000ms));
    (void)pool.apply(&sleeps, std::tuple(900ms));
    std::string seen = co_await text_of(pool.gather());
    co_await weir::sleep_for(2s);
    pool.cancel(2);
    co_await weir::sleep_for(100ms);
    pool.lock();
    const auto report = co_await pool.gather();
    for (const auto& t : report.tasks)
      seen += " " + std::to_string(t.id) + (t.how == weir::task_end::cancelled ? "c" : "");
    pool.unlock();
    (void)pool.apply([] {});
    pool.lock();
    const auto second = co_await pool.gather();
    co_return seen + " again " + std::to_string(second.tasks[0].id);
  };
  // Ended ones by their end, the one that handled its cancellation, running ones by id.
  CHECK(stage.play(main) == "Pool must be locked, before tasks can be gathered 4 3 2c 0 1 again 5");
}

TEST_CASE("2.1: in gather's order, callbacks that still run make no running task", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    const auto slow = [](weir::task_id) -> weir::task<> { co_await weir::sleep_for(5s); };
    const auto slower = [](weir::task_id) -> weir::task<> { co_await weir::sleep_for(6s); };
    (void)pool.apply(&sleeps, std::tuple(2s));
    (void)pool.apply(&sleeps, std::tuple(9s), {.cancel_callback = slow});
    (void)pool.apply(&sleeps, std::tuple(100ms), {.end_callback = slow});
    (void)pool.apply(&sleeps, std::tuple(50ms), {.end_callback = slower});
    (void)pool.apply(&sleeps, std::tuple(150ms));
    co_await weir::sleep_for(1s);
    pool.cancel(1);
    co_await weir::sleep_for(100ms);
    pool.lock();
    const auto report = co_await pool.gather();
    co_return ids_of(report);
  };
  CHECK(stage.play(main) == " 4 3 2 1 0");
}

TEST_CASE("2.1: what the history drops meanwhile does not disturb gather's order", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.history = 3});
    for (const auto duration : {4s, 3s, 2s, 1s}) // the last one ends first
      (void)pool.apply(&sleeps, std::tuple<std::chrono::milliseconds>(duration));
    co_await weir::sleep_for(2500ms);
    pool.lock();
    const auto report = co_await pool.gather();
    co_return ids_of(report);
  };
  CHECK(stage.play(main) == " 2 0 1"); // 3 is forgotten
}

TEST_CASE("A-11, D13: flush forgets first, then throws", "[gather][A-11]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    (void)pool.apply(&fails, std::tuple(1ms, "once"));
    (void)pool.apply([] {});
    (void)pool.apply(&sleeps, std::tuple(10s));
    co_await weir::sleep_for(1s);
    std::string seen = std::to_string(pool.num_ended());
    seen += " " + co_await text_of(pool.flush());
    seen += " " + std::to_string(pool.num_ended());
    seen += " " + co_await text_of(pool.flush());
    seen += " " + std::to_string(pool.num_running()); // it was not waited for
    seen += " " + std::to_string(stage.clock.now().time_since_epoch() / 1s);
    (void)co_await pool.gather_and_close();
    const auto totals = pool.stats();
    co_return seen + " " + std::to_string(totals.ended) + std::to_string(totals.failed);
  };
  CHECK(stage.play(main) == "2 once 0 nothing 1 1 31");
}

TEST_CASE("1A.10: flush waits for callbacks, not for running tasks", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<long long> {
    weir::task_pool pool(stage.rt);
    const auto slow = [](weir::task_id) -> weir::task<> { co_await weir::sleep_for(2s); };
    (void)pool.apply([] {}, {.end_callback = slow});
    (void)pool.apply(&sleeps, std::tuple(100s));
    co_await weir::sleep_for(1s);
    const auto report = co_await pool.flush();
    co_return stage.clock.now().time_since_epoch() / 1s * 10 +
        static_cast<long long>(report.tasks.size());
  };
  CHECK(stage.play(main) == 21);
}

TEST_CASE("D19, A-4: what was accepted before gather_and_close runs", "[gather][D19][A-4]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    weir::task_pool pool(rt, {.pool_size = 1});
    (void)pool.apply([&ran] { ++ran; }, {.num = 2});
    rt.block_on(pool.gather_and_close());
    CHECK(ran == 2);
    std::atomic<int> started{0};
    weir::simple_task_pool simple(rt, [&started] { ++started; });
    (void)simple.start(3);
    simple.lock();
    rt.block_on(simple.gather());
    CHECK(started == 3);
  }
}

TEST_CASE("D22, A-5: who waits may be cancelled; the tasks do not mind", "[gather][D22][A-5]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.pool_size = 1});
      std::atomic<int> ran{0};
      const auto count = [&ran](int) -> weir::task<> {
        co_await weir::sleep_for(1s);
        ++ran;
      };
      (void)pool.map(count, std::vector<int>(3));
      std::string seen;
      auto limited = weir::with_timeout(pool.gather_and_close(), 500ms);
      try {
        (void)co_await std::move(limited);
      } catch (const weir::error& e) {
        seen = e.code() == weir::errc::timed_out ? "timed out" : "wrong";
      }
      seen += pool.is_locked() && !pool.is_closed() && pool.num_running() == 1 ? " untouched" : "";
      auto waiting = stage.rt.spawn(pool.gather_and_close());
      co_await weir::sleep_for(1s);
      (void)waiting.request_stop();
      (void)co_await pool.gather_and_close();
      co_return seen + " " + std::to_string(ran) + (pool.is_closed() ? " closed" : "");
    };
    CHECK(stage.play(main) == "timed out untouched 3 closed");
  }
}

TEST_CASE("D23: a group's name is free when it has ended and was flushed", "[gather][D23]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    (void)pool.apply([] {}, {.num = 2, .group_name = "g"});
    (void)pool.apply(&sleeps, std::tuple(5s), {.group_name = "running"});
    co_await weir::sleep_for(1s);
    std::string seen = std::to_string(pool.get_group_ids("g").size());
    seen += " " + thrown_text<weir::task_group_already_exists>(
                      [&] { (void)pool.apply([] {}, {.group_name = "g"}); });
    (void)co_await pool.flush();
    seen += " " + thrown_text<weir::task_group_not_found>([&] { (void)pool.get_group_ids("g"); });
    seen += " " + std::to_string(pool.get_group_ids("running").size());
    (void)pool.apply([] {}, {.group_name = "g"});
    seen += " " + std::to_string(*pool.get_group_ids("g").begin());
    (void)co_await pool.gather_and_close();
    co_return seen;
  };
  CHECK(stage.play(main) == "2 Task group named 'g' already exists. No task group named 'g' exists "
                            "in this pool. 1 3");
}

TEST_CASE("A-12: what a pool remembers is bounded", "[gather][A-12]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.history = 10});
  for (int i = 0; i < 100; ++i) {
    auto group = pool.apply([] {});
    rt.block_on(group.results());
  }
  CHECK(pool.num_ended() == 100);
  CHECK(pool.try_cancel(0) == weir::errc::task_not_found);
  CHECK(pool.try_cancel(99) == weir::errc::already_ended);
  CHECK_THROWS_AS(pool.get_group_ids("apply-task-group-0"), weir::task_group_not_found);
  CHECK(pool.get_group_ids("apply-task-group-99").size() == 1);
  const auto report = rt.block_on(pool.flush());
  CHECK(report.tasks.size() == 10);
  CHECK(report.finished == 100);
}

TEST_CASE("A-12: ended groups are forgotten in the order of their end", "[gather][A-12]") {
  weir::runtime rt{{.workers = 1}};
  weir::event door;
  weir::task_pool pool(rt, {.history = 10});
  const auto waits = [&door](int) { return test::passes(door); };
  (void)pool.map(waits, std::views::iota(0)); // never ends
  for (int i = 0; i < 100; ++i) {
    auto group = pool.apply([] {});
    rt.block_on(group.results());
  }
  CHECK(pool.get_group_ids("map-task-group-0").size() == 1);
  CHECK_THROWS_AS(pool.get_group_ids("apply-task-group-89"), weir::task_group_not_found);
  CHECK(pool.get_group_ids("apply-task-group-90").size() == 1);
  pool.cancel_group("apply-task-group-95"); // somewhere between the others
  for (int i = 0; i < 9; ++i)
    (void)pool.apply([] {}, {.num = 0});
  CHECK_THROWS_AS(pool.get_group_ids("apply-task-group-98"), weir::task_group_not_found);
  CHECK(pool.get_group_ids("apply-task-group-99").size() == 1);
}

TEST_CASE("A-12: errors of groups are bounded", "[gather][A-12]") {
  weir::runtime rt{{.workers = 1}};
  const std::size_t history = GENERATE(0U, 1U, 10U);
  weir::task_pool pool(rt, {.history = history});
  const auto unreadable = std::views::iota(0, 1) | std::views::transform([](int) -> int {
                            throw std::runtime_error("unreadable");
                          });
  for (int i = 0; i < 20; ++i)
    (void)pool.map([](int) {}, unreadable);
  const auto report = rt.block_on(pool.flush(weir::on_exception::collect));
  CHECK(report.groups.size() == history);
  if (history != 0)
    CHECK(report.groups.back().group == "map-task-group-19");
  CHECK(rt.block_on(pool.gather_and_close()).groups.empty()); // throws nothing
}

TEST_CASE("A-12: a pool without a bound for its memory forgets nothing", "[gather][A-12]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.history = weir::unlimited});
  for (int i = 0; i < 3; ++i)
    (void)pool.apply([] {}, {.num = 0});
  CHECK_NOTHROW(pool.get_group_ids("apply-task-group-0", "apply-task-group-1"));
}

TEST_CASE("A-13: current figures and totals fit together", "[gather][A-13]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 2});
    (void)pool.apply(&sleeps, std::tuple(1500ms), {.num = 4});
    (void)pool.apply(&fails, std::tuple(1s, "x"));
    bool right = true;
    const auto fits = [&] {
      const auto s = pool.stats();
      right = right && s.accepted == s.waiting + s.running + s.ended &&
              s.ended == s.finished + s.failed + s.cancelled && s.limit == 2 && s.peak_running <= 2;
      return s;
    };
    auto s = fits();
    right = right && s.waiting == 3 && s.running == 2 && s.accepted == 5;
    co_await weir::sleep_for(2s);
    s = fits();
    right = right && s.waiting == 1 && s.running == 2 && s.finished == 2;
    pool.cancel_all();
    s = fits();
    co_await weir::sleep_for(1s);
    s = fits();
    right = right && s.waiting == 0 && s.running == 0 && s.cancelled == 3 && s.accepted == 5;
    (void)co_await pool.flush();
    s = fits();
    right = right && s.ended == 5 && pool.num_ended() == 0 && s.run_time.count() == 4 &&
            s.queue_delay.count() == 4 && s.run_time.percentile(1) >= 1500ms;
    co_return right;
  };
  CHECK(stage.play(main));
}

TEST_CASE("A-10: failures are counted and logged", "[gather][A-10]") {
  test::pool_stage stage;
  weir::task_pool pool(
      stage.rt,
      {.name = "x", .log = stage.log.full_sink(), .exceptions = weir::on_exception::collect});
  (void)pool.apply(&fails, std::tuple(1ms, "seen"), {.num = 2});
  const auto report = stage.rt.block_on(pool.gather_and_close());
  CHECK(report.failed == 2);
  CHECK(pool.stats().failed == 2);
  CHECK(stage.log.count_with("ERROR weir.task_pool: std::runtime_error occurred in TaskPool-x_") ==
        2);
}

TEST_CASE("a task that waits for its own pool is refused", "[gather]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto self = [&pool]() -> weir::task<> { (void)co_await pool.gather_and_close(); };
  auto group = pool.apply(self);
  auto results = rt.block_on(group.results());
  CHECK(test::code_of([&] { (void)results[0].get(); }) == weir::errc::would_deadlock);
  CHECK_FALSE(pool.is_locked());
  const auto callback = [&pool](weir::task_id) -> weir::task<> {
    (void)co_await pool.gather_and_close();
  };
  auto second = pool.apply([] {}, {.end_callback = callback});
  auto refused = rt.block_on(second.results());
  CHECK(test::code_of([&] { refused[0].get(); }) == weir::errc::would_deadlock);
  CHECK_FALSE(pool.is_locked());
}

TEST_CASE("1A.10: a closed pool is not locked again", "[gather]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  weir::task_pool pool(rt, {.log = log.full_sink()});
  rt.block_on(pool.gather_and_close());
  pool.unlock();
  log.clear();
  CHECK(rt.block_on(pool.gather_and_close()).tasks.empty());
  CHECK_FALSE(pool.is_locked());
  CHECK(log.lines().empty());
}

TEST_CASE("a task may flush, its callbacks may not, and none waits for its group", "[gather]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt);
    std::string seen;
    const auto flushes = [&]() -> weir::task<> {
      (void)co_await pool.flush();
      seen += "flushed ";
    };
    const auto callback = [&](weir::task_id) -> weir::task<> { (void)co_await pool.flush(); };
    auto group = pool.apply(flushes, {.end_callback = callback});
    auto results = co_await group;
    seen +=
        test::code_of([&] { results[0].get(); }) == weir::errc::would_deadlock ? "refused " : "";
    weir::group<void>* own = nullptr;
    const auto waits = [&own]() -> weir::task<> { (void)co_await own->results(); };
    auto second = pool.apply(waits);
    own = &second;
    auto refused = co_await second;
    seen += test::code_of([&] { refused[0].get(); }) == weir::errc::would_deadlock ? "refused" : "";
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen;
  };
  CHECK(stage.play(main) == "flushed refused refused");
}

TEST_CASE("exceptions beyond the history are lost, and nobody waits less for it", "[gather]") {
  for (const std::size_t history : {0U, 1U}) {
    test::pool_stage stage;
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.history = history});
      (void)pool.apply(&fails, std::tuple(1ms, "lost"));
      (void)pool.apply(&sleeps, std::tuple(2ms));
      (void)pool.apply(&sleeps, std::tuple(10ms));
      co_await weir::sleep_for(5ms);
      std::string seen = co_await text_of(pool.gather_and_close());
      co_return seen + " " + std::to_string(stage.clock.now().time_since_epoch() / 1ms) +
          (pool.is_closed() ? " closed" : "");
    };
    CHECK(stage.play(main) == "nothing 10 closed");
  }
}

TEST_CASE("an empty pool closes at once", "[gather]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  auto closed = rt.spawn(pool.until_closed());
  CHECK(rt.block_on(pool.flush()).tasks.empty());
  CHECK(rt.block_on(pool.gather_and_close()).tasks.empty());
  CHECK(closed.get());
}
