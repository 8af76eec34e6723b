// SPDX-License-Identifier: MIT
// Task pools and memory: what they allocate, and what happens when each allocation fails in turn.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/failing_new.hpp>
#include <support/support.hpp>

using test::allocations;
using test::fail_after;

namespace {

weir::task<int> hops() {
  co_await weir::yield();
  co_return 1;
}

weir::task<int> hops_for(int value) {
  co_await weir::yield();
  co_return value;
}

/// Arguments that have to be waited for.
struct numbers {
  int left = 3;
  weir::task<std::optional<int>> next() {
    co_await weir::yield();
    co_return left == 0 ? std::optional<int>() : std::optional<int>(left--);
  }
};

/// One run: four groups, and what they may have been refused for.
struct script {
  weir::runtime& rt;
  bool cancels;
  std::atomic<long> ends{0};
  std::atomic<long> lines{0};
  long thrown = 0;
  std::vector<weir::group<int>> groups{};
  std::vector<std::size_t> expected{};

  template <class F>
  void attempt(F&& call) {
    try {
      call();
    } catch (const std::bad_alloc&) {
      ++thrown;
    }
  }
  template <class F>
  void submit(std::size_t tasks, F&& call) {
    attempt([&] {
      groups.push_back(call());
      expected.push_back(tasks);
    });
  }

  void run(weir::task_pool& pool, const weir::task_callback& count) {
    submit(5, [&] { return pool.apply(&hops, {.num = 5, .end_callback = count}); });
    submit(4, [&] {
      weir::map_options options;
      options.num_concurrent = 2;
      options.end_callback = count;
      options.retry.emplace().attempts = 2;
      return pool.map(&hops_for, std::vector<int>{1, 2, 3, 4}, std::move(options));
    });
    submit(3, [&] { return pool.map(&hops_for, numbers(), {.end_callback = count}); });
    submit(1, [&] {
      return pool.apply([]() -> int { throw std::logic_error("always"); }, {.end_callback = count});
    });
    if (cancels) {
      (void)pool.try_cancel(0);
      if (!groups.empty())
        attempt([&] { groups.front().cancel(); });
      pool.cancel_all();
    }
    attempt([&] { (void)rt.block_on(pool.flush(weir::on_exception::collect)); });
    while (pool.num_running() != 0 || pool.num_waiting_groups() != 0)
      std::this_thread::yield();
  }
};

} // namespace

TEST_CASE("each allocation of a task pool that fails is reported, and nothing accepted is lost",
          "[memory]") {
  const bool cancels = GENERATE(false, true);
  long thrown = 0;
  long ended_early = 0;
  for (long n = 0;; ++n) {
    INFO(n);
    REQUIRE(n < 3000);
    weir::runtime rt{{.workers = 1, .on_unhandled_exception = [](const std::exception_ptr&) {}}};
    rt.submit([] {}).get();
    script steps{rt, cancels};
    steps.groups.reserve(4);
    steps.expected.reserve(4);
    const weir::task_callback count = [&steps](weir::task_id) { ++steps.ends; };
    weir::task_pool pool(
        rt, {.pool_size = 2, .log = [&steps](auto...) { ++steps.lines; }, .history = 100});
    fail_after = n;
    steps.run(pool, count);
    const bool nothing_failed = fail_after >= 0;
    fail_after = -1;
    const auto report = rt.block_on(pool.gather_and_close(weir::on_exception::collect));
    // Every task that has started ends once; a group that has not started all says why.
    std::size_t started = 0;
    for (std::size_t i = 0; i < steps.groups.size(); ++i) {
      const auto ids = steps.groups[i].ids();
      started += ids.size();
      if (!cancels && ids.size() != steps.expected[i]) {
        ++ended_early;
        CHECK(steps.groups[i].error() != nullptr);
        CHECK_THROWS_AS(std::rethrow_exception(steps.groups[i].error()), std::bad_alloc);
      }
    }
    CHECK(steps.ends == static_cast<long>(started));
    const auto s = pool.stats();
    CHECK(s.started == started);
    CHECK(s.waiting == 0);
    CHECK(s.running == 0);
    CHECK(s.ended == s.finished + s.failed + s.cancelled);
    CHECK(pool.num_ended() == 0);
    thrown += steps.thrown;
    if (nothing_failed) {
      CHECK(steps.thrown == 0);
      CHECK(report.groups.empty());
      if (!cancels) {
        CHECK(started == 13);
        CHECK(s.finished == 12);
        CHECK(s.failed == 1);
      }
      break;
    }
  }
  CHECK(thrown > 10);
  if (!cancels)
    CHECK(ended_early > 3);
}

TEST_CASE("without memory for its first task a call throws and leaves no group behind",
          "[memory]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt, {.pool_size = 0, .max_waiting_groups = 1});
  long refused = 0;
  for (long n = 0;; ++n) {
    fail_after = n;
    try {
      auto group = pool.apply(&hops, {.group_name = "g"});
      fail_after = -1;
      CHECK(pool.stats().waiting == 1);
      break;
    } catch (const std::bad_alloc&) {
      fail_after = -1;
      ++refused;
    }
    CHECK(pool.num_waiting_groups() == 0);
    CHECK(pool.stats().accepted == 0);
    CHECK_THROWS_AS(pool.get_group_ids("g"), weir::task_group_not_found);
  }
  CHECK(refused > 3);
  pool.set_pool_size(1);
  const auto report = rt.block_on(pool.gather_and_close()); // throws nothing: no group has failed
  CHECK(report.finished == 1);
  CHECK(report.groups.empty());
}

TEMPLATE_TEST_CASE("a queue that has no memory for its order loses nothing", "[memory]", weir::lifo,
                   weir::priority) {
  constexpr bool weighs = std::is_same_v<TestType, weir::priority>;
  constexpr int count = 1200;
  constexpr int weights = 12; // more than it has lines for
  long refused = 0;
  long n = 0;
  for (;; ++n) {
    INFO(n);
    REQUIRE(n < 3000);
    std::vector<std::pair<int, int>> order;
    order.reserve(count);
    std::atomic<int> ran{0};
    weir::runtime rt{{.workers = 1}};
    weir::fixed_pool<TestType> pool(rt, {.size = 1});
    test::gate gate;
    test::gate inside;
    auto running = pool.submit_nowait([&] {
      inside.open();
      gate.pass();
    });
    inside.pass();
    struct call {
      std::vector<std::pair<int, int>>* order;
      std::atomic<int>* ran;
      std::pair<int, int> weight_and_number;
    };
    std::vector<call> calls;
    for (int i = 0; i < count; ++i)
      calls.push_back({&order, &ran, {weighs ? i % weights : 0, i}});
    int accepted = 0;
    fail_after = n;
    for (const call& each : calls) {
      try {
        const auto run = [c = &each] {
          c->order->push_back(c->weight_and_number);
          ++*c->ran;
        };
        if constexpr (weighs)
          pool.post({.weight = each.weight_and_number.first}, run);
        else
          pool.post(run);
        ++accepted;
      } catch (const std::bad_alloc&) {
        ++refused;
      }
    }
    gate.open();
    test::eventually([&] { return ran == accepted; });
    const bool nothing_failed = fail_after >= 0;
    fail_after = -1;
    running.get();
    rt.block_on(pool.close());
    CHECK(order.size() == static_cast<std::size_t>(accepted));
    CHECK((weighs ? std::is_sorted(order.begin(), order.end())
                  : std::is_sorted(order.rbegin(), order.rend())));
    if (nothing_failed)
      break;
  }
  CHECK(refused > 0);
  CHECK(n > refused); // allocations whose failure refused nothing
}

TEST_CASE("A-15: a name for a group costs the same however many there are", "[memory][A-15]") {
  weir::runtime rt{{.workers = 1}};
  weir::task_pool pool(rt);
  const auto make = [&](int count) {
    const long before = allocations;
    for (int i = 0; i < count; ++i)
      (void)pool.apply([] {}, {.num = 0});
    return allocations - before;
  };
  (void)make(100);
  const long early = make(100);
  (void)make(5000);
  const long late = make(100);
  CHECK(pool.apply([] {}, {.num = 0}).name() == "apply-task-group-5300");
  // A search for a free name would make thousands of names for each.
  CHECK(late < early + 200);
}
