// SPDX-License-Identifier: MIT
// fixed_pool<fifo>: the bound, the order, admission, closing, errors.
#include <weir/weir.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using test::code_of;
using namespace std::chrono_literals;

namespace {

/// Watches how many are inside at once.
class crowd {
 public:
  void enter() {
    const int now = ++inside_;
    int seen = peak_;
    while (now > seen && !peak_.compare_exchange_weak(seen, now)) {
    }
  }
  void leave() {
    --inside_;
    ++ended_;
  }
  /// Enters; leaves when it goes, also when the task is cancelled.
  class visit {
   public:
    explicit visit(crowd& at) : at_(at) { at_.enter(); }
    visit(const visit&) = delete;
    ~visit() { at_.leave(); }

   private:
    crowd& at_;
  };
  int peak() const { return peak_; }
  int ended() const { return ended_; }
  int inside() const { return inside_; }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> peak_{0};
  std::atomic<int> ended_{0};
};

weir::task<int> suspends(crowd& c, int value, int yields) {
  const crowd::visit visit(c);
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  co_return value;
}

int plain(crowd& c, int value) {
  c.enter();
  std::this_thread::yield();
  c.leave();
  return value;
}

weir::task<long> submit_all(weir::fixed_pool<>& pool, crowd& c, int count) {
  std::vector<weir::handle<int>> handles;
  for (int i = 0; i < count; ++i) {
    auto next = pool.submit_async(suspends, std::ref(c), i, i % 5);
    handles.push_back(co_await next);
  }
  long sum = 0;
  for (auto& handle : handles)
    sum += co_await handle;
  co_return sum;
}

weir::task<long> submit_each(weir::fixed_pool<>& pool, crowd& c, int count) {
  long sum = 0;
  for (int i = 0; i < count; ++i) {
    auto next = pool.submit(plain, std::ref(c), i);
    sum += co_await next;
  }
  co_return sum;
}

} // namespace

TEST_CASE("never more than size tasks are in flight, suspended ones included", "[fixed_pool]") {
  for (const auto workers : test::worker_counts) {
    for (const std::size_t size : {1U, 2U, 7U, 100U}) {
      for (const std::size_t bound : {0U, 1U, 10U}) {
        weir::runtime rt{{.workers = workers}};
        weir::fixed_pool<> pool{rt, {.size = size, .queue_maxsize = bound}};
        crowd c;
        const int count = test::rounds(1000);
        std::vector<weir::handle<long>> submitters;
        for (int i = 0; i < 3; ++i) {
          submitters.push_back(rt.submit(submit_all, std::ref(pool), std::ref(c), count));
          submitters.push_back(rt.submit(submit_each, std::ref(pool), std::ref(c), count));
        }
        for (auto& s : submitters)
          CHECK(s.get() == static_cast<long>(count) * (count - 1) / 2);
        CHECK(c.peak() <= static_cast<int>(size));
        CHECK(c.ended() == 6 * count);
        CHECK(pool.running_tasks_number() == 0);
        CHECK(pool.waiting_tasks_number() == 0);
        rt.block_on(pool.close());
      }
    }
  }
}

TEST_CASE("all slots are used when enough tasks wait", "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 5}};
  crowd c;
  std::atomic<bool> go{false};
  const auto body = [](crowd& in, std::atomic<bool>& end) -> weir::task<> {
    in.enter();
    while (!end)
      co_await weir::yield();
    in.leave();
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 12; ++i)
    handles.push_back(*pool.try_submit(body, std::ref(c), std::ref(go)));
  // Five suspended tasks on one worker: a slot is no thread.
  test::eventually([&] { return c.inside() == 5; });
  CHECK(pool.running_tasks_number() == 5);
  CHECK(pool.waiting_tasks_number() == 7);
  CHECK(pool.size() == 5);
  CHECK(pool.max_tasks_number() == 0);
  go = true;
  for (auto& handle : handles)
    handle.get();
  CHECK(c.peak() == 5);
}

TEST_CASE("tasks of one submitter start in the order of submission", "[fixed_pool]") {
  for (const std::size_t size : {1U, 3U}) {
    weir::runtime rt{{.workers = 1}};
    weir::fixed_pool<> pool{rt, {.size = size}};
    std::vector<int> order;
    test::gate door;
    auto blocker = rt.submit([&] { door.pass(); });
    std::vector<weir::handle<void>> handles;
    for (int i = 0; i < 200; ++i)
      handles.push_back(*pool.try_submit([&order, i] { order.push_back(i); }));
    door.open();
    for (auto& handle : handles)
      handle.get();
    std::vector<int> expected;
    for (int i = 0; i < 200; ++i)
      expected.push_back(i);
    CHECK(order == expected);
  }
}

TEST_CASE("try_submit refuses when the queue is full and leaves its arguments alone",
          "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 2}};
  test::gate door;
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 3; ++i)
    handles.push_back(*pool.try_submit([&] { door.pass(); }));
  auto argument = std::make_unique<int>(5);
  auto refused = pool.try_submit([](std::unique_ptr<int> p) { return *p; }, std::move(argument));
  CHECK_FALSE(refused.has_value());
  REQUIRE(argument != nullptr);
  door.open();
  for (auto& handle : handles)
    handle.get();
  auto accepted = pool.try_submit([](std::unique_ptr<int> p) { return *p; }, std::move(argument));
  REQUIRE(accepted.has_value());
  CHECK(accepted->get() == 5);
}

TEST_CASE("submitters that wait for room are admitted in order", "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
  test::gate door;
  auto first = *pool.try_submit([&] { door.pass(); });
  std::vector<int> order;
  std::atomic<int> waiting{0};
  // On a runtime of their own, because the only worker of the other one is blocked.
  weir::runtime submitters{{.workers = 1}};
  const auto body = [](weir::fixed_pool<>& p, std::vector<int>& log, std::atomic<int>& count,
                       int i) -> weir::task<> {
    const auto record = [&log, i] { log.push_back(i); };
    auto next = p.submit(record);
    ++count;
    co_await next;
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 20; ++i)
    handles.push_back(
        submitters.submit(body, std::ref(pool), std::ref(order), std::ref(waiting), i));
  test::eventually([&] { return waiting == 20; });
  submitters.submit([] {}).get();                  // the last one has suspended
  CHECK_FALSE(pool.try_submit([] {}).has_value()); // nobody overtakes
  door.open();
  for (auto& handle : handles)
    handle.get();
  first.get();
  std::vector<int> expected;
  for (int i = 0; i < 20; ++i)
    expected.push_back(i);
  CHECK(order == expected);
}

TEST_CASE("close refuses new tasks and waits for everything accepted", "[fixed_pool]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<> pool{rt, {.size = 2, .queue_maxsize = 3}};
    crowd c;
    std::vector<weir::handle<long>> submitters;
    std::vector<weir::handle<int>> handles;
    for (int i = 0; i < 5; ++i)
      handles.push_back(*pool.try_submit(suspends, std::ref(c), i, 50));
    CHECK_FALSE(pool.closed());
    auto closing = pool.close();
    CHECK(pool.paused());
    CHECK(code_of([&] { (void)pool.try_submit([] {}); }) == weir::errc::pool_closed);
    CHECK(code_of([&] { rt.block_on(pool.submit([] {})); }) == weir::errc::pool_closed);
    CHECK(code_of([&] { (void)rt.block_on(pool.submit_async([] {})); }) == weir::errc::pool_closed);
    rt.block_on(std::move(closing));
    CHECK(c.ended() == 5);
    rt.block_on(pool.close());
    for (int i = 0; i < 5; ++i)
      CHECK(handles[static_cast<std::size_t>(i)].get() == i);
  }
}

TEST_CASE("the destructor waits for what runs", "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  crowd c;
  test::gate door;
  std::optional<weir::fixed_pool<>> pool(std::in_place, rt, weir::fixed_pool_options{.size = 1});
  auto running = *pool->try_submit([&] {
    c.enter();
    door.pass();
    c.leave();
  });
  test::eventually([&] { return c.inside() == 1; });
  std::thread opener([&] { door.open(); });
  pool.reset();
  CHECK(c.ended() == 1);
  opener.join();
  running.get();
}

TEST_CASE("the destructor cancels what waits", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  crowd c;
  test::gate door;
  std::optional<weir::fixed_pool<>> pool(std::in_place, rt, weir::fixed_pool_options{.size = 1});
  auto running = *pool->try_submit([&] {
    const crowd::visit visit(c);
    door.pass();
  });
  test::eventually([&] { return c.inside() == 1; });
  auto waiting = *pool->try_submit([&] { c.enter(); });
  // On a worker the destructor does not wait, so that the door is still closed when it is over.
  rt.submit([&] { pool.reset(); }).get();
  door.open();
  running.get();
  CHECK_THROWS_AS(waiting.get(), weir::task_cancelled);
  CHECK(c.inside() == 0);
}

TEST_CASE("a pool may be destroyed on a worker while its tasks run", "[fixed_pool]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    crowd c;
    for (int round = 0; round < test::rounds(200); ++round) {
      auto handles = rt.submit([&] {
                         weir::fixed_pool<> pool{rt, {.size = 2}};
                         std::vector<weir::handle<int>> list;
                         for (int i = 0; i < 5; ++i)
                           list.push_back(*pool.try_submit(suspends, std::ref(c), i, 3));
                         return list;
                       }).get();
      for (auto& handle : handles) {
        try {
          handle.get();
        } catch (const weir::task_cancelled&) {
        }
      }
    }
    CHECK(c.inside() == 0);
  }
}

TEST_CASE("exceptions of pool tasks reach the waiter and free the slot", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt, {.size = 1}};
  for (int i = 0; i < 10; ++i) {
    CHECK_THROWS_WITH(rt.block_on(pool.submit([] { throw std::runtime_error("in the pool"); })),
                      "in the pool");
    auto async = rt.block_on(pool.submit_async([]() -> weir::task<> {
      co_await weir::yield();
      throw std::runtime_error("coroutine in the pool");
    }));
    CHECK_THROWS_WITH(async.get(), "coroutine in the pool");
  }
  CHECK(rt.block_on(pool.submit([] { return 1; })) == 1);
}

TEST_CASE("a pool may be made of its size alone", "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  const weir::fixed_pool pool(rt, 4);
  CHECK(pool.target_size() == 4);
  const weir::fixed_pool<weir::lifo> other{rt, std::size_t{7}};
  CHECK(other.target_size() == 7);
  CHECK(test::code_of([&] { weir::fixed_pool<> none(rt, -1); }) == weir::errc::invalid_option);
  CHECK(test::code_of([&] { weir::fixed_pool<> none(rt, 0); }) == weir::errc::invalid_option);
}

TEST_CASE("bad input to a pool is refused by name", "[fixed_pool]") {
  weir::runtime rt{{.workers = 1}};
  using Catch::Matchers::Contains;
  CHECK_THROWS_WITH(weir::fixed_pool<>(rt, {.size = 0}), Contains("fixed_pool_options.size is 0"));
  CHECK_THROWS_WITH(weir::fixed_pool<>(rt, {.size = std::size_t{1} << 32}), Contains("4294967295"));
  weir::fixed_pool<> pool{rt, {.size = 1}};
  void (*null)() = nullptr;
  CHECK(code_of([&] { (void)pool.try_submit(null); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { (void)pool.submit(null); }) == weir::errc::empty_callable);
  {
    auto never_awaited = pool.submit([] { return std::string(100, 'x'); });
    auto moved = std::move(never_awaited);
    CHECK(rt.block_on(std::move(moved)).size() == 100);
    CHECK(code_of([&] { rt.block_on(std::move(moved)); }) == weir::errc::no_state);
  }
  rt.stop();
  CHECK(code_of([&] { (void)pool.try_submit([] {}); }) == weir::errc::stopped);
}

TEST_CASE("a task that would wait for itself through its pool is refused", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> one{rt, {.size = 1}};
  weir::fixed_pool<> two{rt, {.size = 2}};
  const auto closes = [](weir::fixed_pool<>& pool) -> weir::task<> {
    auto end = pool.close();
    co_await end;
  };
  const auto submits = [](weir::fixed_pool<>& pool) -> weir::task<int> {
    auto inner = pool.submit([] { return 7; });
    co_return co_await inner;
  };
  CHECK(code_of([&] { rt.block_on(one.submit(submits, std::ref(one))); }) ==
        weir::errc::would_deadlock);
  CHECK(rt.block_on(two.submit(submits, std::ref(two))) == 7);
  CHECK(rt.block_on(one.submit(submits, std::ref(two))) == 7);
  CHECK(code_of([&] { rt.block_on(two.submit(closes, std::ref(two))); }) ==
        weir::errc::would_deadlock);
  rt.block_on(two.close());
  CHECK(rt.block_on(one.submit([] { return 1; })) == 1);
}

TEST_CASE("a task that would wait for room behind itself is refused", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  const auto submits = [](auto* pool) -> weir::task<int> {
    auto inner = pool->submit_async([] { return 7; });
    auto handle = co_await inner;
    co_return co_await handle;
  };
  const auto fills = [&submits](auto* pool) -> weir::task<int> {
    auto waits = pool->submit_nowait([] {});
    auto refused = submits(pool);
    co_return co_await refused;
  };
  weir::fixed_pool<> one{rt, {.size = 1, .queue_maxsize = 1}};
  CHECK(code_of([&] { rt.block_on(one.submit(fills, &one)); }) == weir::errc::would_deadlock);
  CHECK(rt.block_on(submits(&one)) == 7);
  rt.block_on(one.close());
  CHECK(one.stats().accepted == 3);
}

TEST_CASE("a task may wait for another one that a slot to come will run", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  const auto submits = [](auto* pool) -> weir::task<int> {
    auto inner = pool->submit([] { return 7; });
    co_return co_await inner;
  };
  SECTION("of another pool of the queue") {
    weir::work_queue<weir::fifo> queue;
    weir::fixed_pool<> one{rt, queue, {.size = 1}};
    weir::fixed_pool<> other{rt, queue, {.size = 1}};
    CHECK(rt.block_on(one.submit(submits, &one)) == 7);
  }
  SECTION("of a pool that grows") {
    weir::autoscale_pool<> grows{rt, {.min_size = 1, .auto_scale_interval = 1ms}};
    CHECK(rt.block_on(grows.submit(submits, &grows)) == 7);
  }
}

TEST_CASE("a pool that has come to its end is never closed too late", "[fixed_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt, {.size = 1}};
  CHECK(rt.block_on(pool.submit([] { return 1; })) == 1);
  rt.block_on(pool.close());
  CHECK(rt.block_on(pool.close({.close_worker_timeout = 0s})).in_time);
  CHECK(rt.block_on(pool.close({.close_pool_timeout = 0s, .safe = false})).in_time);
  // Nothing waits: the first time-out has nothing to bound.
  pool.start();
  test::gate door;
  auto runs = pool.submit_nowait([&] { door.pass(); });
  test::eventually([&] { return pool.running_tasks_number() == 1; });
  auto closing = rt.spawn(pool.close({.close_worker_timeout = 0s}));
  test::eventually([&] { return pool.paused(); });
  door.open();
  CHECK(closing.get().in_time);
  runs.get();
}

TEST_CASE("a runtime that stops cancels what waits in its pools", "[fixed_pool]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<> pool{rt, {.size = 1}};
    crowd c;
    std::vector<weir::handle<int>> handles;
    for (int i = 0; i < 100; ++i)
      handles.push_back(*pool.try_submit(suspends, std::ref(c), i, 3));
    rt.stop();
    int cancelled = 0;
    int ended = 0;
    for (auto& handle : handles) {
      CHECK(handle.done());
      try {
        handle.get();
        ++ended;
      } catch (const weir::task_cancelled&) {
        ++cancelled;
      }
    }
    CHECK(ended + cancelled == 100);
    CHECK(ended <= c.ended());
  }
}

TEST_CASE("random submitting, throwing and stopping keeps the counts", "[fixed_pool][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (int round = 0; round < test::rounds(20); ++round) {
      std::atomic<int> unseen{0};
      weir::runtime rt{
          {.workers = workers, .on_unhandled_exception = [&](std::exception_ptr) { ++unseen; }}};
      weir::fixed_pool<> pool{rt, {.size = 4, .queue_maxsize = 8}};
      crowd c;
      std::atomic<int> accepted{0};
      std::atomic<int> finished{0};
      const auto body = [](crowd& in, unsigned seed) -> weir::task<int> {
        const crowd::visit visit(in);
        for (unsigned i = 0; i < seed % 4; ++i)
          co_await weir::yield();
        if (seed % 7 == 0)
          throw std::runtime_error("sometimes");
        co_return 1;
      };
      std::vector<std::thread> threads;
      for (unsigned t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
          unsigned seed = t * 7919 + static_cast<unsigned>(round);
          for (int i = 0; i < 300; ++i) {
            seed = seed * 1664525 + 1013904223;
            auto handle = pool.try_submit(body, std::ref(c), seed >> 8);
            if (!handle) {
              std::this_thread::yield();
              continue;
            }
            ++accepted;
            if (seed >> 30 == 0)
              handle->request_stop();
            if (seed >> 29 == 1)
              continue; // dropped
            try {
              handle->get();
            } catch (const weir::task_cancelled&) {
            } catch (const std::runtime_error&) {
            }
            ++finished;
          }
        });
      }
      for (auto& t : threads)
        t.join();
      rt.block_on(pool.close());
      CHECK(c.peak() <= 4);
      CHECK(c.inside() == 0);
      CHECK(c.ended() <= accepted);
      CHECK(pool.running_tasks_number() == 0);
      rt.drain();
      CHECK(rt.stats().accepted == rt.stats().ended);
    }
  }
}
