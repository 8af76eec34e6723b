// SPDX-License-Identifier: MIT
// A-18: a bound for the groups that wait, and the three ways to submit to a pool with one.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
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

weir::task<> sleeps_for(int) {
  co_await weir::sleep_for(1s);
}

constexpr const char* full_text = "Too many groups wait for room in this pool";

} // namespace

TEST_CASE("A-18: what is bounded are groups that have not started all of their tasks",
          "[admission][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.pool_size = 1, .max_waiting_groups = 2});
    std::string seen = std::to_string(pool.max_waiting_groups());
    // It has started: it does not wait. A million tasks are one group.
    (void)pool.apply(&sleeps, std::tuple(1s));
    seen += " " + std::to_string(pool.num_waiting_groups());
    (void)pool.apply(&sleeps, std::tuple(1s), {.num = 1'000'000, .group_name = "million"});
    (void)pool.apply(&sleeps, std::tuple(1s), {.group_name = "one"});
    seen += " " + std::to_string(pool.num_waiting_groups());
    seen += " " + thrown_text<weir::pool_is_full>([&] { (void)pool.apply([] {}); });
    seen += " " + thrown_text<weir::pool_is_full>(
                      [&] { (void)pool.map(&sleeps_for, std::vector<int>{1}); });
    pool.cancel_group("million"); // its place is free
    (void)pool.apply([] {});
    seen += " " + thrown_text<weir::pool_is_full>([&] { (void)pool.apply([] {}); });
    co_await weir::sleep_for(1500ms); // "one" has started
    seen += " " + std::to_string(pool.num_waiting_groups());
    (void)pool.apply([] {});
    (void)co_await pool.gather_and_close();
    seen += " " + std::to_string(pool.num_waiting_groups());
    seen += " " + std::to_string(pool.stats().finished);
    co_return seen;
  };
  const std::string full(full_text);
  CHECK(stage.play(main) == "2 0 2 " + full + " " + full + " " + full + " 1 0 4");
  CHECK(weir::task_pool(stage.rt).max_waiting_groups() == weir::unlimited);
  CHECK(thrown_text<weir::invalid_pool_option>([&] {
          const weir::task_pool none(stage.rt, {.max_waiting_groups = 0});
        }) == "max_waiting_groups must be at least 1");
}

TEST_CASE("A-18: an unlimited pool takes every group", "[admission][A-18]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.pool_size = 0});
  for (int i = 0; i < 1000; ++i)
    (void)pool.apply([] {});
  CHECK(pool.num_waiting_groups() == 1000);
  CHECK(pool.stats().waiting == 1000);
  pool.set_pool_size(weir::unlimited);
  rt.block_on(pool.gather_and_close());
  CHECK(pool.stats().finished == 1000);
}

TEST_CASE("A-18: the try forms leave everything with the caller", "[admission][A-18]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.pool_size = 0, .max_waiting_groups = 1});
  (void)pool.apply([] {});
  const auto held = std::make_shared<int>(7);
  auto callable = [held](std::unique_ptr<int> p) { return *p + *held; };
  std::tuple args(std::make_unique<int>(5));
  weir::apply_options options;
  options.group_name = "mine";
  options.end_callback = [held](weir::task_id) {};
  CHECK_FALSE(pool.try_apply(std::move(callable), std::move(args), std::move(options)));
  CHECK(*std::get<0>(args) == 5);
  CHECK(options.group_name == "mine");
  CHECK(options.end_callback);
  CHECK(held.use_count() == 3);

  const auto twice = [](int i) { return 2 * i; };
  const auto add = [](int a, int b) { return a + b; };
  std::vector<int> numbers{1, 2, 3};
  std::vector<std::tuple<int, int>> pairs{{1, 2}};
  weir::map_options mapping;
  mapping.group_name = "mapped";
  CHECK_FALSE(pool.try_map(twice, std::move(numbers), std::move(mapping)));
  CHECK_FALSE(pool.try_starmap(add, std::move(pairs)));
  CHECK_FALSE(pool.try_doublestarmap(twice, std::move(numbers)));
  CHECK_FALSE(pool.try_admit());
  CHECK(numbers.size() == 3);
  CHECK(pairs.size() == 1);
  CHECK(mapping.group_name == "mapped");
  CHECK(pool.stats().accepted == 1);

  pool.set_pool_size(weir::unlimited);
  auto applied = pool.try_apply(std::move(callable), std::move(args), std::move(options));
  REQUIRE(applied);
  CHECK(applied->name() == "mine");
  CHECK(rt.block_on(applied->results())[0].get() == 12);
  auto mapped = pool.try_map(twice, std::move(numbers), std::move(mapping));
  REQUIRE(mapped);
  CHECK(mapped->name() == "mapped");
  CHECK(rt.block_on(mapped->results())[2].get() == 6);
  auto starred = pool.try_starmap(add, std::move(pairs));
  REQUIRE(starred);
  CHECK(rt.block_on(starred->results())[0].get() == 3);
  CHECK(pool.try_doublestarmap(twice, std::vector<int>{1}));
  CHECK(pool.try_apply([] {}));
  rt.block_on(pool.gather_and_close());
  // What is no question of room is thrown.
  CHECK_THROWS_AS(pool.try_apply([] {}), weir::pool_is_closed);
}

TEST_CASE("A-18: who waits for a place gets it in turn, and nobody overtakes",
          "[admission][A-18]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    weir::task_pool pool(stage.rt, {.pool_size = 1, .max_waiting_groups = 1});
    const auto submit = [&](int number) -> weir::task<> {
      co_await weir::sleep_for(number * 1ms); // so that they come in this order
      auto place = co_await pool.admit();
      stage.log.say("admitted " + std::to_string(number));
      (void)pool.apply(std::move(place), &sleeps, std::tuple(1s));
    };
    const auto main = [&]() -> weir::task<bool> {
      (void)pool.apply(&sleeps, std::tuple(1s)); // runs
      (void)pool.apply(&sleeps, std::tuple(1s)); // waits
      std::vector<weir::handle<void>> waiting;
      for (int i = 1; i <= 4; ++i)
        waiting.push_back(stage.rt.spawn(submit(i)));
      co_await weir::sleep_for(10ms);
      bool right = !pool.try_admit() && !pool.try_apply([] {});
      // One of them goes away: it takes no place.
      (void)waiting[1].request_stop();
      for (auto& w : waiting) {
        try {
          co_await w;
        } catch (const weir::task_cancelled&) {
          stage.log.say("gone");
        }
      }
      right = right && pool.num_waiting_groups() <= 1;
      (void)co_await pool.gather_and_close();
      co_return right;
    };
    CHECK(stage.play(main));
    CHECK(stage.log.timeline() == std::vector<std::string>{"1000 admitted 1", "1000 gone",
                                                           "2000 admitted 3", "3000 admitted 4"});
    CHECK(pool.stats().finished == 5);
  }
}

TEST_CASE("A-18: a place that is not used goes to the next", "[admission][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::task_pool pool(stage.rt, {.max_waiting_groups = 1});
    weir::task_pool other(stage.rt);
    std::string seen;
    {
      auto place = pool.try_admit();
      seen += place && !pool.try_admit() && !pool.try_apply([] {}) ? "taken" : "wrong";
      // Given to a pool that refuses it, it is gone.
      seen += " " + thrown_text<weir::invalid_pool_option>(
                        [&] { (void)other.apply(std::move(*place), [] {}); });
    }
    {
      auto place = pool.try_admit();
      seen += " " + std::to_string(pool.num_waiting_groups()); // it is none yet
      auto waiting = stage.rt.spawn([](weir::task_pool& on) -> weir::task<> {
        auto next = co_await on.admit();
        (void)on.map(std::move(next), [](int) {}, std::vector<int>{1, 2});
      }(pool));
      co_await weir::sleep_for(1s);
      seen += waiting.done() ? " early" : " waits";
      place.reset();
      co_await waiting;
      co_await weir::sleep_for(1s); // both of its tasks have started
    }
    // A call that fails gives its place back.
    (void)pool.apply([] {}, {.group_name = "taken"});
    seen += " " + thrown_text<weir::task_group_already_exists>(
                      [&] { (void)pool.apply([] {}, {.group_name = "taken"}); });
    auto place = co_await pool.admit();
    auto used = pool.starmap(std::move(place), [](int) {}, std::vector<std::tuple<int>>{{1}});
    seen += " " + used.name();
    auto again = co_await pool.admit();
    auto last = pool.doublestarmap(std::move(again), [](int) {}, std::vector<int>{1});
    seen += " " + last.name();
    (void)co_await pool.gather_and_close();
    seen += " " + std::to_string(pool.stats().finished);
    co_return seen;
  };
  CHECK(stage.play(main) ==
        "taken the admission is of another pool, or has been used 0 waits Task group named 'taken' "
        "already exists. starmap-task-group-0 doublestarmap-task-group-0 5");
}

TEST_CASE("A-18: locking, closing and the pool's end let go who waits for a place",
          "[admission][A-18]") {
  for (const auto workers : test::worker_counts) {
    test::pool_stage stage(workers);
    const auto main = [&]() -> weir::task<std::string> {
      auto pool = std::make_unique<weir::task_pool>(
          stage.rt, weir::task_pool_options{.pool_size = 0, .max_waiting_groups = 1});
      (void)pool->apply([] {});
      const auto waits = [&pool]() -> weir::task<std::string> {
        try {
          auto place = co_await pool->admit();
        } catch (const weir::pool_error& e) {
          co_return e.what();
        }
        co_return "admitted";
      };
      auto waiting = stage.rt.spawn(waits());
      co_await weir::sleep_for(1s);
      pool->lock();
      std::string seen = co_await waiting;
      seen += ", " + co_await waits();
      pool->unlock();
      waiting = stage.rt.spawn(waits());
      co_await weir::sleep_for(1s);
      pool.reset();
      seen += ", " + co_await waiting;
      weir::task_pool second(stage.rt, {.pool_size = 1, .max_waiting_groups = 1});
      auto place = second.try_admit();
      (void)co_await second.gather_and_close();
      seen += ", " + thrown_text<weir::pool_is_closed>(
                         [&] { (void)second.apply(std::move(*place), [] {}); });
      co_return seen;
    };
    CHECK(stage.play(main) ==
          "Cannot start new tasks, Cannot start new tasks, You must use another pool, You must use "
          "another pool");
  }
}

TEST_CASE("A-18: a simple pool has the same bound", "[admission][A-18]") {
  test::pool_stage stage;
  const auto main = [&]() -> weir::task<std::string> {
    weir::simple_task_pool pool(stage.rt, &sleeps, std::tuple(1000ms),
                                {.pool_size = 1, .max_waiting_groups = 1});
    (void)pool.start(2);
    std::string seen = pool.try_start() ? "started" : "refused";
    seen += " " + thrown_text<weir::pool_is_full>([&] { (void)pool.start(); });
    auto place = co_await pool.admit();
    auto group = pool.start(std::move(place), 2);
    seen += " " + group.name() + "@" + std::to_string(stage.clock.now().time_since_epoch() / 1s);
    (void)co_await pool.gather_and_close();
    co_return seen + " " + std::to_string(pool.stats().finished);
  };
  CHECK(stage.play(main) == "refused " + std::string(full_text) + " start-group-1@1 4");
}

TEST_CASE("A-18: threads and tasks that wait for places, and the bound is kept",
          "[admission][stress][A-18]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::task_pool pool(rt, {.pool_size = 2, .max_waiting_groups = 3});
    std::atomic<int> ran{0};
    std::atomic<bool> over{false};
    const auto work = [&]() -> weir::task<> {
      over = over || pool.num_waiting_groups() > 3;
      co_await weir::yield();
      ++ran;
    };
    const int rounds = test::rounds(300);
    const auto producer = [&](int seed) -> weir::task<int> {
      int given_up = 0;
      for (int i = 0; i < rounds; ++i) {
        if ((i + seed) % 7 == 0) { // waits for a moment only
          auto limited = weir::with_timeout(pool.admit(), 5us);
          try {
            auto place = co_await std::move(limited);
            (void)pool.apply(std::move(place), work, {.num = 2});
          } catch (const weir::error&) {
            ++given_up;
          }
        } else {
          auto place = co_await pool.admit();
          if (i % 5 != 0)
            (void)pool.apply(std::move(place), work, {.num = 2});
          else
            ++given_up;
        }
      }
      co_return given_up;
    };
    std::vector<weir::handle<int>> producers;
    for (int i = 0; i < 4; ++i)
      producers.push_back(rt.spawn(producer(i)));
    int taken = 0;
    std::thread outside([&] {
      for (int i = 0; i < rounds; ++i)
        taken += pool.try_apply(work, std::tuple<>()) ? 1 : 0;
    });
    int groups = 0;
    for (auto& p : producers)
      groups += rounds - p.get();
    outside.join();
    rt.block_on(pool.gather_and_close());
    CHECK(ran == 2 * groups + taken);
    CHECK_FALSE(over);
    CHECK(pool.num_waiting_groups() == 0);
  }
}
