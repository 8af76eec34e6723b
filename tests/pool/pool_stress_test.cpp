// SPDX-License-Identifier: MIT
// Pools on real threads: whatever happens at once, the limit holds, each task ends once, and the
// figures agree.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

namespace {

constexpr std::size_t worker_numbers[] = {1, 2, 3, 16};

/// How many are inside at once, and how many have ended which way.
struct crowd {
  std::atomic<long> limit{0};
  std::atomic<long> inside{0};
  std::atomic<long> too_many{0};
  std::atomic<long> entered{0};

  class visit {
   public:
    explicit visit(crowd& at) : at_(at) {
      ++at_.entered;
      if (++at_.inside > at_.limit)
        ++at_.too_many;
    }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() { --at_.inside; }

   private:
    crowd& at_;
  };
};

/// Counts each end of what a handle refers to.
struct ends {
  long values = 0;
  long errors = 0;
  long cancelled = 0;
  long all() const { return values + errors + cancelled; }

  template <class T>
  void take(weir::handle<T>& handle) {
    try {
      handle.get();
      ++values;
    } catch (const weir::task_cancelled&) {
      ++cancelled;
    } catch (const std::runtime_error&) {
      ++errors;
    }
  }
};

weir::task<> coroutine(crowd& c, unsigned seed) {
  const crowd::visit visit(c);
  for (unsigned i = 0; i < seed % 4; ++i)
    co_await weir::yield();
  if (seed % 7 == 0)
    throw std::runtime_error("sometimes");
}

void plain(crowd& c, unsigned seed) {
  const crowd::visit visit(c);
  if (seed % 5 == 0)
    throw std::runtime_error("sometimes");
}

template <class Queue>
void submit_cancel_scale_pause(std::size_t workers, unsigned round) {
  std::atomic<long> unseen{0};
  weir::runtime rt{
      {.workers = workers, .on_unhandled_exception = [&](std::exception_ptr) { ++unseen; }}};
  constexpr std::size_t most = 6;
  weir::fixed_pool<Queue> pool(
      rt, {.size = 3, .queue_maxsize = round % 2 == 0 ? 0U : 8U, .time_every = 1});
  crowd c;
  // The largest limit that can hold at any moment. Lower ones are looked at by the next test.
  c.limit = most;
  std::atomic<long> accepted{0};
  std::atomic<long> posted{0};
  std::atomic<bool> over{false};
  std::vector<ends> results(3);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t * 7919 + round);
      std::vector<weir::handle<void>> handles;
      for (int i = 0; i < 200; ++i) {
        const auto seed = static_cast<unsigned>(random());
        try {
          if (seed % 8 == 0) {
            pool.post([&c, seed] { plain(c, seed); });
            ++posted;
            continue;
          }
          auto handle = seed % 2 == 0 ? pool.try_submit(coroutine, std::ref(c), seed)
                                      : pool.try_submit(plain, std::ref(c), seed);
          if (!handle) {
            std::this_thread::yield();
            continue;
          }
          ++accepted;
          handles.push_back(std::move(*handle));
          if (seed % 16 == 1)
            handles[random() % handles.size()].request_stop();
        } catch (const weir::not_available&) {
          std::this_thread::yield();
        }
      }
      for (auto& handle : handles)
        results[t].take(handle);
    });
  }
  std::thread controller([&] {
    std::minstd_rand random(round);
    while (!over) {
      switch (random() % 5) {
      case 0:
        (void)pool.pause();
        break;
      case 1:
        pool.resume();
        break;
      case 2:
        if (pool.target_size() < most)
          (void)pool.scale(1);
        break;
      case 3:
        if (pool.target_size() > 1)
          (void)pool.scale(-1, random() % 2 == 0 ? weir::removal::soft : weir::removal::hard);
        break;
      default:
        (void)pool.stats();
      }
      std::this_thread::yield();
    }
  });
  for (auto& t : threads)
    t.join();
  over = true;
  controller.join();
  CHECK(rt.block_on(pool.close()).in_time);
  ends total;
  for (const auto& r : results) {
    total.values += r.values;
    total.errors += r.errors;
    total.cancelled += r.cancelled;
  }
  CHECK(c.too_many == 0);
  CHECK(c.inside == 0);
  CHECK(total.all() == accepted);
  const auto stats = pool.stats();
  CHECK(stats.accepted == static_cast<std::uint64_t>(accepted + posted));
  CHECK(stats.ended == stats.accepted);
  CHECK(stats.waiting == 0);
  CHECK(stats.running == 0);
  CHECK(stats.cancelled == static_cast<std::uint64_t>(total.cancelled));
  CHECK(stats.failed == static_cast<std::uint64_t>(total.errors + unseen));
  CHECK(stats.started >= static_cast<std::uint64_t>(c.entered));
  CHECK(stats.peak_running <= most);
  rt.drain();
  CHECK(rt.stats().accepted == rt.stats().ended);
}

} // namespace

TEMPLATE_TEST_CASE("random submitting, cancelling, scaling, pausing and throwing loses nothing",
                   "[pool][stress]", weir::fifo, weir::lifo, weir::priority) {
  for (const auto workers : worker_numbers) {
    for (int round = 0; round < test::rounds(20); ++round)
      submit_cancel_scale_pause<TestType>(workers, static_cast<unsigned>(round));
  }
}

TEMPLATE_TEST_CASE("the limit is never exceeded while it changes", "[pool][stress]", weir::fifo,
                   weir::lifo, weir::priority) {
  for (const auto workers : worker_numbers) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<TestType> pool(rt, {.size = 8});
    crowd c;
    std::vector<weir::handle<void>> handles;
    for (int round = 0; round < test::rounds(200); ++round) {
      const long limit = 1 + round % 8;
      // Lowered, and what was above it has ended: from here on the lower limit holds.
      c.limit = 8;
      (void)pool.scale(limit - static_cast<long>(pool.target_size()));
      test::eventually([&] { return pool.size() == static_cast<std::size_t>(limit); });
      c.limit = limit;
      for (unsigned i = 0; i < 30; ++i)
        handles.push_back(pool.submit_nowait(coroutine, std::ref(c), 7 * i + 1 + i % 3));
      for (auto& handle : handles) {
        try {
          handle.get();
        } catch (const std::runtime_error&) {
        }
      }
      handles.clear();
    }
    CHECK(c.too_many == 0);
    rt.block_on(pool.close());
  }
}

TEMPLATE_TEST_CASE("closing races with submitting: what was accepted ends, the rest is refused",
                   "[pool][stress]", weir::fifo, weir::lifo, weir::priority) {
  for (const auto workers : {1U, 2U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(100); ++round) {
      std::optional<weir::fixed_pool<TestType>> pool(std::in_place, rt,
                                                     weir::fixed_pool_options{.size = 2});
      crowd c;
      c.limit = 2;
      std::atomic<bool> go{false};
      std::atomic<long> late{0};
      ends results;
      std::atomic<bool> closed{false};
      std::thread submitter([&] {
        std::vector<weir::handle<void>> handles;
        go = true;
        try {
          for (unsigned i = 1; i < 10'000; ++i)
            handles.push_back(pool->submit_nowait([&c, &closed, &late] {
              const crowd::visit visit(c);
              if (closed)
                ++late;
            }));
        } catch (const weir::pool_is_closed&) {
        }
        for (auto& handle : handles)
          results.take(handle);
      });
      test::eventually([&] { return go.load(); });
      if (round % 2 == 0) {
        CHECK(rt.block_on(pool->close()).in_time);
      } else {
        pool->close_nowait(weir::removal::hard);
        rt.block_on(pool->close());
      }
      closed = true;
      submitter.join();
      const auto stats = pool->stats();
      CHECK(late == 0);
      CHECK(results.all() == static_cast<long>(stats.accepted));
      CHECK(results.values == c.entered);
      CHECK(c.too_many == 0);
      if (round % 4 < 2)
        pool.reset();
    }
  }
}

TEMPLATE_TEST_CASE("cancelling races with starting: each task runs or is cancelled, once",
                   "[pool][stress]", weir::fifo, weir::lifo, weir::priority) {
  for (const auto workers : {1U, 2U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<TestType> pool(rt, {.size = 2});
    std::atomic<long> ran{0};
    ends total;
    const int rounds = test::rounds(4000);
    for (int round = 0; round < rounds; ++round) {
      auto one = pool.submit_nowait([&] { ++ran; });
      auto two = pool.submit_nowait([&] { ++ran; });
      two.request_stop();
      one.request_stop();
      total.take(one);
      total.take(two);
    }
    rt.block_on(pool.close());
    CHECK(total.all() == 2 * rounds);
    CHECK(total.values == ran);
    CHECK(pool.stats().cancelled == static_cast<std::uint64_t>(total.cancelled));
  }
}

TEMPLATE_TEST_CASE("husks are cleared while all slots are held", "[pool]", weir::fifo, weir::lifo,
                   weir::priority) {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<TestType> pool(rt, {.size = 1});
  weir::event open;
  const auto waits = [](weir::event& door) -> weir::task<> { co_await door.wait(); };
  auto holder = pool.submit_nowait(waits, std::ref(open));
  test::eventually([&] { return pool.running_tasks_number() == 1; });
  // A husk keeps its control block until it is cleared. The runtime counts those that have left.
  std::vector<weir::handle<int>> kept;
  for (int i = 0; i < 5; ++i)
    kept.push_back(pool.submit_nowait([i] { return i; }));
  const auto before = rt.stats().ended;
  const int count = test::rounds(10'000);
  for (int i = 0; i < count; ++i) {
    auto unwanted = pool.submit_nowait([] { return -1; });
    unwanted.request_stop();
  }
  CHECK(pool.waiting_tasks_number() == 5);
  test::eventually(
      [&] { return rt.stats().ended - before > static_cast<std::uint64_t>(count) - 200; });
  open.set();
  holder.get();
  for (int i = 0; i < 5; ++i)
    CHECK(kept[static_cast<std::size_t>(i)].get() == i);
  rt.block_on(pool.close());
  rt.drain();
  CHECK(rt.stats().accepted == rt.stats().ended);
}

TEST_CASE("stats fit together at any moment", "[pool][stress]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt, {.size = 2, .time_every = 1});
  std::atomic<bool> over{false};
  std::atomic<long> wrong{0};
  std::thread reader([&] {
    while (!over) {
      const auto s = pool.stats();
      if (s.accepted != s.waiting + s.running + s.ended)
        ++wrong;
      if (s.ended != s.finished + s.failed + s.cancelled)
        ++wrong;
      if (s.running > 2 || s.peak_running > 2 || s.limit != 2)
        ++wrong;
    }
  });
  const int count = test::rounds(20'000);
  for (int i = 0; i < count; ++i) {
    auto handle = pool.submit_nowait([] {});
    if (i % 3 == 0)
      handle.request_stop();
  }
  over = true;
  reader.join();
  rt.block_on(pool.close());
  CHECK(wrong == 0);
  const auto s = pool.stats();
  CHECK(s.accepted == static_cast<std::uint64_t>(count));
  CHECK(s.ended == s.accepted);
  CHECK(s.queue_delay.count() >= s.started);
  CHECK(s.run_time.count() == s.started);
}

TEST_CASE("histograms hold how long tasks waited and ran", "[pool]") {
  using namespace std::chrono_literals;
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  weir::fixed_pool<> pool(rt, {.size = 1, .time_every = 1});
  const auto main = [](weir::fixed_pool<>& p) -> weir::task<> {
    const auto sleeps = []() -> weir::task<> { co_await weir::sleep_for(1s); };
    std::vector<weir::handle<void>> handles;
    for (int i = 0; i < 3; ++i)
      handles.push_back(p.submit_nowait(sleeps));
    for (auto& handle : handles)
      co_await handle;
  };
  rt.block_on(main(pool));
  const auto s = pool.stats();
  using histogram = weir::duration_histogram;
  CHECK(s.run_time.count() == 3);
  CHECK(s.run_time.counts[histogram::class_of(1s)] == 3);
  CHECK(s.queue_delay.counts[histogram::class_of(0s)] == 1);
  CHECK(s.queue_delay.counts[histogram::class_of(1s)] == 1);
  CHECK(s.queue_delay.counts[histogram::class_of(2s)] == 1);
  CHECK(s.run_time.percentile(0.5) >= 1s);
  CHECK(s.run_time.percentile(0.5) < 2s);
}

TEST_CASE("a histogram's classes are powers of two", "[pool]") {
  using namespace std::chrono_literals;
  using histogram = weir::duration_histogram;
  CHECK(histogram::class_of(-1ns) == 0);
  CHECK(histogram::class_of(0ns) == 0);
  CHECK(histogram::class_of(1ns) == 1);
  CHECK(histogram::class_of(2ns) == 2);
  CHECK(histogram::class_of(3ns) == 2);
  CHECK(histogram::class_of(4ns) == 3);
  CHECK(histogram::class_of(std::chrono::nanoseconds::max()) == histogram::class_count - 1);
  for (std::size_t i = 0; i + 1 < histogram::class_count; ++i) {
    CHECK(histogram::class_of(histogram::upper_bound(i)) == i);
    CHECK(histogram::class_of(histogram::upper_bound(i) + 1ns) == i + 1);
  }
  histogram h;
  CHECK(h.percentile(0.5) == 0ns);
  h.counts[2] = 3;
  h.counts[10] = 1;
  CHECK(h.count() == 4);
  CHECK(h.percentile(0.5) == 3ns);
  CHECK(h.percentile(1) == 1023ns);
  histogram more = h;
  more += h;
  CHECK(more.count() == 8);
}
