// SPDX-License-Identifier: MIT
// weir::strand: one at a time, in order, over any runtime.
#include <weir/event.hpp>
#include <weir/runtime.hpp>
#include <weir/strand.hpp>
#include <weir/this_task.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
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

/// What must never be used twice at once: not atomic, so that the sanitizer sees an overlap too.
struct exclusive {
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  long used = 0;

  void begin() { overlaps += inside++ == 0 ? 0 : 1; }
  void end() {
    ++used;
    --inside;
  }
  void use() {
    begin();
    end();
  }
};

weir::task<> use_over_suspensions(exclusive& e, int yields) {
  e.begin();
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  e.end();
}

weir::task<> use_in_section(weir::strand& s, exclusive& e, int yields) {
  const auto section = co_await s.enter();
  co_await use_over_suspensions(e, yields);
}

} // namespace

TEST_CASE("what one thread posts runs in order", "[strand]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::strand s(rt);
    std::vector<int> order; // guarded by the strand alone
    const int count = test::rounds(5000);
    for (int i = 0; i < count; ++i) {
      if (i % 3 == 0)
        (void)s.submit([&order](int n) { order.push_back(n); }, i);
      else
        s.post([&order, i] { order.push_back(i); });
    }
    const std::size_t size = s.submit([&order] { return order.size(); }).get();
    CHECK(size == static_cast<std::size_t>(count));
    bool in_order = true;
    for (int i = 0; i < count; ++i)
      in_order = in_order && order[static_cast<std::size_t>(i)] == i;
    CHECK(in_order);
  }
}

TEST_CASE("submitted work gives its result or exception", "[strand]") {
  weir::runtime rt(with_workers(2));
  weir::strand s(rt);
  CHECK(s.submit([](int a, std::unique_ptr<int> b) { return a + *b; }, 1, std::make_unique<int>(2))
            .get() == 3);
  auto failing = s.submit([]() -> int { throw std::runtime_error("no result"); });
  CHECK_THROWS_AS(failing.get(), std::runtime_error);
  const auto coroutine = [](int n) -> weir::task<int> {
    co_await weir::yield();
    co_return n;
  };
  CHECK(s.submit(coroutine, 7).get() == 7);
  CHECK(code_of([&] { s.post(std::function<void()>()); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { (void)s.submit(std::function<int()>()); }) == weir::errc::empty_callable);
}

TEST_CASE("what a posted callable throws goes to the runtime's handler", "[strand]") {
  std::atomic<int> seen{0};
  auto options = with_workers(1);
  options.on_unhandled_exception = [&seen](std::exception_ptr) { ++seen; };
  weir::runtime rt(std::move(options));
  weir::strand s(rt);
  s.post([] { throw std::runtime_error("nobody waits"); });
  s.post([] { throw weir::task_cancelled(); }); // no error
  s.submit([] {}).get();                        // goes on
  CHECK(seen == 1);
}

TEST_CASE("never two at once, from threads, tasks, sections and another runtime",
          "[strand][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::runtime other(with_workers(1));
    weir::strand s(rt);
    exclusive e;
    const int times = test::rounds(400);
    const auto mixed = [&](int seed) -> weir::task<> {
      for (int i = 0; i < times; ++i) {
        switch ((i + seed) % 4) {
        case 0:
          s.post([&e] { e.use(); });
          break;
        case 1:
          co_await use_in_section(s, e, i % 3);
          break;
        case 2:
          co_await s.submit(use_over_suspensions, std::ref(e), i % 3);
          break;
        default:
          co_await s.submit([&e] { e.use(); });
        }
      }
    };
    std::vector<weir::handle<void>> handles;
    for (int i = 0; i < 4; ++i)
      handles.push_back(rt.submit(mixed, i));
    handles.push_back(other.submit(mixed, 1));
    for (int i = 0; i < times; ++i)
      s.post([&e] { e.use(); });
    for (auto& handle : handles)
      handle.get();
    s.submit([] {}).get();
    CHECK(e.overlaps == 0);
    CHECK(e.used == 6L * times);
  }
}

TEST_CASE("a submitted task has its turn until it ends", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  weir::event door;
  bool behind_ran = false;
  const auto waits = [&]() -> weir::task<bool> {
    const bool before = s.on_strand();
    co_await door.wait();
    co_return before&& s.on_strand() && !behind_ran;
  };
  auto first = s.submit(waits);
  auto behind = s.submit([&] { behind_ran = true; });
  settle(rt);
  settle(rt);
  CHECK_FALSE(behind.done());
  door.set();
  CHECK(first.get());
  behind.get();
}

TEST_CASE("sections and callables have their turns in the order in which they came", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  weir::event door;
  std::vector<int> order;
  const auto section = [&](int name) -> weir::task<> {
    auto turn = co_await s.enter();
    order.push_back(name);
    if (name == 0)
      co_await door.wait();
    turn.leave();
    turn.leave(); // nothing
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 6; ++i) {
    if (i % 2 == 0)
      handles.push_back(rt.submit(section, i));
    else
      handles.push_back(s.submit([&order, i] { order.push_back(i); }));
    settle(rt);
  }
  CHECK(order == std::vector<int>{0});
  door.set();
  for (auto& handle : handles)
    handle.get();
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("on_strand tells who has the turn", "[strand]") {
  weir::runtime rt(with_workers(2));
  weir::strand s(rt);
  weir::strand other(rt);
  CHECK_FALSE(s.on_strand());
  CHECK(s.submit([&] { return s.on_strand() && !other.on_strand(); }).get());
  std::atomic<int> posted{-1};
  s.post([&] { posted = s.on_strand() ? 1 : 0; });
  test::eventually([&] { return posted >= 0; });
  CHECK(posted == 1);
  const auto section = [&]() -> weir::task<bool> {
    bool good = !s.on_strand();
    {
      const auto turn = co_await s.enter();
      good = good && s.on_strand() && turn.entered();
      co_await weir::yield();
      good = good && s.on_strand();
    }
    co_return good && !s.on_strand();
  };
  CHECK(rt.submit(section).get());
  {
    const auto turn = rt.block_on(s.enter()); // this thread has it now
    CHECK(turn.entered());
    CHECK(s.on_strand());
    CHECK_FALSE(rt.submit([&] { return s.on_strand(); }).get());
  }
  CHECK_FALSE(s.on_strand());
  CHECK_FALSE(rt.submit([&] { return s.on_strand(); }).get());
}

TEST_CASE("a second section inside the first is refused by name", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  const auto nested = [&]() -> weir::task<> {
    const auto turn = co_await s.enter();
    const auto second = co_await s.enter();
  };
  CHECK(code_of([&] { rt.submit(nested).get(); }) == weir::errc::would_deadlock);
  const auto task = [&]() -> weir::task<> { const auto turn = co_await s.enter(); };
  CHECK(code_of([&] { s.submit(task).get(); }) == weir::errc::would_deadlock);
  s.submit([] {}).get(); // nobody has the turn
}

TEST_CASE("a cancelled wait for a section gives up its place", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  exclusive e;
  auto turn = rt.block_on(s.enter());
  auto first = rt.spawn(use_in_section(s, e, 0));
  auto second = rt.spawn(use_in_section(s, e, 0));
  auto third = rt.spawn(use_in_section(s, e, 0));
  settle(rt);
  CHECK(first.request_stop());
  CHECK(ending_of(first) == ending::cancelled);
  CHECK(third.request_stop());
  CHECK(ending_of(third) == ending::cancelled);
  CHECK_FALSE(second.done());
  turn.leave();
  second.get();
  CHECK(e.used == 1);
  s.submit([] {}).get();
}

TEST_CASE("a submitted task that is cancelled in the queue never starts", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  test::gate door;
  bool started = false;
  s.post([&] { door.pass(); });
  auto cancelled = s.submit([&] { started = true; });
  auto behind = s.submit([] {});
  CHECK(cancelled.request_stop());
  CHECK(ending_of(cancelled) == ending::cancelled);
  door.open();
  behind.get();
  CHECK_FALSE(started);
}

TEST_CASE("after 64 turns other work comes first", "[strand]") {
  weir::runtime rt(with_workers(1));
  weir::strand s(rt);
  test::gate door;
  int turns = 0;
  s.post([&] { door.pass(); });
  for (int i = 0; i < 1000; ++i)
    s.post([&turns] { ++turns; });
  auto other = rt.submit([&turns] { return turns; });
  door.open();
  CHECK(other.get() <= 64);
  s.submit([] {}).get();
  CHECK(turns == 1000);
}

TEST_CASE("what a turn wakes does not wait for the next turn", "[strand]") {
  test::gate ready;
  test::gate door; // the strand's last turn may still be leaving it when the waiter has ended
  weir::runtime rt(with_workers(2));
  weir::strand s(rt);
  auto first = s.submit([&] { ready.pass(); });
  const auto waits = [&]() -> weir::task<> {
    co_await first;
    door.open();
  };
  auto waiting = rt.submit(waits);
  settle(rt);
  s.post([&] { door.pass(); }); // blocks the strand's worker until the waiter has run
  ready.open();
  waiting.get();
}

TEST_CASE("stopping drops what is queued", "[strand]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::strand s(rt);
    test::gate door;
    std::atomic<bool> started{false};
    std::atomic<int> ran{0};
    const auto alive = std::make_shared<int>(0);
    auto running = s.submit([&] {
      started = true;
      door.pass();
    });
    std::vector<weir::handle<void>> queued;
    for (int i = 0; i < 200; ++i) {
      queued.push_back(s.submit([&ran, alive] { ++ran; }));
      s.post([&ran, alive] { ++ran; });
    }
    const auto coroutine = [&ran]() -> weir::task<> {
      ++ran;
      co_return;
    };
    queued.push_back(s.submit(coroutine));
    auto section = [&]() -> weir::task<> {
      const auto turn = co_await s.enter();
      ++ran;
    };
    auto waits = rt.submit(section);
    test::eventually([&] { return started.load(); });
    std::thread stopper([&] { rt.stop(); });
    test::eventually([&] { return code_of([&] { s.post([] {}); }) == weir::errc::stopped; });
    // All posts of this loop came before the refusal, and stop() has been requested.
    door.open();
    stopper.join();
    running.get();
    int cancelled = 0;
    for (auto& handle : queued)
      cancelled += ending_of(handle) == ending::cancelled ? 1 : 0;
    CHECK(cancelled == 201);
    // It has started, so that it may get its turn before it is cancelled.
    const int sections = ending_of(waits) == ending::value ? 1 : 0;
    CHECK(ran == sections);
    CHECK(alive.use_count() == 1);
    CHECK(code_of([&] { (void)s.submit([] {}); }) == weir::errc::stopped);
  }
}

TEST_CASE("stopping ends a task that has the turn, and drops what is behind it", "[strand]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::strand s(rt);
    weir::event never;
    std::atomic<bool> started{false};
    const auto waits = [&]() -> weir::task<> {
      started = true;
      co_await never.wait();
    };
    auto first = s.submit(waits);
    auto behind = s.submit([] {});
    test::eventually([&] { return started.load(); });
    rt.stop();
    CHECK(ending_of(first) == ending::cancelled);
    CHECK(ending_of(behind) == ending::cancelled);
  }
}

TEST_CASE("draining runs what is queued", "[strand]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    std::atomic<int> ran{0};
    weir::strand s(rt);
    for (int i = 0; i < 500; ++i)
      s.post([&] {
        ++ran;
        if (ran == 500)
          s.post([&ran] { ++ran; }); // on a worker of the draining runtime
      });
    rt.drain();
    CHECK(ran == 501);
  }
}

TEST_CASE("a strand may end while work is queued, also in its own turn", "[strand]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    std::atomic<int> ran{0};
    {
      weir::strand s(rt);
      for (int i = 0; i < 200; ++i)
        s.post([&ran] { ++ran; });
    }
    auto own = std::make_unique<weir::strand>(rt);
    weir::strand& s = *own;
    auto last = s.submit([&ran, mine = std::move(own)]() mutable {
      mine.reset();
      ++ran;
    });
    last.get();
    rt.drain();
    CHECK(ran == 201);
  }
}

TEST_CASE("work submitted while the runtime stops runs or is cancelled", "[strand][race]") {
  for (const auto workers : test::worker_counts) {
    int wrong = 0;
    for (int round = 0; round < test::rounds(100); ++round) {
      weir::runtime rt(with_workers(workers));
      weir::runtime other(with_workers(1));
      weir::strand s(rt);
      std::atomic<int> ran{0};
      std::vector<weir::handle<void>> handles;
      auto section = other.spawn([](weir::strand& from, std::atomic<int>& count) -> weir::task<> {
        for (int i = 0; i < 50; ++i) {
          const auto turn = co_await from.enter();
          ++count;
        }
      }(s, ran));
      std::thread stopper([&rt, round] {
        test::stagger(round * 3);
        if (round % 2 == 0)
          rt.stop();
        else
          rt.drain();
      });
      int refused = 0;
      for (int i = 0; i < 50; ++i) {
        try {
          handles.push_back(s.submit([&ran] { ++ran; }));
        } catch (const weir::error& e) {
          refused += e.code() == weir::errc::stopped ? 1 : 0;
        }
      }
      int done = 0;
      for (auto& handle : handles)
        done += ending_of(handle) == ending::value ? 1 : 0;
      stopper.join();
      wrong += ending_of(section) == ending::value ? 0 : 1; // a stopped home excludes all the same
      wrong += ran == done + 50 && refused + static_cast<int>(handles.size()) == 50 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("of a turn and a cancellation exactly one wins", "[strand][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::strand s(rt);
    exclusive e;
    long expected = 0;
    int wrong = 0;
    for (int round = 0; round < test::rounds(2000); ++round) {
      auto task = s.submit(use_over_suspensions, std::ref(e), 1);
      auto section = rt.spawn(use_in_section(s, e, 0));
      auto callable = s.submit([&e] { e.use(); });
      test::stagger(round * 7);
      callable.request_stop();
      section.request_stop();
      task.get();
      expected += 1;
      expected += ending_of(section) == ending::value ? 1 : 0;
      expected += ending_of(callable) == ending::value ? 1 : 0;
      wrong += s.submit([&] { return e.used; }).get() == expected ? 0 : 1;
    }
    CHECK(wrong == 0);
    CHECK(e.overlaps == 0);
  }
}
