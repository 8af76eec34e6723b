// SPDX-License-Identifier: MIT
// What allocates, what wakes, and what happens when allocation fails.
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <new>
#include <vector>

#include <catch.hpp>
#include <support/failing_new.hpp>
#include <support/support.hpp>

using test::allocations;
using test::deallocations;
using test::fail_after;

namespace {

struct payload {
  std::atomic<long>* counter;
  std::array<char, 40> bytes;
  void operator()() const { ++*counter; }
};
static_assert(sizeof(payload) == 48);

} // namespace

TEST_CASE("posting 48 bytes allocates nothing once the queue has grown to the load",
          "[allocation]") {
  std::atomic<long> ran{0};
  weir::runtime rt{{.workers = 2}};
  const auto burst = [&] {
    const long before = ran;
    for (int i = 0; i < 10'000; ++i)
      rt.post(payload{&ran, {}});
    test::eventually([&] { return ran == before + 10'000; });
  };
  // Blocks of the queue return to it when they have been emptied, so that the same load needs no
  // new ones; how far the workers lag behind differs from burst to burst, hence several to grow.
  for (int i = 0; i < 50; ++i)
    burst();
  long fewest = 1'000'000;
  for (int i = 0; i < 10; ++i) {
    const long before = allocations;
    burst();
    fewest = std::min(fewest, allocations - before);
  }
  CHECK(fewest == 0);
}

TEST_CASE("posting from a worker allocates nothing once its cache is warm", "[allocation]") {
  if (test::sanitized)
    return; // the frame cache is off, so that the sanitizer sees each frame
  std::atomic<long> ran{0};
  weir::runtime rt{{.workers = 1}};
  long counted = -1;
  for (int i = 0; i < 3; ++i) {
    rt.submit([&] {
        const long before = allocations;
        for (int k = 0; k < 20; ++k)
          rt.post(payload{&ran, {}});
        counted = allocations - before;
      }).get();
    test::eventually([&] { return ran == (i + 1) * 20; });
  }
  CHECK(counted == 0);
}

TEST_CASE("awaiting tasks allocates nothing once the cache is warm", "[allocation]") {
  if (test::sanitized)
    return;
  weir::runtime rt{{.workers = 1}};
  struct body {
    static weir::task<int> leaf(int i) { co_return i; }
    static weir::task<long> count() {
      long sum = 0;
      for (int i = 0; i < 100; ++i)
        sum += co_await leaf(1);
      const long before = allocations;
      for (int i = 0; i < 1000; ++i)
        sum += co_await leaf(1);
      const long made = allocations - before;
      co_return sum == 1100 ? made : -1;
    }
  };
  CHECK(rt.block_on(body::count()) == 0);
}

TEST_CASE("waiting for each other allocates nothing once the cache is warm", "[allocation]") {
  if (test::sanitized)
    return;
  weir::runtime rt{{.workers = 1}};
  struct body {
    weir::semaphore permits{0};
    weir::mutex m;
    weir::condition changed;
    weir::event set;
    weir::barrier both{2};
    weir::queue<int> items{1};
    weir::strand turns;
    int value = 0;
    long counted = -1;

    explicit body(weir::runtime& on) : turns(on) {}

    weir::task<> give(int i) {
      co_await weir::yield(); // the other one waits
      permits.release();
      co_await both.arrive_and_wait();
      auto guard = co_await m.scoped_lock();
      value = i;
      changed.notify_one();
      guard.unlock();
      co_await items.push(i);
      co_await items.push(i); // waits for room
      turns.post([this] { set.set(); });
    }
    weir::task<> take(int i) {
      co_await permits.acquire();
      auto guard = co_await m.scoped_lock();
      co_await both.arrive_and_wait();
      while (value != i)
        co_await changed.wait(guard);
      guard.unlock();
      (void)co_await items.pop();
      (void)co_await items.pop();
      co_await set.wait();
      set.reset();
      const auto turn = co_await turns.enter();
    }
    weir::task<> count(weir::runtime& on) {
      long before = 0;
      for (int i = 1; i <= 200; ++i) {
        if (i == 100)
          before = allocations;
        auto other = on.spawn(take(i));
        co_await give(i);
        co_await other;
      }
      counted = allocations - before;
    }
  };
  body all(rt);
  rt.block_on(all.count(rt));
  CHECK(all.counted == 0);
}

TEST_CASE("when_all and with_timeout of tasks allocate nothing but the tasks' frames",
          "[allocation]") {
  if (test::sanitized)
    return;
  weir::runtime rt{{.workers = 1}};
  struct body {
    static weir::task<int> leaf(int i) { co_return i; }
    static weir::task<int> round() {
      auto [a, b] = co_await weir::when_all(leaf(1), leaf(2));
      const int c = co_await weir::with_timeout(leaf(3), std::chrono::hours(1));
      co_return a + b + c;
    }
    static weir::task<long> count() {
      long sum = 0;
      for (int i = 0; i < 100; ++i)
        sum += co_await round();
      const long before = allocations;
      for (int i = 0; i < 1000; ++i)
        sum += co_await round();
      const long made = allocations - before;
      co_return sum == 6600 ? made : -1;
    }
  };
  CHECK(rt.block_on(body::count()) == 0);
}

TEST_CASE("a task group's children take the memory of those that have ended", "[allocation]") {
  if (test::sanitized)
    return; // as above
  weir::runtime rt{{.workers = 1}};
  long counted = -1;
  const auto body = [&counted](weir::task_group& group) -> weir::task<> {
    for (int i = 0; i < 10'000; ++i) {
      const long before = allocations;
      group.submit([] {});
      counted += allocations - before;
      while (group.size() != 0)
        co_await weir::yield();
      if (i == 1'000)
        counted = 0; // the cache is warm
    }
  };
  rt.block_on(weir::with_task_group(body));
  CHECK(counted == 0);
}

TEST_CASE("a task group frees the memory of ended children while others go on", "[allocation]") {
  if (test::sanitized)
    return; // as above
  // Many more than a thread's cache keeps, so that they are seen to be freed.
  weir::runtime rt{{.workers = 1}};
  long kept = 0;
  const auto body = [&kept](weir::task_group& group) -> weir::task<> {
    weir::event last;
    group.submit([&last]() -> weir::task<> { co_await last.wait(); });
    for (int i = 0; i < 100'000; ++i)
      group.submit([] {});
    const long before = deallocations;
    while (group.size() != 1)
      co_await weir::yield();
    kept = 100'000 - (deallocations - before);
    last.set();
    while (group.size() != 0)
      co_await weir::yield();
  };
  rt.block_on(weir::with_task_group(body));
  CHECK(kept < 10'000);
}

TEST_CASE("submitting to a busy runtime makes no system call", "[allocation]") {
  // Every system call on these paths is a wake-up or a sleep, and those are counted.
  weir::runtime rt{{.workers = 1}};
  std::atomic<bool> stop{false};
  std::atomic<bool> spinning{false};
  auto busy = rt.submit([&] {
    spinning = true;
    while (!stop)
      std::this_thread::yield();
  });
  test::eventually([&] { return spinning.load(); });
  const auto before = rt.stats();
  std::atomic<long> ran{0};
  for (int i = 0; i < 10'000; ++i)
    rt.post([&] { ++ran; });
  const auto after = rt.stats();
  CHECK(after.outside_wakes == before.outside_wakes);
  CHECK(after.total.wakes == before.total.wakes);
  CHECK(after.total.parks == before.total.parks);
  stop = true;
  busy.get();
  rt.drain();
  CHECK(ran == 10'000);
}

TEST_CASE("every allocation that fails is reported, loses nothing accepted and leaks nothing",
          "[allocation]") {
  // A script of calls is run once for each allocation in it, which then fails.
  const auto script = [](weir::runtime& rt, std::atomic<long>& ran, long& expected) {
    auto alive = std::make_shared<int>(0);
    rt.post([&ran] { ++ran; });
    ++expected;
    rt.post([&ran, alive, large = std::array<char, 100>()] { ran += large[0] + 1; });
    ++expected;
    auto handle = rt.submit([&ran, alive] { ++ran; });
    ++expected;
    std::vector<payload> bulk(100, payload{&ran, {}});
    rt.post_bulk(bulk);
    expected += 100;
    auto handles = rt.submit_bulk(bulk);
    expected += 100;
    auto coroutine = rt.submit(
        [](std::atomic<long>& count) -> weir::task<> {
          co_await weir::yield();
          ++count;
        },
        std::ref(ran));
    ++expected;
    weir::fixed_pool<> pool{rt, {.size = 2, .queue_maxsize = 4}};
    for (int i = 0; i < 4; ++i)
      expected += pool.try_submit([&ran] { ++ran; }).has_value();
    // Closing must work without memory; the pool's destructor would cancel what waits.
    rt.block_on(pool.close());
  };
  long failures = 0;
  for (long n = 0; n < 2000; ++n) {
    std::atomic<long> ran{0};
    // Tasks that could not make their coroutine, say: their handles are dropped.
    std::atomic<long> reported{0};
    long expected = 0;
    bool failed = false;
    {
      weir::runtime rt{
          {.workers = 2, .on_unhandled_exception = [&](std::exception_ptr) { ++reported; }}};
      rt.submit([] {}).get();
      fail_after = n;
      try {
        script(rt, ran, expected);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      fail_after = -1;
      // Usable afterwards.
      CHECK(rt.submit([] { return 1; }).get() == 1);
      rt.drain();
    }
    failures += failed;
    if (!failed) {
      CHECK(ran + reported == expected);
      break;
    }
    REQUIRE(n < 1999);
  }
  CHECK(failures > 3);
}
