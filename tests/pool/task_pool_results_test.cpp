// SPDX-License-Identifier: MIT
// What asyncio-taskpool does not have: results, handles, time limits, deadlines.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <memory>
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

namespace {

weir::task<int> later(int value) {
  co_await weir::sleep_for(std::chrono::seconds(value));
  if (value == 3)
    throw std::runtime_error("three");
  co_return 10 * value;
}

std::vector<int> numbers() {
  return {4, 3, 2, 1};
}

} // namespace

TEST_CASE("row 25, A-9: results in the order of the arguments", "[results][A-9]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.pool_size = 3});
      auto group = pool.map(&later, numbers(), {.num_concurrent = 4});
      auto outcomes = co_await group;
      std::string seen;
      for (auto& o : outcomes)
        seen += (o.has_value()          ? std::to_string(o.get())
                 : o.error() != nullptr ? "failed"
                                        : "?") +
                " " + std::to_string(*o.id()) + ", ";
      (void)co_await pool.gather_and_close(weir::on_exception::collect);
      co_return seen;
    };
    CHECK(stage.play(main) == "40 0, failed 1, 20 2, 10 3, ");
  }
}

TEST_CASE("row 25, A-9: results as they come", "[results][A-9]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt);
      auto group = pool.map(&later, numbers(), {.num_concurrent = 4});
      std::string seen;
      for (;;) {
        auto next = co_await group.next();
        if (!next)
          break;
        seen += std::to_string(next->index) + ":" +
                (next->ended.has_value() ? std::to_string(next->ended.get()) : "failed") + "@" +
                std::to_string(stage.clock.now().time_since_epoch() / 1s) + " ";
      }
      (void)co_await pool.gather_and_close(weir::on_exception::collect);
      co_return seen;
    };
    CHECK(stage.play(main) == "3:10@1 2:20@2 1:failed@3 0:40@4 ");
  }
}

TEST_CASE("an endless range streams its results", "[results]") {
  weir::runtime rt{{.workers = 2}};
  const auto main = [&]() -> weir::task<long> {
    weir::task_pool pool(rt, {.pool_size = 4});
    auto group = pool.map([](int i) { return i; }, std::views::iota(0), {.num_concurrent = 4});
    long sum = 0;
    for (int i = 0; i < 1000; ++i) {
      auto next = co_await group.next();
      sum += next->ended.get();
    }
    group.cancel();
    (void)co_await pool.gather_and_close();
    co_return sum;
  };
  CHECK(rt.block_on(main()) >= 999 * 1000 / 2);
}

TEST_CASE("a handle for each task", "[results]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.pool_size = 1});
    auto group = pool.map(&later, numbers());
    const auto second = group.task_at(2);
    const auto none = group.task_at(17);
    auto ended = co_await second.ended();
    std::string seen = std::to_string(ended.get()) + " at " +
                       std::to_string(stage.clock.now().time_since_epoch() / 1s);
    auto missing = co_await none.ended();
    seen += missing.cancelled() && !missing.id() ? " none" : "";
    auto limited = weir::with_timeout(group.task_at(3).ended(), 0s);
    try {
      (void)co_await std::move(limited);
    } catch (const weir::error&) { // it is there already, but the time is over
    }
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen;
  };
  CHECK(stage.play(main) == "20 at 9 none");
}

TEST_CASE("rows 19, 21: waiting until tasks have started", "[results]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.pool_size = 2});
    auto first = pool.apply(&later, std::tuple(1), {.num = 3});
    const auto started = co_await first.started();
    std::string seen = std::to_string(started.size()) + "@" +
                       std::to_string(stage.clock.now().time_since_epoch() / 1s);
    auto second = pool.map(&later, numbers(), {.group_size = 3});
    co_await second.first_batch_started();
    seen += " " + std::to_string(second.ids().size()) + "@" +
            std::to_string(stage.clock.now().time_since_epoch() / 1s);
    // A group that is cancelled starts no more: nobody waits for ever.
    auto third = pool.apply(&later, std::tuple(1), {.num = 5});
    auto waiting = stage.rt.spawn(third.started());
    pool.cancel_all();
    const auto none = co_await waiting;
    seen += " " + std::to_string(none.size());
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return seen;
  };
  // At 5 the third and the fourth find room in the same moment.
  CHECK(stage.play(main) == "3@1 4@5 0");
}

TEST_CASE("a call may be awaited where it stands", "[results]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<int> {
    weir::task_pool pool(stage.rt, {.pool_size = 2});
    weir::simple_task_pool simple(stage.rt, &later, std::tuple(5));
    const std::vector tuples{std::tuple(1), std::tuple(2)};
    const std::vector one{1};
    int sum = 0;
    for (auto& ended : co_await pool.map(&later, numbers()))
      sum += ended.has_value() ? ended.get() : 0;
    for (auto& ended : co_await pool.starmap(&later, tuples))
      sum += ended.get();
    for (auto& ended : co_await pool.doublestarmap(&later, one))
      sum += ended.get();
    sum += static_cast<int>((co_await pool.apply(&later, std::tuple(1)).started()).size());
    co_await pool.map(&later, numbers()).first_batch_started();
    sum += static_cast<int>((co_await simple.start().started()).size());
    for (auto& ended : co_await simple.start(2))
      sum += ended.get();
    auto place = co_await pool.admit();
    (void)co_await pool.apply(std::move(place), &later, std::tuple(1));
    (void)co_await simple.gather_and_close();
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
    co_return sum;
  };
  CHECK(stage.play(main) == 70 + 30 + 10 + 1 + 1 + 100);
}

TEST_CASE("a thread may wait for a group that it keeps", "[results]") {
  weir::runtime rt{{.workers = 2}};
  weir::task_pool pool(rt);
  auto squares = pool.map([](int i) { return i * i; }, std::vector{1, 2, 3});
  int sum = 0;
  for (auto& ended : rt.block_on(squares))
    sum += ended.get();
  CHECK(sum == 14);
  CHECK(squares.ids().size() == 3);
}

TEST_CASE("results of references, of nothing, and of types that only move", "[results]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  int target = 3;
  auto refers = pool.apply([&target]() -> int& { return target; });
  CHECK(&rt.block_on(refers.results())[0].get() == &target);
  auto moves = pool.apply([] { return std::make_unique<int>(4); });
  CHECK(*rt.block_on(moves.results())[0].get() == 4);
  auto nothing = pool.apply([] {});
  auto results = rt.block_on(nothing.results());
  CHECK(results[0].has_value());
  results[0].get();
}

TEST_CASE("A-18: a time limit for each task", "[results][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 1});
    auto group = pool.map(&later, std::vector<int>(2, 5), {.timeout = 3s});
    auto quick = pool.apply(&later, std::tuple(2), {.timeout = 3s});
    auto results = co_await group;
    auto in_time = co_await quick;
    const bool right = test::code_of([&] { (void)results[1].get(); }) == weir::errc::timed_out &&
                       in_time[0].get() == 20;
    const auto report = co_await pool.gather_and_close(weir::on_exception::collect);
    co_return right&& report.failed == 2 && report.cancelled == 0;
  };
  CHECK(stage.play(main));
}

TEST_CASE("A-18: a task whose turn comes too late does not start", "[results][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 1, .name = "x", .log = stage.log.sink()});
    (void)pool.apply(&later, std::tuple(5));
    auto late = pool.apply(&later, std::tuple(1), {.start_by = stage.rt.now() + 3s});
    auto results = co_await late;
    co_return results[0].cancelled() &&
        results[0].reason().cause() == weir::stop_cause::not_started_in_time;
  };
  CHECK(stage.play(main));
  CHECK(stage.log.count("Started TaskPool-x_Task-1") == 0);
  CHECK(stage.log.count("Cancelled TaskPool-x_Task-1") == 1);
}

TEST_CASE("tasks that never started tell why", "[results]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 1});
    auto running = pool.apply(&later, std::tuple(5));
    auto waiting = pool.apply(&later, std::tuple(1), {.num = 2});
    const auto one = waiting.task_at(0);
    waiting.cancel(weir::stop_reason("closing time"));
    auto outcomes = co_await waiting;
    bool right = !outcomes.empty();
    for (const auto& o : outcomes)
      right = right && o.cancelled() && o.reason().text() == "closing time";
    auto later_on = pool.apply(&later, std::tuple(1));
    pool.cancel_all(weir::stop_reason("all of them"));
    const auto last = co_await later_on.task_at(0).ended();
    const auto first = co_await one.ended();
    co_return right&& last.cancelled() && last.reason().text() == "all of them" &&
        first.cancelled() && first.reason().text() == "closing time";
  };
  CHECK(stage.play(main));
}

TEST_CASE("context comes from the call, also for tasks that start much later", "[results]") {
  static constinit weir::context_key<std::string> who;
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.pool_size = 1});
  const auto tell = []() -> std::string { return who.get() == nullptr ? "-" : *who.get(); };
  const auto make = [&](const char* name) -> weir::task<weir::group<std::string>> {
    const weir::context_scope here(who, std::string(name));
    co_return pool.apply(tell, {.num = 3});
  };
  auto a = rt.block_on(make("a"));
  auto b = rt.block_on(make("b"));
  auto none = pool.apply(tell, {.num = 2});
  for (auto& o : rt.block_on(a.results()))
    CHECK(o.get() == "a");
  for (auto& o : rt.block_on(b.results()))
    CHECK(o.get() == "b");
  for (auto& o : rt.block_on(none.results()))
    CHECK(o.get() == "-");
}

TEST_CASE("a dropped group drops results, not tasks", "[results]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.pool_size = 1});
  std::atomic<int> ran{0};
  const auto held = std::make_shared<int>(0);
  (void)pool.apply(
      [&ran, held] {
        ++ran;
        return held;
      },
      {.num = 100});
  rt.block_on(pool.gather_and_close());
  CHECK(ran == 100);
  CHECK(held.use_count() == 1);
}

namespace {

/// As an asynchronous generator: counts up, a second for each.
class counter {
 public:
  explicit counter(int end) : end_(end) {}
  weir::task<std::optional<int>> next() {
    co_await weir::sleep_for(1s);
    if (next_ == 13)
      throw std::runtime_error("thirteen");
    co_return next_ == end_ ? std::optional<int>() : std::optional<int>(next_++);
  }

 private:
  int next_ = 0;
  int end_;
};

} // namespace

TEST_CASE("A-17: arguments from an asynchronous generator", "[results][A-17]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.pool_size = 1});
      auto group = pool.map([](int i) { return i * i; }, counter(5), {.num_concurrent = 2});
      // The wait for arguments takes no room.
      co_await weir::sleep_for(500ms);
      std::string seen = pool.room() == 1 ? "room" : "full";
      auto outcomes = co_await group;
      for (auto& o : outcomes)
        seen += " " + std::to_string(o.get());
      seen += " @" + std::to_string(stage.clock.now().time_since_epoch() / 1s);
      (void)co_await pool.gather_and_close();
      co_return seen;
    };
    CHECK(stage.play(main) == "room 0 1 4 9 16 @6");
  }
}

TEST_CASE("A-17: arguments from a queue and from another group", "[results][A-17]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::queue<int> queue(4);
    const auto main = [&]() -> weir::task<long> {
      weir::task_pool pool(rt, {.pool_size = 3});
      const auto twice = [](int i) { return 2 * i; };
      auto first = pool.map(twice, std::ref(queue), {.num_concurrent = 2});
      const auto add_one = [](weir::indexed_outcome<int> o) -> weir::task<int> {
        co_await weir::yield();
        co_return o.ended.get() + 1;
      };
      auto second = pool.map(add_one, std::move(first), {.num_concurrent = 2});
      for (int i = 0; i < 100; ++i)
        co_await queue.push(i);
      queue.close();
      auto outcomes = co_await second;
      long sum = 0;
      for (auto& o : outcomes)
        sum += o.get();
      (void)co_await pool.gather_and_close();
      co_return sum;
    };
    CHECK(rt.block_on(main()) == 99 * 100 + 100);
  }
}

TEST_CASE("A-17: a wait for arguments ends with its group", "[results][A-17]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::queue<int> queue(4);
    for (int i = 0; i < test::rounds(200); ++i) {
      weir::task_pool pool(rt);
      auto group = pool.map([](int) {}, std::ref(queue));
      if (i % 4 == 0)
        (void)queue.try_push(i);
      if (i % 3 == 0)
        pool.cancel_all();
      else if (i % 3 == 1)
        group.cancel();
      if (i % 3 != 2) // else the pool's destructor does it
        rt.block_on(pool.gather_and_close());
    }
    while (queue.try_pop()) {
    }
    weir::task_pool last(rt);
    (void)last.map([](int) {}, std::ref(queue));
    rt.stop();
    CHECK(last.num_running() == 0);
  }
}

TEST_CASE("A-8: a generator that throws ends its group", "[results][A-8]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.name = "x", .log = stage.log.sink(weir::log_level::error)});
  auto group = pool.map([](int) {}, counter(20));
  CHECK(stage.rt.block_on(group.results()).size() == 13);
  CHECK_THROWS_AS(stage.rt.block_on(pool.gather_and_close()), std::runtime_error);
  CHECK(stage.log.lines() ==
        std::vector<std::string>{"std::runtime_error occurred in group 'map-task-group-0' while "
                                 "reading its arguments: thirteen"});
}
