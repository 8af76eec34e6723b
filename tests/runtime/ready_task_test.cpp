// SPDX-License-Identifier: MIT
// make_ready_task: tasks whose results are there before anybody awaits them, wherever tasks go.
#include "support/support.hpp"

#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch.hpp>

using namespace std::chrono_literals;
using weir::fork;
using weir::join;
using weir::make_ready_task;

namespace {

struct point {
  std::int16_t x;
  std::int16_t y;
};

/// Ready at the leaves. Some nodes wait.
weir::task<long> node(int n, int waits_below);
weir::task<long> tree(int n, int waits_below) {
  return n < 2 ? make_ready_task(long{n}) : node(n, waits_below);
}
weir::task<long> node(int n, int waits_below) {
  if (n < waits_below)
    co_await weir::yield();
  auto [a, b] = co_await join(fork(tree, n - 1, waits_below), fork(tree, n - 2, waits_below));
  co_return a + b;
}

/// The same by tasks that are made before they are awaited.
weir::task<long> eager_node(int n);
weir::task<long> eager_tree(int n) {
  return n < 2 ? make_ready_task(long{n}) : eager_node(n);
}
weir::task<long> eager_node(int n) {
  auto [a, b] = co_await weir::when_all(eager_tree(n - 1), eager_tree(n - 2));
  co_return a + b;
}

weir::task<long> awaits_each(int count) {
  long sum = 0;
  for (int i = 0; i < count; ++i)
    sum += co_await make_ready_task(long{1});
  co_return sum;
}

} // namespace

TEST_CASE("a ready task gives its value", "[task]") {
  weir::runtime rt({.workers = 1});
  CHECK(rt.block_on(make_ready_task(7)) == 7);
  CHECK(rt.block_on(make_ready_task(point{3, -4})).y == -4);
  CHECK(rt.block_on(make_ready_task('c')) == 'c');
  CHECK(rt.block_on(make_ready_task(0.5)) == 0.5);
  rt.block_on(make_ready_task());
  CHECK(rt.block_on(awaits_each(1000)) == 1000);
  int place = 0;
  CHECK(&rt.block_on(weir::task<int&>::made_ready(place)) == &place);
}

TEST_CASE("what does not fit into a task is ready too", "[task]") {
  weir::runtime rt({.workers = 1});
  CHECK(rt.block_on(make_ready_task(std::string(100, 'x'))) == std::string(100, 'x'));
  CHECK(*rt.block_on(make_ready_task(std::make_unique<int>(5))) == 5);
  const auto never_awaited = make_ready_task(std::string(100, 'y'));
  CHECK(static_cast<bool>(never_awaited));
}

TEST_CASE("a ready task gives its value once", "[task]") {
  weir::runtime rt({.workers = 1});
  auto twice = []() -> weir::task<std::error_code> {
    auto ready = make_ready_task(1);
    if (const int value = co_await ready; value != 1)
      co_return std::error_code();
    try {
      (void)co_await ready;
    } catch (const weir::error& e) {
      co_return e.code();
    }
    co_return std::error_code();
  };
  CHECK(rt.block_on(twice()) == weir::errc::no_state);
  auto given_away = make_ready_task(1);
  (void)rt.spawn(std::move(given_away)).get();
  CHECK(test::code_of([&] { (void)rt.spawn(std::move(given_away)); }) == weir::errc::no_state);
}

TEST_CASE("moving a ready task takes the value along", "[task]") {
  weir::runtime rt({.workers = 1});
  auto first = make_ready_task(1);
  auto second = make_ready_task(2);
  first.swap(second);
  auto third = std::move(first);
  CHECK(!first); // NOLINT: that is what is looked at
  third = std::move(second);
  CHECK(rt.block_on(std::move(third)) == 1);
}

TEST_CASE("submitted callables may give ready tasks", "[task]") {
  weir::runtime rt({.workers = 2});
  CHECK(rt.submit([] { return make_ready_task(3); }).get() == 3);
  rt.submit([] { return make_ready_task(); }).get();
  weir::fixed_pool<> pool(rt);
  CHECK(rt.block_on(pool.submit([] { return make_ready_task(4); })) == 4);
  weir::task_pool tasks(rt);
  int ends = 0;
  weir::apply_options options;
  options.end_callback = [&ends](weir::task_id) {
    ++ends;
    return make_ready_task();
  };
  auto group = tasks.apply([] { return make_ready_task(5); }, options);
  auto outcomes = rt.block_on(group.results());
  REQUIRE(outcomes.size() == 1);
  CHECK(outcomes[0].get() == 5);
  rt.block_on(tasks.gather_and_close());
  CHECK(ends == 1);
}

TEST_CASE("ready tasks are children like others", "[task][fork]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    CHECK(rt.block_on(weir::when_all(make_ready_task(1), tree(10, 0), make_ready_task())) ==
          std::tuple(1, 55L, std::monostate()));
    std::vector<weir::task<int>> many;
    for (int i = 0; i < 5; ++i)
      many.push_back(make_ready_task(i));
    CHECK(rt.block_on(weir::when_all(std::move(many))) == std::vector{0, 1, 2, 3, 4});
    CHECK(rt.block_on(weir::with_timeout(make_ready_task(6), 1h)) == 6);
    const auto any = rt.block_on(weir::when_any(make_ready_task(8), make_ready_task(9)));
    CHECK(any.index < 2);
  }
}

TEST_CASE("recursions with ready leaves give the right result", "[task][fork]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(20); ++round) {
      CHECK(rt.block_on(tree(18, 0)) == 2584);
      CHECK(rt.block_on(tree(14, 4)) == 377);
      CHECK(rt.block_on(tree(14, 20)) == 377);
      CHECK(rt.block_on(eager_tree(16)) == 987);
    }
  }
}

TEST_CASE("awaiting a ready task is a cancellation point", "[task][cancel]") {
  weir::runtime rt({.workers = 1});
  std::atomic<bool> started{false};
  bool went_on = false;
  // No co_await before the one in question: each is a cancellation point.
  auto stopped = rt.submit([&](weir::inplace_stop_token token) -> weir::task<> {
    started = true;
    while (!token.stop_requested())
      std::this_thread::yield();
    (void)co_await make_ready_task(1);
    went_on = true;
  });
  test::eventually([&] { return started.load(); });
  stopped.request_stop();
  CHECK_THROWS_AS(stopped.get(), weir::task_cancelled);
  CHECK(!went_on);
}
