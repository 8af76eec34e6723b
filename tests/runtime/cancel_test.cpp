// SPDX-License-Identifier: MIT
// Cancelling tasks: before they start, while they run, wait, end, and in the middle of it all.
#include <weir/weir.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

/// A worker that is kept busy until the gate opens.
struct blocked_worker {
  explicit blocked_worker(weir::runtime& rt) {
    rt.post([this] {
      inside = true;
      door.pass();
      left = true;
    });
    test::eventually([this] { return inside.load(); });
  }
  ~blocked_worker() {
    door.open();
    test::eventually([this] { return left.load(); });
  }
  blocked_worker(const blocked_worker&) = delete;
  blocked_worker& operator=(const blocked_worker&) = delete;
  std::atomic<bool> inside{false};
  std::atomic<bool> left{false};
  test::gate door;
};

/// The text of the reason by which `handle`'s task was cancelled; none if it was not.
template <class T>
std::string reason_of(weir::handle<T>& handle) {
  try {
    (void)handle.get();
  } catch (const weir::task_cancelled& cancelled) {
    return std::string(cancelled.reason().text());
  }
  return "not cancelled";
}

weir::task<int> runs(std::atomic<int>& ran, std::shared_ptr<int> held) {
  ++ran;
  co_await weir::yield();
  co_return *held;
}

constexpr std::size_t race_workers[] = {1, 2, 3, 16};

} // namespace

TEST_CASE("a queued task that is cancelled ends at once, though no worker is free", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1}};
  auto held = std::make_shared<int>(1);
  std::atomic<int> ran{0};
  {
    const blocked_worker busy(rt);
    auto callable = rt.submit([&ran, held] { ++ran; });
    auto lambda = rt.submit([&ran, held]() -> weir::task<> {
      ++ran;
      co_return;
    });
    auto coroutine = rt.submit(runs, std::ref(ran), held);
    auto spawned = rt.spawn(runs(ran, held));
    auto pooled = *pool.try_submit([&ran, held] { ++ran; });
    auto pool_waits = *pool.try_submit([&ran, held] { ++ran; });
    CHECK(held.use_count() == 7);
    const weir::stop_reason why("not wanted");
    CHECK(callable.request_stop(why));
    CHECK(lambda.request_stop(why));
    CHECK(coroutine.request_stop(why));
    CHECK(spawned.request_stop(why));
    CHECK(pooled.request_stop(why));
    CHECK(pool_waits.request_stop(why));
    CHECK(callable.done());
    CHECK(pool_waits.done());
    CHECK(held.use_count() == 1);
    CHECK(reason_of(callable) == "not wanted");
    CHECK(reason_of(lambda) == "not wanted");
    CHECK(reason_of(coroutine) == "not wanted");
    CHECK(reason_of(spawned) == "not wanted");
    CHECK(reason_of(pooled) == "not wanted");
    CHECK(reason_of(pool_waits) == "not wanted");
  }
  rt.drain();
  CHECK(ran == 0);
  CHECK(rt.stats().accepted == rt.stats().ended);
}

TEST_CASE("somebody who awaits a queued task goes on when that is cancelled", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  weir::runtime other{{.workers = 1}};
  const blocked_worker busy(rt);
  auto queued = rt.submit([] {});
  const auto awaits = [](weir::handle<void>& awaited) -> weir::task<std::string> {
    std::string text;
    try {
      co_await awaited;
    } catch (const weir::task_cancelled& cancelled) {
      text = cancelled.reason().text();
    }
    co_return text;
  };
  auto parent = other.spawn(awaits(queued));
  test::settle(other);
  CHECK(queued.request_stop(weir::stop_reason("gone")));
  CHECK(parent.get() == "gone");
}

TEST_CASE("in a stopped task every wait throws, again and again", "[cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> waiting{false};
    const auto body = [](weir::runtime& on, std::atomic<bool>& flag) -> weir::task<int> {
      int thrown = 0;
      weir::semaphore none(0);
      weir::semaphore some(1);
      weir::event unset;
      weir::queue<int> empty;
      auto child = on.submit([] { return 1; });
      flag = true;
      try {
        co_await weir::sleep_for(1h);
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        co_await weir::sleep_for(1h);
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        co_await weir::yield();
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        co_await none.acquire();
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        co_await some.acquire(); // could go on
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        co_await unset.wait();
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        (void)co_await empty.pop();
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        (void)co_await child;
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      try {
        weir::this_task::check_stop();
      } catch (const weir::task_cancelled&) {
        ++thrown;
      }
      const auto why = weir::this_task::cancel_reason();
      thrown += why && why->text() == "enough" && weir::this_task::stop_requested();
      thrown += child.valid() && some.available() == 1;
      co_return thrown;
    };
    auto handle = rt.submit(body, std::ref(rt), std::ref(waiting));
    test::eventually([&] { return waiting.load(); });
    CHECK(handle.request_stop(weir::stop_reason("enough")));
    CHECK(handle.get() == 11);
  }
}

TEST_CASE("what a task can ask for before and after it is stopped", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  CHECK_FALSE(weir::this_task::stop_requested());
  CHECK_FALSE(weir::this_task::cancel_reason().has_value());
  weir::this_task::check_stop();
  std::atomic<bool> inside{false};
  const auto body = [&inside] {
    bool good = !weir::this_task::stop_requested() && !weir::this_task::cancel_reason();
    weir::this_task::check_stop();
    inside = true;
    while (!weir::this_task::stop_requested())
      std::this_thread::yield();
    good = good && weir::this_task::cancel_reason()->text() == "text";
    if (good)
      weir::this_task::check_stop();
    return 1;
  };
  auto handle = rt.submit(body);
  test::eventually([&] { return inside.load(); });
  CHECK(handle.request_stop(weir::stop_reason("text")));
  CHECK_FALSE(handle.request_stop(weir::stop_reason("later")));
  CHECK(reason_of(handle) == "text");
}

TEST_CASE("the reason tells who asked", "[cancel]") {
  weir::runtime rt{{.workers = 1}};
  std::vector<weir::stop_cause> seen;
  std::vector<std::string> texts;
  const auto note = [&](auto& handle) {
    try {
      (void)handle.get();
    } catch (const weir::task_cancelled& cancelled) {
      seen.push_back(cancelled.reason().cause());
      texts.emplace_back(cancelled.reason().text());
    }
  };
  const auto sleeps = []() -> weir::task<> { co_await weir::sleep_for(1h); };
  auto plain = rt.spawn(sleeps());
  auto with_text = rt.spawn(sleeps());
  auto by_shutdown = rt.spawn(sleeps());
  auto parent = rt.spawn(
      [](auto make) -> weir::task<> { (void)co_await weir::when_all(make(), make()); }(sleeps));
  test::settle(rt);
  (void)plain.request_stop();
  (void)with_text.request_stop("by hand");
  (void)parent.request_stop(std::string("to the children"));
  note(plain);
  note(with_text);
  note(parent);
  std::atomic<bool> inside{false};
  test::gate door;
  rt.post([&] {
    inside = true;
    door.pass();
  });
  test::eventually([&] { return inside.load(); });
  auto unstarted = rt.submit([] {});
  rt.request_stop();
  door.open();
  rt.stop();
  note(by_shutdown);
  note(unstarted);
  using enum weir::stop_cause;
  CHECK(seen == std::vector{requested, requested, requested, shutdown, shutdown});
  REQUIRE(texts.size() == 5);
  CHECK(texts[1] == "by hand");
  CHECK(texts[2] == "to the children");
}

TEST_CASE("of many threads that stop a task one is the one that did", "[cancel][stress]") {
  for (const auto workers : race_workers) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(200); ++round) {
      const auto sleeps = []() -> weir::task<> { co_await weir::sleep_for(1h); };
      auto handle = round % 2 == 0 ? rt.spawn(sleeps()) : rt.submit([] {});
      std::atomic<int> winners{0};
      std::atomic<int> winner{-1};
      const auto ask = [&](int number) {
        test::stagger(round + number);
        if (handle.request_stop(weir::stop_reason(std::to_string(number)))) {
          ++winners;
          winner = number;
        }
      };
      std::thread a([&] { ask(1); });
      std::thread b([&] { ask(2); });
      ask(3);
      a.join();
      b.join();
      REQUIRE(winners == 1);
      const auto reason = reason_of(handle);
      if (reason != "not cancelled") // a callable may have ended before
        REQUIRE(reason == std::to_string(winner));
    }
  }
}

TEST_CASE("a cancelled task ends once, whether it starts, runs or ends meanwhile",
          "[cancel][stress]") {
  for (const auto workers : race_workers) {
    auto counts = std::make_shared<int>(0);
    std::atomic<int> ran{0};
    int cancelled = 0;
    int values = 0;
    int dropped = 0;
    std::uint64_t unhandled = 0;
    {
      weir::runtime rt{
          {.workers = workers, .on_unhandled_exception = [&](std::exception_ptr) { ++unhandled; }}};
      const auto yields = [](std::atomic<int>& count, std::shared_ptr<int>) -> weir::task<> {
        ++count;
        for (int i = 0; i < 3; ++i)
          co_await weir::yield();
      };
      const int rounds = test::rounds(4000);
      for (int i = 0; i < rounds; ++i) {
        auto handle = i % 3 == 0   ? rt.submit([&ran, counts] { ++ran; })
                      : i % 3 == 1 ? rt.submit(yields, std::ref(ran), counts)
                                   : rt.spawn(yields(ran, counts));
        test::stagger(i * 5);
        (void)handle.request_stop();
        if (i % 4 == 0) {
          ++dropped;
          continue;
        }
        switch (test::ending_of(handle)) {
        case test::ending::value:
          ++values;
          break;
        case test::ending::cancelled:
          ++cancelled;
          break;
        case test::ending::error:
          break;
        }
      }
      rt.drain();
      CHECK(values + cancelled + dropped == rounds);
      CHECK(values <= ran);
      CHECK(ran <= rounds);
      const auto stats = rt.stats();
      CHECK(stats.accepted == static_cast<std::uint64_t>(rounds));
      CHECK(stats.ended == stats.accepted);
    }
    CHECK(unhandled == 0);
    CHECK(counts.use_count() == 1);
  }
}

TEST_CASE("cancelling races with the end of the runtime", "[cancel][stress]") {
  for (const auto workers : race_workers) {
    const int rounds = test::rounds(workers == 16 ? 40 : 200);
    auto counts = std::make_shared<int>(0);
    int ended = 0;
    for (int round = 0; round < rounds; ++round) {
      std::vector<weir::handle<void>> all;
      std::atomic<bool> go{false};
      std::thread canceller;
      {
        weir::runtime rt{{.workers = workers}};
        const auto sleeps = [](std::shared_ptr<int>) -> weir::task<> {
          co_await weir::sleep_for(1h);
        };
        for (int i = 0; i < 6; ++i)
          all.push_back(i % 2 == 0 ? rt.spawn(sleeps(counts)) : rt.submit([counts] {}));
        canceller = std::thread([&] {
          while (!go)
            std::this_thread::yield();
          test::stagger(round);
          for (auto& handle : all)
            (void)handle.request_stop();
        });
        go = true;
        if (round % 2 == 0)
          rt.stop();
      }
      canceller.join();
      for (auto& handle : all)
        ended += test::ending_of(handle) != test::ending::error;
    }
    CHECK(ended == 6 * rounds);
    CHECK(counts.use_count() == 1);
  }
}

TEST_CASE("a stopped task that awaits a handle goes on at once and keeps it", "[cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::runtime other{{.workers = 1}};
    blocked_worker busy(other);
    std::atomic<bool> waiting{false};
    auto awaited = other.submit([] { return 5; });
    const auto body = [](weir::handle<int>& handle, std::atomic<bool>& flag) -> weir::task<int> {
      int cancelled = 0;
      flag = true;
      try {
        (void)co_await handle;
      } catch (const weir::task_cancelled&) {
        cancelled = handle.valid() && !handle.done();
      }
      co_return cancelled;
    };
    auto waits = rt.spawn(body(awaited, waiting));
    test::eventually([&] { return waiting.load(); });
    CHECK(waits.request_stop());
    CHECK(waits.get() == 1);
    // Somebody else may await it now.
    const auto again = [](weir::handle<int>& handle) -> weir::task<int> {
      co_return co_await handle;
    };
    auto second = rt.spawn(again(awaited));
    busy.door.open();
    CHECK(second.get() == 5);
  }
}

TEST_CASE("a stop of who awaits races with the end of what is awaited", "[cancel][stress]") {
  for (const auto workers : race_workers) {
    weir::runtime rt{{.workers = workers}};
    int got = 0;
    const int rounds = test::rounds(3000);
    const auto body = [](weir::runtime& on) -> weir::task<int> {
      auto handle = on.submit([] { return 5; });
      int value = 0;
      try {
        value = co_await handle;
      } catch (const weir::task_cancelled&) {
        // It was not this one that was stopped.
        value = handle.valid() ? 5 : 0;
      }
      co_return value;
    };
    for (int i = 0; i < rounds; ++i) {
      auto waits = rt.spawn(body(rt));
      test::stagger(i * 3);
      (void)waits.request_stop();
      try {
        got += waits.get() == 5;
      } catch (const weir::task_cancelled&) {
        ++got; // before it started
      }
    }
    CHECK(got == rounds);
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
}

TEST_CASE("stop callbacks of user code run once, on the thread that stops the task", "[cancel]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> calls{0};
  std::atomic<bool> registered{false};
  std::thread::id ran_on;
  const auto body = [&]() -> weir::task<> {
    const weir::inplace_stop_callback counts(weir::this_task::stop_token(), [&] {
      ++calls;
      ran_on = std::this_thread::get_id();
    });
    {
      const weir::inplace_stop_callback gone(weir::this_task::stop_token(), [&] { calls += 100; });
    }
    registered = true;
    co_await weir::sleep_for(1h);
  };
  auto handle = rt.submit(body);
  test::eventually([&] { return registered.load(); });
  CHECK(handle.request_stop());
  CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
  CHECK(calls == 1);
  CHECK(ran_on == std::this_thread::get_id());
  // Of a callable that the runtime's end stops.
  registered = false;
  const auto plain = [&] {
    std::atomic<bool> stopped{false};
    const weir::inplace_stop_callback flag(weir::this_task::stop_token(), [&] { stopped = true; });
    registered = true;
    while (!stopped)
      std::this_thread::yield();
    return 1;
  };
  auto second = rt.submit(plain);
  test::eventually([&] { return registered.load(); });
  rt.stop();
  CHECK(second.get() == 1);
}

TEST_CASE("a stop callback may cancel other tasks, and race with the task's end",
          "[cancel][stress]") {
  for (const auto workers : race_workers) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> calls{0};
    std::atomic<int> late{0};
    const int rounds = test::rounds(1500);
    int ended = 0;
    for (int i = 0; i < rounds; ++i) {
      auto other = rt.spawn([]() -> weir::task<> { co_await weir::sleep_for(1h); }());
      const auto body = [](weir::handle<void>& next, std::atomic<int>& called,
                           std::atomic<int>& too_late) -> weir::task<> {
        bool over = false;
        {
          const weir::inplace_stop_callback forwards(weir::this_task::stop_token(), [&] {
            too_late += over;
            ++called;
            (void)next.request_stop();
          });
          co_await weir::yield();
        }
        over = true; // its destructor has waited for a call on another thread
      };
      auto first = rt.spawn(body(other, calls, late));
      test::stagger(i * 7);
      (void)first.request_stop();
      ended += test::ending_of(first) != test::ending::error;
      (void)other.request_stop();
      ended += test::ending_of(other) == test::ending::cancelled;
    }
    CHECK(ended == 2 * rounds);
    CHECK(calls <= rounds);
    CHECK(late == 0);
  }
}

TEST_CASE("a cancelled wait for a pool gives its place to the next", "[cancel]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::runtime other{{.workers = 1}};
    weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
    weir::event open;
    std::atomic<int> ran{0};
    const auto holds = [](weir::event& until) -> weir::task<> { co_await until.wait(); };
    auto slot = *pool.try_submit(holds, std::ref(open));
    auto queued = *pool.try_submit([&] { ran += 1; });
    CHECK_FALSE(pool.try_submit([] {}).has_value());
    const auto submits = [](weir::fixed_pool<>& in, std::atomic<int>& count,
                            int value) -> weir::task<> {
      const auto body = [&count, value] { count += value; };
      co_await in.submit(body);
    };
    const auto submits_async = [](weir::fixed_pool<>& in, std::atomic<int>& count,
                                  int value) -> weir::task<> {
      const auto body = [&count, value] { count += value; };
      auto handle = co_await in.submit_async(body);
      co_await handle;
    };
    auto waits = other.spawn(submits(pool, ran, 1000));
    auto waits_async = other.spawn(submits_async(pool, ran, 1000));
    auto last = other.spawn(submits_async(pool, ran, 10));
    const auto closes = [](weir::fixed_pool<>& in) -> weir::task<> { co_await in.close(); };
    test::settle(other);
    CHECK(waits.request_stop());
    CHECK(waits_async.request_stop());
    CHECK_THROWS_AS(waits.get(), weir::task_cancelled);
    CHECK_THROWS_AS(waits_async.get(), weir::task_cancelled);
    auto end = other.spawn(closes(pool));
    test::settle(other);
    CHECK(end.request_stop());
    CHECK_THROWS_AS(end.get(), weir::task_cancelled);
    CHECK(pool.paused());
    open.set();
    slot.get();
    last.get();
    queued.get();
    rt.block_on(pool.close());
    CHECK(ran == 11);
    other.drain();
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
}

TEST_CASE("cancelled waits for a pool race with the room that comes free", "[cancel][stress]") {
  for (const auto workers : race_workers) {
    weir::runtime rt{{.workers = workers}};
    weir::runtime other{{.workers = 2}};
    std::atomic<int> ran{0};
    int values = 0;
    int cancelled = 0;
    const int rounds = test::rounds(600);
    {
      weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
      const auto submits = [](weir::fixed_pool<>& in, std::atomic<int>& count) -> weir::task<> {
        const auto body = [&count] { ++count; };
        co_await in.submit(body);
      };
      for (int i = 0; i < rounds; ++i) {
        std::vector<weir::handle<void>> all;
        for (int n = 0; n < 5; ++n)
          all.push_back(other.spawn(submits(pool, ran)));
        test::stagger(i * 5);
        for (std::size_t n = static_cast<std::size_t>(i % 2); n < all.size(); n += 2)
          (void)all[n].request_stop();
        for (auto& handle : all) {
          const auto how = test::ending_of(handle);
          values += how == test::ending::value;
          cancelled += how == test::ending::cancelled;
        }
      }
      rt.block_on(pool.close());
    }
    CHECK(values + cancelled == 5 * rounds);
    CHECK(ran >= values);
    CHECK(ran <= 5 * rounds);
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
}
