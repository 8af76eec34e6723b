// SPDX-License-Identifier: MIT
// Ids of the tasks of fixed_pool and autoscale_pool, and cancelling by them: B-18, 1A.8, 1A.12.
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using lines = std::vector<std::string>;
using test::thrown_text;

namespace {

weir::task<> endless() {
  for (;;)
    co_await weir::sleep_for(1h);
}

template <class T>
bool was_cancelled(weir::handle<T>& handle, const weir::stop_reason& reason = {}) {
  try {
    (void)handle.get();
  } catch (const weir::task_cancelled& e) {
    return e.reason() == reason;
  }
  return false;
}

} // namespace

TEMPLATE_TEST_CASE("B-18: every accepted task has an id, in the order of acceptance",
                   "[aio_pool][ids]", weir::fifo, weir::lifo, weir::priority) {
  test::pool_stage stage;
  weir::autoscale_pool<TestType> pool(stage.rt, {.min_size = 1, .queue_maxsize = 4, .ids = true});
  const auto main = [&]() -> weir::task<lines> {
    lines seen;
    auto first = pool.submit_nowait(&endless);
    co_await weir::sleep_for(1ms); // so that it is the one that runs
    pool.post([] {});
    auto second = pool.try_submit([] {});
    auto asked = pool.submit_async([] {});
    auto third = co_await asked;
    for (const auto* handle : {&first, &*second, &third})
      seen.push_back(handle->has_id() ? std::to_string(handle->id()) : "none");
    // Who waits for room gets one when he gets in.
    auto fourth = pool.submit_nowait([] {});
    const auto later = [](decltype(pool)& to, lines& said) -> weir::task<> {
      auto submission = to.submit_async([] {});
      auto handle = co_await submission;
      said.push_back("in: " + std::to_string(handle.id()));
      co_await handle;
    };
    auto waiter = stage.rt.spawn(later(pool, seen));
    co_await weir::sleep_for(1s);
    seen.push_back(pool.try_submit([] {}) ? "wrong" : "full");
    pool.cancel(fourth.id());
    co_await weir::sleep_for(1s);
    pool.cancel(first.id());
    co_await waiter;
    co_return seen;
  };
  CHECK(stage.play(main) == lines{"0", "2", "3", "full", "in: 5"});
}

TEST_CASE("B-18: a pool without ids has none, but for tasks with callbacks or a deadline",
          "[aio_pool][ids]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.name = "x"});
  auto plain = pool.submit_nowait([] {});
  CHECK_FALSE(plain.has_id());
  CHECK(test::code_of([&] { (void)plain.id(); }) == weir::errc::no_state);
  std::atomic<weir::task_id> told{99};
  const weir::task_callback end = [&](weir::task_id id) { told = id; };
  auto one = pool.submit_nowait({.end_callback = end}, [] {});
  one.get();
  CHECK(one.id() == 0);
  CHECK(told == 0);
  // Else the clock may jump to the deadline while this thread is still submitting.
  const auto still = stage.clock.hold();
  auto two = pool.submit_nowait({.start_by = stage.rt.now() + 1h}, &endless);
  CHECK(two.id() == 1);
  pool.cancel(1);
  CHECK(was_cancelled(two));
  CHECK(two.id() == 1); // still
  plain.get();
  CHECK(pool.str() == "FixedPool-x");
  CHECK(pool.task_name(7) == "FixedPool-x_Task-7");
}

TEMPLATE_TEST_CASE("1A.12, D12, D13: cancel looks at all ids first, and says what is wrong",
                   "[aio_pool][ids]", weir::fifo, weir::lifo, weir::priority) {
  test::pool_stage stage;
  weir::fixed_pool<TestType> pool(stage.rt, {.size = 1, .ids = true, .name = "x"});
  auto running = pool.submit_nowait(&endless);
  auto waiting = pool.submit_nowait(&endless);
  auto other = pool.submit_nowait(&endless);
  test::eventually([&] { return pool.running_tasks_number() == 1; });
  CHECK(thrown_text<weir::task_not_found>([&] { pool.cancel({0, 55, 1}); }) ==
        "No task with ID 55 found in FixedPool-x");
  CHECK(pool.try_cancel(55) == weir::errc::task_not_found);
  CHECK_FALSE(running.done());
  CHECK_FALSE(waiting.done());
  CHECK(pool.waiting_tasks_number() == 2);
  pool.cancel({1, 1}, weir::stop_reason("enough"));
  CHECK(was_cancelled(waiting, weir::stop_reason("enough")));
  CHECK(thrown_text<weir::already_ended>([&] { pool.cancel({0, 1}); }) ==
        "'FixedPool-x_Task-1' has finished running");
  CHECK(pool.try_cancel(1) == weir::errc::already_ended);
  CHECK_FALSE(pool.try_cancel(0));
  CHECK(was_cancelled(running));
  CHECK(pool.try_cancel(0) == weir::errc::already_ended);
  pool.cancel(std::vector<weir::task_id>{});
  pool.cancel(2);
  CHECK(was_cancelled(other));
  // Ids stay those of ended tasks for ever, also in the next life of the pool.
  stage.rt.block_on(pool.close());
  pool.start();
  auto next = pool.submit_nowait([] { return 1; });
  CHECK(next.id() == 3);
  CHECK(next.get() == 1);
  CHECK(thrown_text<weir::already_ended>([&] { pool.cancel(3); }) ==
        "'FixedPool-x_Task-3' has finished running");
}

TEST_CASE("1A.8, D15: who was asked to stop before is already cancelled", "[aio_pool][ids]") {
  test::pool_stage stage;
  weir::fixed_pool<> pool(stage.rt, {.ids = true, .name = "x"});
  lines said;
  const weir::task_callback attempt = [&](weir::task_id id) -> weir::task<> {
    said.push_back(thrown_text<weir::task_ended>([&] { pool.cancel(id); }));
    co_await weir::sleep_for(1s);
    said.push_back(thrown_text<weir::task_ended>([&] { pool.cancel(id); }));
  };
  const auto main = [&]() -> weir::task<> {
    auto by_id =
        pool.submit_nowait({.end_callback = attempt, .cancel_callback = attempt}, &endless);
    auto by_handle = pool.submit_nowait(&endless);
    co_await weir::sleep_for(1s);
    pool.cancel(0);
    said.push_back(thrown_text<weir::already_cancelled>([&] { pool.cancel(0); }));
    by_handle.request_stop();
    said.push_back(thrown_text<weir::already_cancelled>([&] { pool.cancel(by_handle.id()); }));
    try {
      co_await by_id;
    } catch (const weir::task_cancelled&) {
      said.push_back("cancelled");
    }
    said.push_back(thrown_text<weir::already_ended>([&] { pool.cancel(0); }));
  };
  stage.play(main);
  const std::string cancelled = "'FixedPool-x_Task-0' has been cancelled";
  const std::string ended = "'FixedPool-x_Task-0' has finished running";
  CHECK(said == lines{cancelled, "'FixedPool-x_Task-1' has been cancelled", cancelled, cancelled,
                      ended, ended, "cancelled", ended});
}

TEMPLATE_TEST_CASE("1A.8: cancel_all cancels what waits before what runs, and the pool stays open",
                   "[aio_pool][ids]", weir::fifo, weir::lifo, weir::priority) {
  test::pool_stage stage;
  weir::fixed_pool<TestType> pool(
      stage.rt, {.size = 2, .ids = true, .log = stage.log.full_sink(), .name = "x"});
  std::atomic<int> started{0};
  const auto counted = [&]() -> weir::task<> {
    ++started;
    return endless();
  };
  std::vector<weir::pool_handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(pool.submit_nowait(counted));
  test::eventually([&] { return started == 2; });
  CHECK(pool.cancel_all(weir::stop_reason("over")) == 5);
  for (auto& handle : handles)
    CHECK(was_cancelled(handle, weir::stop_reason("over")));
  CHECK(started == 2);
  CHECK(stage.log.lines() == lines{"WARNING weir.pool: FixedPool-x cancelling all tasks!"});
  CHECK(pool.cancel_all() == 0);
  CHECK(pool.submit_nowait([] { return 3; }).get() == 3);
}

TEST_CASE("ids of pools that share a queue are each pool's own", "[aio_pool][ids]") {
  test::pool_stage stage;
  const weir::work_queue<weir::priority> queue;
  weir::fixed_pool<weir::priority> one(stage.rt, queue, {.size = 1, .ids = true});
  auto two = std::make_unique<weir::fixed_pool<weir::priority>>(
      stage.rt, queue, weir::fixed_pool_options{.size = 1, .ids = true});
  auto a = one.submit_nowait(&endless);
  auto b = two->submit_nowait(&endless);
  auto c = two->submit_nowait(&endless);
  CHECK(a.id() == 0);
  CHECK(b.id() == 0);
  CHECK(c.id() == 1);
  two->cancel(1);
  CHECK(was_cancelled(c));
  CHECK_FALSE(a.done());
  CHECK_FALSE(b.done());
  one.cancel(0);
  CHECK(was_cancelled(a));
  CHECK_FALSE(b.done());
  two.reset(); // stops it, or leaves it to the other pool
  b.request_stop();
  CHECK_THROWS_AS(b.get(), weir::task_cancelled);
}

TEMPLATE_TEST_CASE("each callback runs once, whoever cancels and when", "[aio_pool][ids][stress]",
                   weir::fifo, weir::lifo, weir::priority) {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<TestType> pool(rt, {.size = 3, .queue_maxsize = 16, .ids = true});
    constexpr int count = 300;
    struct seen {
      std::atomic<int> ends{0};
      std::atomic<int> cancels{0};
      std::atomic<int> runs{0};
    };
    std::atomic<long> cancels{0};
    std::atomic<long> accepted{0};
    std::atomic<bool> wrong{false};
    const auto submitter = [&](unsigned number) {
      std::minstd_rand random(number + 1);
      std::vector<std::unique_ptr<seen>> all;
      std::vector<weir::pool_handle<void>> handles;
      std::vector<weir::task_callback> callbacks;
      for (int i = 0; i < test::rounds(count); ++i) {
        const auto pick = static_cast<unsigned>(random());
        auto& s = *all.emplace_back(std::make_unique<seen>());
        weir::task_callback end;
        weir::task_callback can;
        if (pick % 2 == 0) {
          end = [&s] { ++s.ends; };
          can = [&s, &cancels] {
            ++s.cancels;
            ++cancels;
          };
        } else {
          end = [&s]() -> weir::task<> {
            co_await weir::yield();
            ++s.ends;
          };
          can = [&s, &cancels]() -> weir::task<> {
            ++cancels;
            co_await weir::yield();
            ++s.cancels;
          };
        }
        typename TestType::options options;
        options.end_callback = end;
        options.cancel_callback = can;
        if (pick % 16 == 3)
          options.start_by = rt.now() + std::chrono::microseconds(pick % 512);
        const auto work = [&s, pick]() -> weir::task<> {
          ++s.runs;
          for (unsigned n = pick % 3; n != 0; --n)
            co_await weir::yield();
          if (pick % 11 == 0)
            throw std::runtime_error("as asked");
        };
        auto handle = pool.try_submit(options, work);
        if (!handle) {
          all.pop_back();
          std::this_thread::yield();
          continue;
        }
        ++accepted;
        handles.push_back(std::move(*handle));
        auto& victim = handles[random() % handles.size()];
        if (pick % 8 == 1)
          (void)pool.try_cancel(victim.id());
        else if (pick % 8 == 2)
          victim.request_stop();
        else if (pick % 64 == 5)
          (void)pool.cancel_all();
      }
      for (std::size_t i = 0; i < handles.size(); ++i) {
        bool cancelled = false;
        try {
          handles[i].get();
        } catch (const weir::task_cancelled&) {
          cancelled = true;
        } catch (const std::runtime_error&) { // as asked
        }
        // The result comes after the callbacks.
        const seen& s = *all[i];
        if (s.ends != 1 || s.cancels != (cancelled ? 1 : 0) || s.runs > 1)
          wrong = true;
        if (pool.try_cancel(handles[i].id()) != weir::errc::already_ended)
          wrong = true;
      }
    };
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t)
      threads.emplace_back(submitter, t);
    for (auto& t : threads)
      t.join();
    CHECK_FALSE(wrong);
    CHECK(rt.block_on(pool.close()).in_time);
    const auto stats = pool.stats();
    CHECK(stats.accepted == static_cast<std::uint64_t>(accepted));
    CHECK(stats.ended == stats.accepted);
    CHECK(stats.cancelled == static_cast<std::uint64_t>(cancels));
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  }
}

TEMPLATE_TEST_CASE("a pool may end while callbacks run and deadlines come",
                   "[aio_pool][ids][stress]", weir::fifo, weir::lifo, weir::priority) {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (int round = 0; round < test::rounds(60); ++round) {
      weir::runtime rt{{.workers = workers}};
      std::atomic<int> ends{0};
      const weir::task_callback end = [&]() -> weir::task<> {
        co_await weir::yield();
        ++ends;
      };
      typename TestType::options options;
      options.end_callback = end;
      int accepted = 0;
      {
        weir::fixed_pool<TestType> pool(rt, {.size = 2, .ids = round % 2 == 0});
        for (int i = 0; i < 40; ++i) {
          if (i % 4 == 1)
            options.start_by = rt.now() + std::chrono::microseconds(i * 3);
          else
            options.start_by.reset();
          (void)pool.submit_nowait(options,
                                   []() -> weir::task<> { co_await weir::sleep_for(20us); });
          ++accepted;
        }
      }
      CHECK(ends == accepted); // the destructor waits for callbacks
    }
  }
}
