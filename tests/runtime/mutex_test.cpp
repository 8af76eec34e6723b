// SPDX-License-Identifier: MIT
// weir::mutex and weir::condition.
#include <weir/condition.hpp>
#include <weir/event.hpp>
#include <weir/mutex.hpp>
#include <weir/this_task.hpp>

#include <atomic>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using test::code_of;
using test::ending;
using test::ending_of;
using test::settle;
using test::with_workers;

namespace {

static_assert(!std::is_copy_constructible_v<weir::mutex_guard>);

weir::task<> lock_and_note(weir::mutex& m, std::vector<int>& order, int name) {
  const auto guard = co_await m.scoped_lock();
  order.push_back(name);
}

weir::task<> lock_and_unlock(weir::mutex& m) {
  co_await m.lock();
  m.unlock();
}

weir::task<> lock_and_keep(weir::mutex& m) {
  co_await m.lock();
}

/// Waits for the condition; says how it ended and whether it had the mutex then. Counts itself in
/// `waiting`, if there is one, while it has the mutex before.
struct waited {
  bool cancelled = false;
  bool had_mutex = false;
};
weir::task<waited> wait_once(weir::mutex& m, weir::condition& c,
                             std::atomic<int>* waiting = nullptr) {
  waited result;
  weir::mutex_guard guard = co_await m.scoped_lock();
  if (waiting != nullptr)
    ++*waiting;
  try {
    co_await c.wait(guard);
  } catch (const weir::task_cancelled&) {
    result.cancelled = true;
  }
  result.had_mutex = guard.owns_lock() && !m.try_lock();
  co_return result;
}

} // namespace

TEST_CASE("a mutex is locked once at a time", "[mutex]") {
  weir::mutex m;
  CHECK(m.try_lock());
  CHECK_FALSE(m.try_lock());
  m.unlock();
  CHECK(m.try_lock());
  m.unlock();
  CHECK(code_of([&] { m.unlock(); }) == weir::errc::not_locked);
  CHECK(m.try_lock());
}

TEST_CASE("a guard unlocks when it ends, and only once", "[mutex]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  const auto inside = [&m]() -> weir::task<bool> {
    weir::mutex_guard guard = co_await m.scoped_lock();
    weir::mutex_guard other = std::move(guard);
    const bool good = !guard.owns_lock() && other.owns_lock() && other.mutex() == &m;
    other.unlock();
    other.unlock(); // nothing
    const bool free = m.try_lock();
    guard = weir::mutex_guard(m);
    co_return good&& free&& guard.owns_lock();
  };
  CHECK(rt.submit(inside).get());
  CHECK(m.try_lock());
  m.unlock();
  rt.block_on(m.lock());
  CHECK_FALSE(m.try_lock());
  m.unlock();
  {
    const weir::mutex_guard guard = rt.block_on(m.scoped_lock());
    CHECK_FALSE(m.try_lock());
  }
  CHECK(m.try_lock());
}

TEST_CASE("a mutex is handed over in the order of the requests", "[mutex]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  REQUIRE(m.try_lock());
  std::vector<int> order;
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(rt.spawn(lock_and_note(m, order, i)));
  settle(rt);
  CHECK(handles[2].request_stop());
  CHECK(ending_of(handles[2]) == ending::cancelled);
  m.unlock();
  for (const std::size_t i : {0U, 1U, 3U, 4U})
    handles[i].get();
  CHECK(order == std::vector<int>{0, 1, 3, 4});
  CHECK(m.try_lock());
}

TEST_CASE("an unlocked mutex that was handed over is not free for others", "[mutex]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  REQUIRE(m.try_lock());
  auto next = rt.spawn(lock_and_keep(m));
  settle(rt);
  m.unlock();
  CHECK_FALSE(m.try_lock());
  next.get();
  CHECK_FALSE(m.try_lock());
}

TEST_CASE("a mutex excludes, over suspensions and threads", "[mutex][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::mutex m;
    long plain = 0; // a race here is the sanitizer's to find
    const int times = test::rounds(500);
    const auto add = [&](int count) -> weir::task<> {
      for (int i = 0; i < count; ++i) {
        const auto guard = co_await m.scoped_lock();
        const long seen = plain;
        if (i % 8 == 0)
          co_await weir::yield();
        plain = seen + 1;
      }
    };
    std::vector<weir::handle<void>> handles;
    for (int i = 0; i < 10; ++i)
      handles.push_back(rt.submit(add, times));
    for (auto& handle : handles)
      handle.get();
    CHECK(plain == 10L * times);
  }
}

TEST_CASE("of an unlock and a cancellation exactly one wins", "[mutex][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(1500); ++round) {
      weir::mutex m;
      (void)m.try_lock();
      auto waits = rt.spawn(lock_and_keep(m));
      auto behind = rt.spawn(lock_and_unlock(m));
      if (round % 3 == 0)
        std::this_thread::yield();
      auto unlocked = rt.submit([&m, round] {
        test::stagger(round);
        m.unlock();
      });
      test::stagger(round * 7);
      waits.request_stop();
      if (ending_of(waits) == ending::value) {
        unlocked.get();
        wrong += m.try_lock() ? 1 : 0; // it has it, or the one behind has
        m.unlock();
      } else {
        unlocked.get();
      }
      behind.get();
      wrong += m.try_lock() ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a condition lets its waiters go on one by one, in order", "[condition]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  weir::condition c;
  std::vector<int> order;
  const auto wait = [&](int name) -> weir::task<> {
    weir::mutex_guard guard = co_await m.scoped_lock();
    co_await c.wait(guard);
    order.push_back(name);
  };
  c.notify_one(); // nobody waits: nothing is kept
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 4; ++i)
    handles.push_back(rt.submit(wait, i));
  settle(rt);
  CHECK(order.empty());
  CHECK(m.try_lock()); // waiting gives it back
  m.unlock();
  c.notify_one();
  handles[0].get();
  c.notify_one();
  handles[1].get();
  settle(rt);
  CHECK_FALSE(handles[2].done());
  c.notify_all();
  handles[2].get();
  handles[3].get();
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK(m.try_lock());
}

TEST_CASE("a notified task goes on when it gets the mutex", "[condition]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  weir::condition c;
  auto first = rt.spawn(wait_once(m, c));
  auto second = rt.spawn(wait_once(m, c));
  settle(rt);
  REQUIRE(m.try_lock());
  c.notify_all();
  settle(rt);
  CHECK_FALSE(first.done());
  CHECK_FALSE(second.done());
  m.unlock();
  const waited ended = first.get();
  CHECK_FALSE(ended.cancelled);
  CHECK(ended.had_mutex);
  CHECK(second.get().had_mutex);
  CHECK(m.try_lock());
}

TEST_CASE("waiting for a predicate looks again after each notification", "[condition]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  weir::condition c;
  int value = 0;
  int looked = 0;
  const auto wait = [&]() -> weir::task<int> {
    weir::mutex_guard guard = co_await m.scoped_lock();
    const auto large_enough = [&] {
      ++looked;
      return value >= 2;
    };
    co_await c.wait(guard, large_enough);
    co_return value;
  };
  auto waiting = rt.submit(wait);
  for (int i = 0; i < 2; ++i) {
    settle(rt);
    CHECK_FALSE(waiting.done());
    REQUIRE(m.try_lock());
    ++value;
    m.unlock();
    c.notify_one();
  }
  CHECK(waiting.get() == 2);
  CHECK(looked == 3);
  CHECK(rt.submit(wait).get() == 2); // holds at once: no wait
}

TEST_CASE("waiting without the mutex is refused by name", "[condition]") {
  weir::runtime rt(with_workers(1));
  weir::condition c;
  const auto wait = [&c]() -> weir::task<> {
    weir::mutex_guard empty;
    co_await c.wait(empty);
  };
  CHECK(code_of([&] { rt.submit(wait).get(); }) == weir::errc::not_locked);
}

TEST_CASE("a cancelled wait has the mutex again before it throws", "[condition]") {
  weir::runtime rt(with_workers(1));
  weir::mutex m;
  weir::condition c;
  SECTION("the mutex is free") {
    auto waiting = rt.spawn(wait_once(m, c));
    settle(rt);
    CHECK(waiting.request_stop());
    const waited ended = waiting.get();
    CHECK(ended.cancelled);
    CHECK(ended.had_mutex);
  }
  SECTION("the mutex is held: nothing cancels waiting for it") {
    auto waiting = rt.spawn(wait_once(m, c));
    settle(rt);
    REQUIRE(m.try_lock());
    CHECK(waiting.request_stop());
    settle(rt);
    CHECK_FALSE(waiting.done());
    c.notify_all(); // it does not wait for this any more
    settle(rt);
    CHECK_FALSE(waiting.done());
    m.unlock();
    const waited ended = waiting.get();
    CHECK(ended.cancelled);
    CHECK(ended.had_mutex);
  }
  SECTION("it was notified before and waits for the mutex: not cancelled") {
    auto waiting = rt.spawn(wait_once(m, c));
    settle(rt);
    REQUIRE(m.try_lock());
    c.notify_one();
    CHECK(waiting.request_stop());
    m.unlock();
    const waited ended = waiting.get();
    CHECK_FALSE(ended.cancelled);
    CHECK(ended.had_mutex);
  }
  CHECK(m.try_lock());
}

TEST_CASE("stopping the runtime ends waits for a condition", "[condition]") {
  for (const auto workers : test::worker_counts) {
    weir::mutex m;
    weir::condition c;
    std::atomic<int> waiting{0};
    weir::runtime rt(with_workers(workers));
    std::vector<weir::handle<waited>> handles;
    for (int i = 0; i < 20; ++i)
      handles.push_back(rt.spawn(wait_once(m, c, &waiting)));
    test::eventually([&] { return waiting == 20; });
    // All have unlocked when the mutex can be locked here.
    rt.block_on(m.lock());
    m.unlock();
    rt.stop();
    for (auto& handle : handles) {
      const waited ended = handle.get();
      CHECK(ended.cancelled);
      CHECK(ended.had_mutex);
    }
    CHECK(m.try_lock());
  }
}

TEST_CASE("a notification is never lost to a cancelled wait", "[condition][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(1000); ++round) {
      weir::mutex m;
      weir::condition c;
      std::atomic<int> waiting{0};
      const auto wait = [&]() -> weir::task<waited> {
        waited result;
        weir::mutex_guard guard = co_await m.scoped_lock();
        ++waiting;
        try {
          co_await c.wait(guard);
        } catch (const weir::task_cancelled&) {
          result.cancelled = true;
        }
        result.had_mutex = !m.try_lock();
        co_return result;
      };
      auto first = rt.submit(wait);
      auto second = rt.submit(wait);
      test::eventually([&] { return waiting == 2; });
      // Both have unlocked when the mutex can be locked here.
      rt.block_on(m.lock());
      m.unlock();
      auto notified = rt.submit([&c, round] {
        test::stagger(round);
        c.notify_one();
      });
      test::stagger(round * 7);
      first.request_stop();
      second.request_stop();
      const waited a = first.get();
      const waited b = second.get();
      notified.get();
      wrong += a.had_mutex && b.had_mutex ? 0 : 1;
      wrong += m.try_lock() ? 0 : 1;
      // Two waits, one notification: at most one of them was notified.
      wrong += !a.cancelled && !b.cancelled ? 1 : 0;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a notification reaches one of two although the other is cancelled",
          "[condition][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(1000); ++round) {
      weir::mutex m;
      weir::condition c;
      std::atomic<int> waiting{0};
      const auto wait = [&]() -> weir::task<> {
        weir::mutex_guard guard = co_await m.scoped_lock();
        ++waiting;
        co_await c.wait(guard);
      };
      auto first = rt.submit(wait);
      auto second = rt.submit(wait);
      test::eventually([&] { return waiting == 2; });
      rt.block_on(m.lock());
      m.unlock();
      auto notified = rt.submit([&c, round] {
        test::stagger(round);
        c.notify_one();
      });
      test::stagger(round * 7);
      first.request_stop();
      notified.get();
      // A lost notification would leave the second one waiting.
      const bool got_it = ending_of(first) == ending::value;
      if (got_it)
        second.request_stop();
      wrong += ending_of(second) == (got_it ? ending::cancelled : ending::value) ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}
