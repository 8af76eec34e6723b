// SPDX-License-Identifier: MIT
// Construction, names, numbers, sizes, locking, and how room is given out.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::ids;
using test::thrown_text;

namespace {

weir::task<> work(weir::event* door) {
  co_await door->wait();
}

int twice(int value) {
  return 2 * value;
}

struct worker_class {
  int base = 0;
  int operator()(int value) const { return base + value; }
};

/// Says its name and number when it starts, and waits a second.
weir::task<> note(test::pool_log* log, std::string who, int number) {
  log->say(who.append(std::to_string(number)));
  co_await weir::sleep_for(1s);
}

struct counted_note {
  test::pool_log* log;
  std::string who;
  std::shared_ptr<int> next = std::make_shared<int>(0);
  weir::task<> operator()() const { return note(log, who, (*next)++); }
};

std::vector<std::tuple<test::pool_log*, std::string, int>> notes(test::pool_log& log,
                                                                 const std::string& who, int n) {
  std::vector<std::tuple<test::pool_log*, std::string, int>> all;
  for (int i = 0; i < n; ++i)
    all.emplace_back(&log, who, i);
  return all;
}

} // namespace

TEST_CASE("1A.2: pools are numbered, or have names", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  const weir::task_pool first(rt);
  const weir::task_pool named(rt, {.name = "mine"});
  const weir::simple_task_pool third(rt, weir::fn<&twice>, std::tuple(1));
  const weir::task_pool without_a_name(rt, {.name = ""});
  const auto number = std::stoul(first.str().substr(std::string("TaskPool-").size()));
  CHECK(first.str() == "TaskPool-" + std::to_string(number));
  CHECK(named.str() == "TaskPool-mine");
  CHECK(third.str() == "SimpleTaskPool-" + std::to_string(number + 2));
  CHECK(without_a_name.str() == "TaskPool-" + std::to_string(number + 3));
  CHECK(named.task_name(3) == "TaskPool-mine_Task-3");
  const weir::task_pool logging(rt, {.name = "x", .log = log.full_sink()});
  CHECK(log.lines() == std::vector<std::string>{"DEBUG weir.task_pool: TaskPool-x initialized"});
}

TEST_CASE("1A.2: a simple pool that is refused takes no number and logs nothing", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  const auto make = [&](auto f, weir::simple_task_pool_options options) {
    options.log = log.full_sink();
    const weir::simple_task_pool pool(rt, std::move(f), std::tuple<>(), std::move(options));
  };
  const auto number = [&] {
    const std::string prefix = "TaskPool-";
    return std::stoul(weir::task_pool(rt).str().substr(prefix.size()));
  };
  const auto before = number();
  const std::function<void()> none;
  CHECK(test::code_of([&] { make(none, {}); }) == weir::errc::empty_callable);
  CHECK(test::code_of([&] { make(weir::named("none", none), {}); }) == weir::errc::empty_callable);
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          weir::simple_task_pool_options options;
          options.retry = weir::retry_options{.attempts = 0};
          make([] {}, std::move(options));
        }) == "`attempts` of retry must be at least 1");
  CHECK(log.lines().empty());
  CHECK(number() == before + 1);
}

TEST_CASE("1A.2, A-12: a pool that is gone leaves nothing behind", "[task_pool][A-12]") {
  weir::runtime rt{{.workers = 1}};
  const auto held = std::make_shared<int>(1);
  {
    weir::task_pool pool(rt, {.log = [held](auto...) {}});
    (void)pool.apply([held] {});
    rt.block_on(pool.gather_and_close());
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("1A.2: sizes below 0 are refused", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  const std::string text = "Pool size can not be less than 0";
  CHECK(thrown_text<weir::invalid_pool_option>([&] { weir::task_pool(rt, -1); }) == text);
  weir::task_pool pool(rt, 2);
  CHECK(thrown_text<weir::invalid_pool_option>([&] { pool.set_pool_size(-3); }) == text);
  CHECK(pool.pool_size() == 2);
  CHECK(weir::task_pool(rt).pool_size() == weir::unlimited);
  CHECK(weir::task_pool(rt, std::size_t{7}).pool_size() == 7);
  CHECK(weir::task_pool(rt, weir::unlimited).pool_size() == weir::unlimited);
}

TEST_CASE("1A.4, 1A.8: fewer tasks than none are none", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::event door;
  weir::simple_task_pool pool(rt, &work, std::tuple(&door), {.pool_size = 2});
  (void)pool.start(2);
  CHECK(pool.start(-1).ids().empty());
  CHECK(pool.try_start(-1)->ids().empty());
  CHECK(pool.start(pool.try_admit().value(), -1).ids().empty());
  CHECK(pool.stats().accepted == 2);
  CHECK(pool.stop(-1).empty());
  CHECK(pool.stop(0).empty());
  CHECK(pool.num_running() == 2);
  CHECK(pool.stop(weir::unlimited) == ids(1, 0));
}

TEST_CASE("rows 8, 9: functions, callables and lambdas have names", "[task_pool][A-16]") {
  CHECK(weir::fn<&work>.name() == "work");
  CHECK(weir::fn<&twice>.name() == "twice");
  CHECK(weir::fn<&test::passes>.name() == "passes");
  CHECK(weir::fn<&worker_class::base>.name() == "base");
  CHECK(weir::fn<&twice>(4) == 8);

  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  CHECK(pool.apply(weir::fn<&twice>, std::tuple(1)).name() == "apply-twice-group-0");
  CHECK(pool.apply(weir::fn<&twice>, std::tuple(1)).name() == "apply-twice-group-1");
  CHECK(pool.map(weir::fn<&twice>, std::vector<int>{1}).name() == "map-twice-group-0");
  CHECK(pool.starmap(weir::fn<&twice>, std::vector<std::tuple<int>>{{1}}).name() ==
        "starmap-twice-group-0");
  CHECK(pool.doublestarmap(weir::fn<&twice>, std::vector<int>{1}).name() ==
        "doublestarmap-twice-group-0");
  CHECK(pool.apply(weir::named("sum", worker_class{3}), std::tuple(1)).name() ==
        "apply-sum-group-0");
  CHECK(pool.apply(&twice, std::tuple(1)).name() == "apply-task-group-0");
  CHECK(pool.apply(std::bind_front(&twice, 1)).name() == "apply-task-group-1");
  CHECK(pool.apply([] {}, {.group_name = "own"}).name() == "own");
  weir::simple_task_pool simple(rt, weir::fn<&twice>, std::tuple(1));
  CHECK(simple.func_name() == "twice");
  CHECK(simple.start().name() == "start-group-0");
  CHECK(simple.start(0).name() == "start-group-1");
  CHECK(weir::simple_task_pool(rt, [] {}).func_name() == "task");
  CHECK(weir::simple_task_pool(rt, weir::named("tick", [] {})).func_name() == "tick");
}

TEST_CASE("decision 4, A-14: generated names are never used twice", "[task_pool][A-14]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  CHECK(pool.apply(weir::fn<&twice>, std::tuple(1)).name() == "apply-twice-group-0");
  pool.cancel_all();
  rt.block_on(pool.flush());
  CHECK(pool.apply(weir::fn<&twice>, std::tuple(1)).name() == "apply-twice-group-1");
  // One that somebody has taken is left out.
  CHECK(pool.apply([] {}, {.group_name = "apply-twice-group-2"}).name() == "apply-twice-group-2");
  CHECK(pool.apply(weir::fn<&twice>, std::tuple(1)).name() == "apply-twice-group-3");
}

TEST_CASE("1A.4: refusals come in a fixed order, with exact texts", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  (void)pool.apply([] {}, {.group_name = "taken"});
  const auto call = [&] {
    (void)pool.map(weir::fn<&twice>, std::vector<int>{1},
                   {.num_concurrent = 0, .group_name = "taken"});
  };
  const auto early = [&] {
    (void)pool.map(weir::fn<&twice>, std::vector<int>{1}, {.group_size = 0, .group_name = "taken"});
  };
  const auto taken = [&] { (void)pool.apply([] {}, {.group_name = "taken"}); };
  CHECK(thrown_text<weir::invalid_pool_option>(call) ==
        "`num_concurrent` must be a positive integer.");
  CHECK(thrown_text<weir::invalid_pool_option>(early) ==
        "`num_concurrent` must be a positive integer.");
  CHECK(thrown_text<weir::task_group_already_exists>(taken) ==
        "Task group named 'taken' already exists.");
  pool.lock();
  CHECK(thrown_text<weir::pool_is_locked>(call) == "Cannot start new tasks");
  CHECK(thrown_text<weir::pool_is_locked>(taken) == "Cannot start new tasks");
  rt.block_on(pool.gather_and_close());
  CHECK(thrown_text<weir::pool_is_closed>(call) == "You must use another pool");
  pool.unlock();
  CHECK_FALSE(pool.is_locked());
  CHECK(thrown_text<weir::pool_is_closed>(taken) == "You must use another pool");
  int (*none)(int) = nullptr;
  weir::task_pool other(rt);
  CHECK(test::code_of([&] { (void)other.apply(none, std::tuple(1)); }) ==
        weir::errc::empty_callable);
}

TEST_CASE("1A.3: locking twice logs once", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  weir::task_pool pool(rt, {.name = "l", .log = log.full_sink()});
  CHECK_FALSE(pool.is_locked());
  pool.unlock();
  pool.lock();
  pool.lock();
  CHECK(pool.is_locked());
  pool.unlock();
  pool.unlock();
  CHECK_FALSE(pool.is_locked());
  CHECK(log.lines() == std::vector<std::string>{"DEBUG weir.task_pool: TaskPool-l initialized",
                                                "INFO weir.task_pool: TaskPool-l is locked!",
                                                "INFO weir.task_pool: TaskPool-l was unlocked."});
}

TEST_CASE("row 12: a scoped lock ends with its scope, and leaves a pool locked that was so before",
          "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto work = [] {};
  {
    auto locked = pool.scoped_lock();
    CHECK(pool.is_locked());
    CHECK_THROWS_AS(pool.apply(work), weir::pool_is_locked);
    const auto moved = std::move(locked);
    CHECK(pool.is_locked());
  }
  CHECK_FALSE(pool.is_locked());
  pool.lock();
  {
    const auto again = pool.scoped_lock();
  }
  CHECK(pool.is_locked());
}

TEST_CASE("1A.4: groups of no tasks are groups all the same", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  CHECK(pool.apply([] {}, {.num = 0, .group_name = "none"}).name() == "none");
  CHECK(pool.get_group_ids("none").empty());
  weir::simple_task_pool simple(rt, [] {});
  CHECK(simple.start(0).name() == "start-group-0");
  CHECK(simple.num_running() == 0);
  auto mapped = pool.map(weir::fn<&twice>, std::vector<int>{});
  CHECK(rt.block_on(mapped.results()).empty());
}

TEST_CASE("1A.3: the ids of groups, ended tasks included", "[task_pool]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<int> {
    int right = 0;
    weir::task_pool pool(stage.rt, {.pool_size = 4});
    weir::event door;
    (void)pool.apply([] {}, {.num = 2, .group_name = "a"});
    co_await weir::sleep_for(1s);
    (void)pool.apply(&work, std::tuple(&door), {.num = 2, .group_name = "b"});
    using set = std::set<weir::task_id>;
    right += pool.get_group_ids("a") == set(std::set<weir::task_id>{0, 1}) ? 1 : 0;
    const auto both = pool.get_group_ids("a", "b");
    right += both.size() == 4 && both.contains(3) ? 1 : 0;
    right += pool.get_group_ids().empty() ? 1 : 0;
    right += thrown_text<weir::task_group_not_found>([&] {
               (void)pool.get_group_ids("a", "nope");
             }) == "No task group named 'nope' exists in this pool."
                 ? 1
                 : 0;
    door.set();
    (void)co_await pool.gather_and_close();
    co_return right;
  };
  CHECK(stage.play(main) == 4);
}

TEST_CASE("D1: groups take turns for room", "[task_pool][D1]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::task_pool pool(stage.rt, {.pool_size = 1});
    {
      const auto hold = stage.clock.hold();
      for (const std::string who : {"A", "B", "C"})
        (void)pool.apply(counted_note{&stage.log, who}, {.num = 2});
    }
    stage.rt.block_on(pool.gather_and_close());
    CHECK(stage.log.lines() == std::vector<std::string>{"A0", "A1", "B0", "C0", "B1", "C1"});
    CHECK(pool.stats().peak_running == 1);
  }
}

TEST_CASE("D2: two maps share the room, each in its order", "[task_pool][D2]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::task_pool pool(stage.rt, {.pool_size = 2});
    {
      const auto hold = stage.clock.hold();
      (void)pool.starmap(weir::fn<&note>, notes(stage.log, "a", 4), {.num_concurrent = 2});
      (void)pool.starmap(weir::fn<&note>, notes(stage.log, "b", 4), {.num_concurrent = 2});
    }
    stage.rt.block_on(pool.gather_and_close());
    CHECK(stage.log.lines().size() == 8);
    CHECK(pool.stats().peak_running == 2);
    if (workers == 1) {
      for (const std::string who : {"a", "b"}) {
        for (int i = 0; i < 3; ++i)
          CHECK(stage.log.before(who + std::to_string(i), who + std::to_string(i + 1)));
      }
    }
    CHECK(stage.clock.now().time_since_epoch() == 4s);
  }
}

TEST_CASE("D3: a call's limit above the pool's", "[task_pool][D3]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<bool> {
      weir::task_pool pool(stage.rt, {.pool_size = 2});
      (void)pool.starmap(weir::fn<&note>, notes(stage.log, "x", 6), {.num_concurrent = 4});
      bool right = pool.num_running() == 2;
      for (int i = 0; i < 2; ++i) {
        co_await weir::sleep_for(i == 0 ? 500ms : 1s);
        right = right && pool.num_running() == 2;
      }
      (void)co_await pool.gather_and_close();
      co_return right&& pool.stats().started == 6 && pool.stats().peak_running == 2;
    };
    CHECK(stage.play(main));
  }
}

TEST_CASE("D4: arguments are read one ahead", "[task_pool][D4]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    std::atomic<int> pulled{0};
    const auto main = [&]() -> weir::task<bool> {
      weir::task_pool pool(stage.rt);
      weir::event door;
      const auto pull = [&pulled](int i) {
        ++pulled;
        return i;
      };
      const auto wait = [&door](int) -> weir::task<> { co_await door.wait(); };
      auto range = std::views::iota(0, 10) | std::views::transform(pull);
      (void)pool.map(wait, range, {.num_concurrent = 3});
      co_await weir::sleep_for(1s);
      const bool right = pool.num_running() == 3 && pulled == 4 && pool.stats().waiting == 7;
      door.set();
      (void)co_await pool.gather_and_close();
      co_return right&& pulled == 10;
    };
    CHECK(stage.play(main));
  }
}

TEST_CASE("D16, A-2: pool_size is the limit, room what is left of it", "[task_pool][D16][A-2]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<bool> {
    weir::task_pool pool(stage.rt, {.pool_size = 3});
    weir::event door;
    (void)pool.apply(&work, std::tuple(&door), {.num = 2});
    bool right = pool.pool_size() == 3 && pool.room() == 1 && !pool.is_full();
    (void)pool.apply(&work, std::tuple(&door));
    right = right && pool.pool_size() == 3 && pool.room() == 0 && pool.is_full();
    door.set();
    (void)co_await pool.gather_and_close();
    const weir::task_pool none(stage.rt, {.pool_size = 0});
    co_return right&& pool.room() == 3 && none.is_full();
  };
  CHECK(stage.play(main));
}

TEST_CASE("D17, A-2: growing starts waiting tasks at once, in turn", "[task_pool][D17][A-2]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<bool> {
      weir::task_pool pool(stage.rt, {.pool_size = 3});
      weir::event door;
      (void)pool.apply(&work, std::tuple(&door), {.num = 6});
      bool right = pool.num_running() == 3 && pool.stats().waiting == 3;
      pool.set_pool_size(5);
      right = right && pool.num_running() == 5 && pool.stats().waiting == 1;
      co_await weir::sleep_for(1s);
      right = right && pool.num_running() == 5;
      door.set();
      (void)co_await pool.gather_and_close();
      co_return right&& pool.stats().peak_running == 5;
    };
    CHECK(stage.play(main));
  }
}

TEST_CASE("D18, A-2: shrinking kills nobody and then holds", "[task_pool][D18][A-2]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      weir::task_pool pool(stage.rt, {.pool_size = 4});
      weir::event door[3];
      for (auto& d : door)
        (void)pool.apply(&work, std::tuple(&d));
      pool.set_pool_size(1);
      const auto sleep = []() -> weir::task<> { co_await weir::sleep_for(1s); };
      (void)pool.apply(sleep, {.num = 5});
      std::string seen = std::to_string(pool.num_running());
      for (auto& d : door) {
        d.set();
        co_await weir::sleep_for(100ms);
        seen += " " + std::to_string(pool.num_running());
      }
      co_await weir::sleep_for(1s);
      seen += " " + std::to_string(pool.num_running());
      pool.set_pool_size(0);
      co_await weir::sleep_for(5s);
      seen += " " + std::to_string(pool.num_running()) + "+" + std::to_string(pool.stats().waiting);
      pool.set_pool_size(weir::unlimited);
      seen += " " + std::to_string(pool.num_running());
      (void)co_await pool.gather_and_close();
      seen += " " + std::to_string(pool.stats().finished);
      co_return seen;
    };
    // The first of the five starts when the last of the three has ended.
    CHECK(stage.play(main) == "3 2 1 1 1 0+3 3 8");
  }
}

TEST_CASE("row 11, A-18: smaller priorities get room first", "[task_pool][priority]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.pool_size = 1});
  {
    const auto hold = stage.clock.hold();
    (void)pool.apply(counted_note{&stage.log, "first"});
    (void)pool.apply(counted_note{&stage.log, "low"}, {.num = 2, .priority = 5});
    (void)pool.apply(counted_note{&stage.log, "a"}, {.num = 2});
    (void)pool.apply(counted_note{&stage.log, "b"}, {.num = 2});
    (void)pool.apply(counted_note{&stage.log, "high"}, {.num = 2, .priority = -1});
  }
  stage.rt.block_on(pool.gather_and_close());
  CHECK(stage.log.lines() == std::vector<std::string>{"first0", "high0", "high1", "a0", "b0", "a1",
                                                      "b1", "low0", "low1"});
}

TEST_CASE("1A.5, A-25: an argument that cannot be copied is skipped and logged",
          "[task_pool][A-25]") {
  struct touchy {
    explicit touchy(int v) : value(v) {}
    touchy(const touchy& other) : value(other.value) {
      if (value == 2)
        throw std::runtime_error("no second one");
    }
    int value;
  };
  test::pool_stage stage;
  std::vector<touchy> args;
  args.reserve(4);
  for (int i = 1; i <= 4; ++i)
    args.emplace_back(i);
  const auto get = weir::named("get", [](const touchy& t) { return t.value; });
  weir::task_pool pool(stage.rt, {.name = "b", .log = stage.log.full_sink()});
  const std::string line = "ERROR weir.task_pool: std::runtime_error occurred in group '";
  {
    auto skip = pool.map(get, std::ref(args), {.group_name = "skip"});
    auto results = stage.rt.block_on(skip.results());
    REQUIRE(results.size() == 3);
    CHECK(results[1].get() == 3);
    CHECK(results[2].id() == weir::task_id(2)); // no id was used
    CHECK(stage.log.count(line + "skip' while trying to create coroutine: get(...)") == 1);
  }
  {
    auto report =
        pool.map(get, std::ref(args), {.group_name = "report", .bad_args = weir::bad_args::report});
    auto results = stage.rt.block_on(report.results());
    REQUIRE(results.size() == 4);
    CHECK_FALSE(results[1].id());
    CHECK_THROWS_AS(results[1].get(), std::runtime_error);
    CHECK(results[3].get() == 4);
  }
  {
    auto stop = pool.map(get, std::ref(args),
                         {.group_name = "stop", .bad_args = weir::bad_args::stop_group});
    CHECK(stage.rt.block_on(stop.results()).size() == 1);
    CHECK_THROWS_AS(stage.rt.block_on(pool.gather_and_close()), std::runtime_error);
  }
}

TEST_CASE("1A.11: the lines of bad arguments show the call", "[task_pool]") {
  struct touchy {
    touchy() = default;
    touchy(const touchy& other) : copies(other.copies + 1) {
      if (copies > 1)
        throw std::invalid_argument("copied");
    }
    touchy(touchy&& other) noexcept : copies(other.copies) {}
    int copies = 0;
  };
  weir::runtime rt{{.workers = 1}};
  test::pool_log log;
  const auto f = weir::named("f", [](int, const std::string&, const touchy&) {});
  weir::task_pool pool(rt, {.name = "b", .log = log.full_sink()});
  touchy once;
  once.copies = 1;
  (void)pool.apply(f, std::tuple(7, std::string("x"), std::move(once)), {.group_name = "g"});
  std::vector<std::tuple<int, std::string, touchy>> rows(1);
  std::get<2>(rows[0]).copies = 1;
  (void)pool.starmap(f, std::ref(std::as_const(rows)), {.group_name = "h"});
  const std::string line = "ERROR weir.task_pool: std::invalid_argument occurred in group '";
  CHECK(log.count(line + "g' while trying to create coroutine: f(*(7, 'x', ...), **{})") == 1);
  CHECK(log.count(line + "h' while trying to create coroutine: f(*(0, '', ...))") == 1);
  std::vector<touchy> each(1);
  each[0].copies = 1;
  const auto g = weir::named("g", [](const touchy&) {});
  (void)pool.map(g, std::ref(std::as_const(each)), {.group_name = "i"});
  (void)pool.doublestarmap(g, std::ref(std::as_const(each)), {.group_name = "j"});
  CHECK(log.count(line + "i' while trying to create coroutine: g(...)") == 1);
  CHECK(log.count(line + "j' while trying to create coroutine: g(**...)") == 1);
  // The argument of a map is shown as text, not as in a program.
  struct word : touchy {
    operator std::string_view() const { return "x"; }
  };
  std::vector<word> words(1);
  words[0].copies = 1;
  (void)pool.map(g, std::ref(std::as_const(words)), {.group_name = "k"});
  CHECK(log.count(line + "k' while trying to create coroutine: g(x)") == 1);
  // A simple pool's line names the pool.
  touchy fixed;
  weir::simple_task_pool simple(rt, g, std::tuple(std::move(fixed)),
                                {.name = "s", .log = log.full_sink()});
  CHECK(simple.start().name() == "start-group-0");
  CHECK(log.count("ERROR weir.task_pool: std::invalid_argument occurred in 'SimpleTaskPool-s' "
                  "while trying to create coroutine: g(*(...,), **{})") == 1);
  CHECK(simple.stats().started == 0);
}

TEST_CASE("A-8: a range that throws ends its group, is logged and thrown later",
          "[task_pool][A-8]") {
  test::pool_stage stage;
  weir::task_pool pool(stage.rt, {.name = "r", .log = stage.log.full_sink()});
  const auto fails = [](int i) {
    if (i == 2)
      throw std::runtime_error("no more");
    return i;
  };
  auto range = std::views::iota(0, 5) | std::views::transform(fails);
  auto group = pool.map(weir::fn<&twice>, range, {.num_concurrent = 3});
  CHECK(stage.rt.block_on(group.results()).size() == 2);
  CHECK(stage.log.count("ERROR weir.task_pool: std::runtime_error occurred in group "
                        "'map-twice-group-0' while reading its arguments: no more") == 1);
  const auto report = stage.rt.block_on(pool.flush(weir::on_exception::collect));
  REQUIRE(report.groups.size() == 1);
  CHECK(report.groups[0].group == "map-twice-group-0");
  CHECK(report.groups[0].error != nullptr);
  CHECK(report.finished == 2);
}

TEST_CASE("row 12: work accepted before the lock still starts", "[task_pool][D20]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::task_pool pool(stage.rt, {.pool_size = 1});
    (void)pool.apply(counted_note{&stage.log, "a"}, {.num = 3});
    pool.lock();
    CHECK_THROWS_AS(pool.apply([] {}), weir::pool_is_locked);
    stage.rt.block_on(pool.gather_and_close());
    CHECK(stage.log.lines() == std::vector<std::string>{"a0", "a1", "a2"});
  }
}

TEST_CASE("row 18: arguments and callables that cannot be copied serve one task", "[task_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto take = [](std::unique_ptr<int> p) { return *p; };
  auto one = pool.apply(take, std::tuple(std::make_unique<int>(5)));
  CHECK(rt.block_on(one.results())[0].get() == 5);
  CHECK_THROWS_AS(pool.apply(take, std::tuple(std::make_unique<int>(5)), {.num = 2}),
                  weir::invalid_pool_option);
  std::vector<std::unique_ptr<int>> owned;
  for (int i = 0; i < 3; ++i)
    owned.push_back(std::make_unique<int>(i));
  auto mapped = pool.map(take, std::move(owned));
  auto results = rt.block_on(mapped.results());
  REQUIRE(results.size() == 3);
  CHECK(results[2].get() == 2);
}

TEST_CASE("row 22: structures stand for named arguments", "[task_pool]") {
  struct named_arguments {
    int a = 1;
    int b = 2;
  };
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto add = [](named_arguments p) -> weir::task<int> { co_return p.a + p.b; };
  auto sums = pool.doublestarmap(add, std::vector<named_arguments>{{.a = 1, .b = 1}, {.b = 7}},
                                 {.num_concurrent = 2});
  auto results = rt.block_on(sums.results());
  REQUIRE(results.size() == 2);
  CHECK(results[0].get() == 2);
  CHECK(results[1].get() == 8);
}
