// SPDX-License-Identifier: MIT
// as_completed: results one at a time in the order in which they come.
#include <weir/weir.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using test::forever;
using test::number_after_yields;
using weir::stop_cause;

namespace {

std::vector<weir::task<int>> numbers(int count) {
  std::vector<weir::task<int>> tasks;
  for (int i = 0; i < count; ++i)
    tasks.push_back(number_after_yields(10 * i, (count - i) % 4));
  return tasks;
}

} // namespace

TEST_CASE("the body gets every result once, with its index, one at a time", "[as_completed]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    // Plain ints: ThreadSanitizer tells if two calls overlap.
    std::vector<int> calls(50, 0);
    int wrong = 0;
    rt.block_on(weir::as_completed(numbers(50), [&](std::size_t index, int value) {
      ++calls[index];
      wrong += value == 10 * static_cast<int>(index) ? 0 : 1;
    }));
    CHECK(wrong == 0);
    CHECK(calls == std::vector<int>(50, 1));
  }
}

TEST_CASE("the body may be a coroutine, and results may be moved only or nothing",
          "[as_completed]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int inside = 0;
    int most = 0;
    int sum = 0;
    const auto make = [](int i) -> weir::task<std::unique_ptr<int>> {
      co_return std::make_unique<int>(i);
    };
    std::vector<weir::task<std::unique_ptr<int>>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(make(i));
    rt.block_on(weir::as_completed(std::move(tasks),
                                   [&](std::size_t, std::unique_ptr<int> value) -> weir::task<> {
                                     most = std::max(most, ++inside);
                                     co_await weir::yield();
                                     sum += *value;
                                     --inside;
                                   }));
    CHECK(most == 1);
    CHECK(sum == 45);

    std::atomic<int> ran{0};
    std::vector<weir::task<>> nothings;
    for (int i = 0; i < 5; ++i)
      nothings.push_back(test::count(ran));
    std::size_t indices = 0;
    rt.block_on(weir::as_completed(std::move(nothings), [&](std::size_t i) { indices += i; }));
    CHECK(indices == 10);
    rt.block_on(weir::as_completed(std::vector<weir::task<>>(), [&](std::size_t) { ++indices; }));
    CHECK(indices == 10);
  }
}

TEST_CASE("results come in the order of completion", "[as_completed]") {
  weir::runtime rt{{.workers = 2}};
  std::vector<std::atomic<bool>> may_end(3);
  const auto waits = [](std::atomic<bool>& go) -> weir::task<> {
    while (!go)
      co_await weir::yield();
  };
  std::vector<weir::task<>> tasks;
  for (auto& flag : may_end)
    tasks.push_back(waits(flag));
  std::vector<std::size_t> order;
  may_end[2] = true;
  rt.block_on(weir::as_completed(std::move(tasks), [&](std::size_t index) {
    order.push_back(index);
    if (index == 2)
      may_end[0] = true;
    if (index == 0)
      may_end[1] = true;
  }));
  CHECK(order == std::vector<std::size_t>{2, 0, 1});
}

TEST_CASE("a failing task stops the body and the others, a failing body the tasks",
          "[as_completed]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> stopped{0};
    const auto fails = []() -> weir::task<> {
      co_await weir::yield();
      throw std::runtime_error("of a task");
    };
    std::vector<weir::task<>> tasks;
    tasks.push_back(forever(stopped, stop_cause::sibling_failed));
    tasks.push_back(fails());
    int calls = 0;
    CHECK_THROWS_WITH(
        rt.block_on(weir::as_completed(std::move(tasks), [&](std::size_t) { ++calls; })),
        "of a task");
    CHECK(calls == 0);

    std::vector<weir::task<>> others;
    std::atomic<int> ran{0};
    others.push_back(forever(stopped, stop_cause::sibling_failed));
    others.push_back(test::count(ran));
    CHECK_THROWS_WITH(
        rt.block_on(weir::as_completed(
            std::move(others), [&](std::size_t) { throw std::runtime_error("of the body"); })),
        "of the body");
    CHECK(rt.stats().suppressed_exceptions == 0);
  }
}

TEST_CASE("stop of the parent ends as_completed, also inside the body", "[as_completed]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> waiting{0};
    std::atomic<int> stopped{0};
    const auto waits = [&] { return test::waits(waiting, stopped, stop_cause::requested); };
    const auto parent = [&]() -> weir::task<> {
      std::vector<weir::task<>> tasks;
      std::atomic<bool> set{false};
      tasks.push_back(waits());
      tasks.push_back(test::set(set));
      const auto body = [&](std::size_t) { return waits(); };
      co_await weir::as_completed(std::move(tasks), body);
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 2; });
    handle.request_stop();
    CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
    CHECK(stopped == 2);
  }
}

TEST_CASE("stop races with completions", "[as_completed]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(2000);
    for (int i = 0; i < rounds; ++i) {
      std::atomic<int> live{0};
      std::atomic<int> calls{0};
      const auto body = [&calls](std::size_t, int) { ++calls; };
      auto handle = rt.spawn(test::racing_parent(live, i, [&](std::atomic<int>& l, int r) {
        std::vector<weir::task<int>> tasks;
        for (int k = 0; k < 4; ++k)
          tasks.push_back(test::tracked(l, (r + k) % 3, r % 4 == 0 && k == 2));
        return weir::as_completed(std::move(tasks), body);
      }));
      bool cut_short = i % 4 == 0;
      if (i % 2 == 0) {
        for (int spin = 0; spin < i % 64; ++spin)
          std::atomic_signal_fence(std::memory_order_seq_cst);
        handle.request_stop();
      }
      try {
        handle.get();
      } catch (const weir::task_cancelled&) {
        cut_short = true;
      } catch (const std::runtime_error&) {
      }
      wrong += live == 0 && (cut_short ? calls <= 4 : calls == 4) ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}
