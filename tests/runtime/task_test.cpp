// SPDX-License-Identifier: MIT
// task<T>: results of every kind, exceptions, depth, and the compiler traps that weir works around.
#include <weir/weir.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <catch.hpp>
#include <support/support.hpp>

namespace {

weir::task<int> number(int value) {
  co_return value;
}

weir::task<std::unique_ptr<int>> move_only(int value) {
  co_return std::make_unique<int>(value);
}

weir::task<int&> reference(int& target) {
  co_return target;
}

weir::task<> nothing(int& calls) {
  ++calls;
  co_return;
}

weir::task<int> throws() {
  throw std::runtime_error("from below");
  co_return 0;
}

weir::task<long> sum_of(long count) {
  long sum = 0;
  for (long i = 0; i < count; ++i)
    sum += co_await number(1);
  co_return sum;
}

weir::task<long> deep(long depth) {
  if (depth == 0)
    co_return 0;
  const long below = co_await deep(depth - 1);
  co_return below + 1;
}

weir::task<long> deep_then_yield(long depth) {
  if (depth == 0) {
    co_await weir::yield();
    co_return 0;
  }
  const long below = co_await deep_then_yield(depth - 1);
  co_return below + 1;
}

weir::task<long> deep_throw(long depth) {
  if (depth == 0)
    throw std::runtime_error("bottom");
  const long below = co_await deep_throw(depth - 1);
  co_return below + 1;
}

weir::task<long> yields(long count) {
  for (long i = 0; i < count; ++i)
    co_await weir::yield();
  co_return count;
}

/// Counts its live instances: what is created must be destroyed once.
struct counted {
  explicit counted(int& live) : live_(&live) { ++*live_; }
  counted(const counted& other) : live_(other.live_) { ++*live_; }
  counted(counted&& other) noexcept : live_(other.live_) { ++*live_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*live_; }
  int* live_;
};

weir::task<int> holds(counted first, std::string text) {
  const counted second = first;
  co_return static_cast<int>(text.size());
}

weir::task<counted> gives(int& live) {
  co_return counted(live);
}

} // namespace

TEST_CASE("a task gives values, references, nothing and move-only results", "[task]") {
  weir::runtime rt{{.workers = 2}};
  CHECK(rt.block_on(number(42)) == 42);
  CHECK(*rt.block_on(move_only(7)) == 7);
  int target = 1;
  int& got = rt.block_on(reference(target));
  CHECK(&got == &target);
  int calls = 0;
  rt.block_on(nothing(calls));
  CHECK(calls == 1);
}

TEST_CASE("a task that is never awaited never runs and frees its parameters", "[task]") {
  int calls = 0;
  int live = 0;
  {
    auto unused = nothing(calls);
    auto also_unused = holds(counted(live), std::string(100, 'x'));
    CHECK(live == 1);
    CHECK(static_cast<bool>(unused));
  }
  CHECK(calls == 0);
  CHECK(live == 0);
}

TEST_CASE("parameters, locals and results of tasks are destroyed exactly once", "[task]") {
  int live = 0;
  weir::runtime rt{{.workers = 1}};
  CHECK(rt.block_on(holds(counted(live), std::string(100, 'x'))) == 100);
  CHECK(live == 0);
  {
    const counted got = rt.block_on(gives(live));
    CHECK(live == 1);
  }
  CHECK(live == 0);
}

TEST_CASE("an exception is thrown where the task is awaited", "[task]") {
  weir::runtime rt{{.workers = 2}};
  CHECK_THROWS_WITH(rt.block_on(throws()), "from below");
  const auto catches = []() -> weir::task<std::string> {
    std::string text;
    try {
      co_await throws();
    } catch (const std::runtime_error& e) {
      text = e.what();
    }
    co_return text;
  };
  CHECK(rt.block_on(catches()) == "from below");
}

TEST_CASE("a million awaits in a loop run in bounded stack", "[task]") {
  weir::runtime rt{{.workers = 2}};
  const long count = test::rounds(1'000'000);
  CHECK(rt.block_on(sum_of(count)) == count);
}

TEST_CASE("a recursion a million deep runs in bounded stack", "[task]") {
  weir::runtime rt{{.workers = 2}};
  const long depth = test::rounds(1'000'000);
  CHECK(rt.block_on(deep(depth)) == depth);
  CHECK(rt.block_on(deep_then_yield(depth)) == depth);
  CHECK_THROWS_WITH(rt.block_on(deep_throw(depth / 10)), "bottom");
}

TEST_CASE("recursion is bounded by memory on a worker with a small stack too", "[task]") {
  weir::runtime rt{{.workers = 1, .stack_size = 1024 * 1024}};
  const long depth = test::rounds(200'000);
  CHECK(rt.block_on(deep(depth)) == depth);
}

TEST_CASE("a yielding task goes on after each yield", "[task]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const long count = test::rounds(20'000);
    CHECK(rt.block_on(yields(count)) == count);
  }
}

TEST_CASE("awaiting an empty or used task throws no_state", "[task]") {
  weir::runtime rt{{.workers = 1}};
  const auto awaits_empty = []() -> weir::task<> {
    weir::task<int> empty;
    co_await empty;
  };
  const auto awaits_twice = []() -> weir::task<> {
    auto once = number(1);
    co_await once;
    co_await once;
  };
  for (auto* body : {+awaits_empty, +awaits_twice}) {
    try {
      rt.block_on(body());
      FAIL("no exception");
    } catch (const weir::error& e) {
      CHECK(e.code() == weir::errc::no_state);
    }
  }
  CHECK_THROWS_AS(rt.spawn(weir::task<int>()), weir::error);
}

TEST_CASE("conditions and switches on awaited values work as GCC 12 needs them written", "[task]") {
  // GCC 12 miscompiles `if (co_await x)` in a coroutine without locals, and destroys a capturing
  // closure twice that is made inside a co_await expression. These are the forms that
  // docs/getting-started.md tells users to write.
  weir::runtime rt{{.workers = 2}};
  int live = 0;
  const auto body = [](weir::runtime& on, int& alive) -> weir::task<int> {
    const int one = co_await number(1);
    int result = 0;
    if (one == 1)
      result += 1;
    const counted captured(alive);
    const auto closure = [captured, text = std::string(100, 'y')] {
      return static_cast<int>(text.size());
    };
    auto handle = on.submit(closure);
    result += co_await handle;
    co_return result;
  };
  CHECK(rt.block_on(body(rt, live)) == 101);
  CHECK(live == 0);
}

TEST_CASE("this_task::stop_token sees the request to stop its own task", "[task]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> started{false};
  // No yield() inside the loop: it throws task_cancelled where the request comes just before it.
  const auto body = [](std::atomic<bool>& flag) -> weir::task<int> {
    co_await weir::yield();
    flag = true;
    while (!weir::this_task::stop_token().stop_requested())
      std::this_thread::yield();
    co_return 7;
  };
  auto handle = rt.submit(body, std::ref(started));
  test::eventually([&] { return started.load(); });
  CHECK_FALSE(handle.done());
  CHECK(handle.request_stop());
  CHECK_FALSE(handle.request_stop());
  CHECK(handle.get() == 7);
  CHECK_FALSE(weir::this_task::stop_token().stop_possible());
}
