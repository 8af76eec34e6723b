// SPDX-License-Identifier: MIT
// Coroutines that fork coroutines: `when_all` as plain calls, and what makes more of them.
#include "support/children.hpp"
#include "support/support.hpp"

#include <atomic>
#include <chrono>
#include <coroutine>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include <catch.hpp>

using namespace std::chrono_literals;

namespace {

weir::task<long> fib(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::when_all(fib(n - 1), fib(n - 2));
  co_return a + b;
}

/// A tree of tasks some of which wait, by a clock, a lock or a yield, before, between or after
/// their children. \return the number of its leaves.
weir::task<long> restless(unsigned seed, int depth, weir::mutex& lock) {
  std::minstd_rand random(seed * 7919 + 17);
  const auto pause = [&random] { return random() % 24; };
  const auto before = pause();
  if (before == 0)
    co_await weir::sleep_for(1us);
  else if (before == 1)
    co_await weir::yield();
  else if (before == 2) {
    const auto held = co_await lock.scoped_lock();
  }
  if (depth == 0)
    co_return 1;
  auto [a, b, c] = co_await weir::when_all(restless(seed * 3 + 1, depth - 1, lock),
                                           restless(seed * 3 + 2, depth - 1, lock),
                                           restless(seed * 3 + 3, depth - 1, lock));
  if (pause() == 0)
    co_await weir::yield();
  // A plain call in between.
  const long again = co_await restless(seed + 1, 0, lock);
  co_return a + b + c + again - 1;
}

weir::task<std::unique_ptr<int>> boxed(int depth) {
  if (depth == 0) {
    auto leaf = std::make_unique<int>(1);
    co_return leaf;
  }
  auto [a, b] = co_await weir::when_all(boxed(depth - 1), boxed(depth - 1));
  *a += *b;
  co_return std::move(a);
}

/// As long as possible: one child at each level, natively nested until the stack is used up.
weir::task<int> chain(int depth) {
  if (depth == 0)
    co_return 0;
  auto [below] = co_await weir::when_all(chain(depth - 1));
  co_return below + 1;
}

weir::task<int> throwing(unsigned seed, int depth, std::atomic<int>& thrown) {
  std::minstd_rand random(seed * 7919 + 17);
  if (random() % 8 == 0)
    co_await weir::yield();
  if (depth == 0) {
    if (random() % 3 == 0) {
      ++thrown;
      throw std::runtime_error("leaf");
    }
    co_return 0;
  }
  int caught = 0;
  try {
    auto [a, b] = co_await weir::when_all(throwing(seed * 2 + 1, depth - 1, thrown),
                                          throwing(seed * 2 + 2, depth - 1, thrown));
    co_return a + b;
  } catch (const std::runtime_error&) {
    ++caught;
  }
  co_return caught;
}

inline constinit weir::context_key<int> level;

int level_now() {
  const int* const value = level.get();
  return value == nullptr ? 0 : *value;
}

/// \return how often a task did not find the level that it should.
weir::task<int> leveled(unsigned seed, int depth, int expected) {
  std::minstd_rand random(seed * 7919 + 17);
  int wrong = level_now() == expected ? 0 : 1;
  const bool deeper = random() % 2 == 0;
  if (depth == 0)
    co_return wrong;
  if (deeper) {
    const weir::context_scope<int> here(level, expected + 1);
    if (random() % 4 == 0)
      co_await weir::yield();
    wrong += level_now() == expected + 1 ? 0 : 1;
    auto [a, b] = co_await weir::when_all(leveled(seed * 2 + 1, depth - 1, expected + 1),
                                          leveled(seed * 2 + 2, depth - 1, expected + 1));
    wrong += a + b + (level_now() == expected + 1 ? 0 : 1);
  } else {
    auto [a, b] = co_await weir::when_all(leveled(seed * 2 + 1, depth - 1, expected),
                                          leveled(seed * 2 + 2, depth - 1, expected));
    wrong += a + b;
  }
  if (random() % 4 == 0)
    co_await weir::yield();
  wrong += level_now() == expected ? 0 : 1;
  co_return wrong;
}

/// Suspends the coroutine and lets another thread resume it, without weir knowing.
class by_stranger {
 public:
  explicit by_stranger(std::thread& thread) noexcept : thread_(&thread) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const {
    *thread_ = std::thread([self] { self.resume(); });
  }
  void await_resume() const noexcept {}

 private:
  std::thread* thread_;
};

weir::task<int> moved_by_stranger(std::thread& thread) {
  co_await by_stranger(thread);
  co_return 1;
}

weir::task<int> above_stranger(std::thread& thread) {
  auto [a, b] = co_await weir::when_all(moved_by_stranger(thread), test::number(2));
  co_return a + b;
}

long plain_fib(int n) {
  if (n < 2)
    return n;
  auto [a, b] = weir::fork_join([=] { return plain_fib(n - 1); }, [=] { return plain_fib(n - 2); });
  return a + b;
}

weir::task<long> mixed(int n) {
  if (n < 8)
    co_return plain_fib(n);
  if (n % 5 == 0)
    co_await weir::yield();
  auto [a, b] = co_await weir::when_all(mixed(n - 1), mixed(n - 2));
  co_return a + b;
}

weir::task<> waits_below(int depth, std::atomic<int>& waiting, std::atomic<int>& stopped) {
  if (depth == 0) {
    co_await test::waits(waiting, stopped, weir::stop_cause::requested);
    co_return;
  }
  co_await weir::when_all(waits_below(depth - 1, waiting, stopped),
                          waits_below(depth - 1, waiting, stopped));
}

/// Forks until `seen`, but not for ever.
weir::task<bool> forks_until(const std::atomic<bool>& seen, int most) {
  for (int i = 0; i < most; ++i) {
    if (seen.load())
      co_return true;
    (void)co_await fib(10);
  }
  co_return false;
}

} // namespace

TEST_CASE("a recursion of coroutines gives the right result", "[fork_coroutine]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(10); ++round)
      CHECK(rt.block_on(fib(18)) == 2584);
    CHECK(*rt.block_on(boxed(8)) == 256);
  }
}

TEST_CASE("children that wait in the midst of a recursion", "[fork_coroutine]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (unsigned round = 0; round < static_cast<unsigned>(test::rounds(30)); ++round) {
      weir::mutex lock;
      CHECK(rt.block_on(restless(round, 6, lock)) == 729);
    }
  }
}

TEST_CASE("a recursion deeper than the native stack and than the fork stack", "[fork_coroutine]") {
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    CHECK(rt.block_on(chain(20'000)) == 20'000);
  }
}

TEST_CASE("each exception of a recursion is thrown or counted once", "[fork_coroutine]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (unsigned round = 0; round < static_cast<unsigned>(test::rounds(50)); ++round) {
      std::atomic<int> thrown{0};
      const auto before = rt.stats();
      (void)rt.block_on(throwing(round, 7, thrown));
      const auto after = rt.stats();
      CHECK(after.grouped_exceptions - before.grouped_exceptions + after.suppressed_exceptions -
                before.suppressed_exceptions ==
            static_cast<std::uint64_t>(thrown.load()));
    }
  }
}

TEST_CASE("the request context stays with the task that set it", "[fork_coroutine]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (unsigned round = 0; round < static_cast<unsigned>(test::rounds(50)); ++round)
      CHECK(rt.block_on(leveled(round, 7, 0)) == 0);
  }
}

TEST_CASE("a child that something else than weir suspends and resumes", "[fork_coroutine]") {
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(50); ++round) {
      std::thread first;
      std::thread second;
      const auto both = [&]() -> weir::task<int> {
        auto [a, b] = co_await weir::when_all(above_stranger(first), above_stranger(second));
        co_return a + b;
      };
      CHECK(rt.block_on(both()) == 6);
      first.join();
      second.join();
    }
  }
}

TEST_CASE("functions fork inside of coroutines that fork", "[fork_coroutine]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(20); ++round)
      CHECK(rt.block_on(mixed(16)) == 987);
  }
}

TEST_CASE("a stop request reaches all leaves of a recursion", "[fork_coroutine]") {
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    std::atomic<int> waiting{0};
    std::atomic<int> stopped{0};
    auto h = rt.spawn(waits_below(5, waiting, stopped));
    test::eventually([&] { return waiting.load() == 32; });
    h.request_stop();
    CHECK_THROWS_AS(h.get(), weir::task_cancelled);
    CHECK(stopped.load() == 32);
  }
}

TEST_CASE("a stopped task starts no further children", "[fork_coroutine]") {
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt({.workers = workers});
    std::atomic<int> calls{0};
    std::atomic<bool> inside{false};
    std::atomic<bool> ready{false};
    const auto is_stopped = [&]() -> weir::task<> {
      inside = true;
      ready.wait(false);
      co_await weir::when_all(test::count(calls), test::count(calls));
    };
    auto h = rt.spawn(is_stopped());
    test::eventually([&] { return inside.load(); });
    h.request_stop();
    ready = true;
    ready.notify_all();
    CHECK_THROWS_AS(h.get(), weir::task_cancelled);
    CHECK(calls.load() == 0);
  }
}

TEST_CASE("tasks from outside and timers run in the midst of a long recursion on one worker",
          "[fork_coroutine]") {
  weir::runtime rt({.workers = 1});
  constexpr int most = test::sanitized ? 200'000 : 2'000'000;
  {
    std::atomic<bool> seen{false};
    std::atomic<bool> begun{false};
    const auto region = [&]() -> weir::task<bool> {
      begun = true;
      begun.notify_all();
      auto [a, b] = co_await weir::when_all(forks_until(seen, most), forks_until(seen, most));
      co_return a&& b;
    };
    auto h = rt.spawn(region());
    begun.wait(false);
    rt.post([&] { seen = true; });
    CHECK(h.get());
  }
  {
    std::atomic<bool> seen{false};
    const auto sleeper = [&]() -> weir::task<> {
      co_await weir::sleep_for(1ms);
      seen = true;
    };
    const auto region = [&]() -> weir::task<bool> {
      auto [a, b] = co_await weir::when_all(sleeper(), forks_until(seen, most));
      (void)a;
      co_return b;
    };
    CHECK(rt.block_on(region()));
  }
  {
    std::atomic<bool> seen{false};
    const auto region = [&]() -> weir::task<bool> {
      auto posted = rt.submit([&] { seen = true; });
      auto [a, b] = co_await weir::when_all(forks_until(seen, most), forks_until(seen, most));
      co_return a&& b;
    };
    CHECK(rt.block_on(region()));
  }
}

TEST_CASE("two children that need each other run on two workers", "[fork_coroutine]") {
  for (const std::size_t workers : {2U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(20); ++round) {
      std::atomic<int> arrived{0};
      const auto meets = [&]() -> weir::task<> {
        ++arrived;
        test::eventually([&] { return arrived.load() == 2; });
        co_return;
      };
      const auto both = [&]() -> weir::task<> {
        auto one = meets();
        auto other = meets();
        co_await weir::when_all(std::move(one), std::move(other));
      };
      rt.block_on(both());
      CHECK(arrived.load() == 2);
    }
  }
}

TEST_CASE("misuse of tasks that are forked", "[fork_coroutine]") {
  weir::runtime rt({.workers = 2});
  const auto empty = []() -> weir::task<> {
    weir::task<int> none;
    auto some = test::number(1);
    co_await weir::when_all(std::move(some), std::move(none));
  };
  CHECK(test::code_of([&] { rt.block_on(empty()); }) == weir::errc::no_state);
}
