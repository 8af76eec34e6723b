// SPDX-License-Identifier: MIT
// Everything at once on real threads: each accepted task ends exactly once, each callback runs
// exactly once, never more run than the limit allows, and the figures agree.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t task_limit = 1 << 18;

/// What the tasks and callbacks of one pool have counted.
struct figures {
  std::atomic<std::int64_t> in_flight{0};
  std::atomic<std::int64_t> most{0};
  std::atomic<std::uint64_t> begun{0};
  std::atomic<std::uint64_t> left{0};
  std::atomic<std::uint64_t> ends{0};
  std::atomic<std::uint64_t> cancels{0};
  std::atomic<int> faults{0};
  std::unique_ptr<std::atomic<unsigned char>[]> ended =
      std::make_unique<std::atomic<unsigned char>[]>(task_limit);
  std::unique_ptr<std::atomic<unsigned char>[]> cancelled =
      std::make_unique<std::atomic<unsigned char>[]>(task_limit);

  void enter() {
    ++begun;
    const auto now = ++in_flight;
    auto seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
  }
  void leave() {
    --in_flight;
    ++left;
  }
};

struct presence {
  explicit presence(figures& f) : in(&f) { in->enter(); }
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;
  ~presence() { in->leave(); }
  figures* in;
};

weir::task<int> wanders(figures* f, int kind) {
  const presence here(*f);
  if (kind % 7 == 0)
    throw std::runtime_error("as asked");
  for (int i = 0; i < kind % 5; ++i)
    co_await weir::yield();
  if (kind % 61 == 0)
    co_await weir::sleep_for(1h); // until it is cancelled
  if (kind % 3 == 0)
    co_await weir::sleep_for(10us);
  co_return kind;
}

weir::task_callback end_callback(figures& f, bool coroutine) {
  const auto note = [&f](weir::task_id id) {
    ++f.ends;
    if (id >= task_limit || f.ended[id].fetch_add(1) != 0)
      ++f.faults;
  };
  if (!coroutine)
    return note;
  return [note](weir::task_id id) -> weir::task<> {
    co_await weir::yield();
    note(id);
  };
}

weir::task_callback cancel_callback(figures& f, bool coroutine) {
  const auto note = [&f](weir::task_id id) {
    ++f.cancels;
    if (id >= task_limit || f.cancelled[id].fetch_add(1) != 0 || f.ended[id] != 0)
      ++f.faults;
  };
  if (!coroutine)
    return note;
  return [note](weir::task_id id) -> weir::task<> {
    note(id);
    co_await weir::yield();
  };
}

void act(weir::task_pool& pool, figures& f, std::mt19937& random, bool resizes) {
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  try {
    const int action = pick(20);
    if (action < 6) {
      weir::apply_options options;
      options.num = static_cast<std::size_t>(pick(6));
      options.end_callback = end_callback(f, pick(2) == 0);
      options.cancel_callback = cancel_callback(f, pick(2) == 0);
      options.priority = pick(3);
      auto group = pool.apply(&wanders, std::tuple(&f, pick(1000)), options);
      if (pick(4) == 0)
        group.cancel();
    } else if (action < 11) {
      weir::map_options options;
      options.num_concurrent = static_cast<std::size_t>(1 + pick(4));
      options.end_callback = end_callback(f, pick(2) == 0);
      options.cancel_callback = cancel_callback(f, pick(2) == 0);
      const int from = pick(1000);
      const int throws_at = from + pick(40);
      auto range =
          std::views::iota(from, from + pick(20)) | std::views::transform([&f, throws_at](int i) {
            if (i == throws_at)
              throw std::runtime_error("range");
            return std::tuple(&f, i);
          });
      (void)pool.starmap(&wanders, range, options);
    } else if (action < 14) {
      const auto started = pool.stats().started;
      if (started != 0)
        (void)pool.try_cancel(started - 1 - random() % std::min<std::uint64_t>(started, 8));
    } else if (action == 14) {
      if (pick(2) == 0)
        pool.cancel_all(weir::stop_reason("stress"));
    } else if (action == 15) {
      pool.lock();
    } else if (action == 16) {
      if (resizes)
        pool.set_pool_size(static_cast<std::size_t>(pick(8)));
    } else {
      pool.unlock();
    }
    for (int n = 0; n < 200 && pool.stats().waiting > 20; ++n)
      std::this_thread::yield();
    const auto s = pool.stats();
    if (s.accepted != s.waiting + s.running + s.ended ||
        s.ended != s.finished + s.failed + s.cancelled)
      ++f.faults;
  } catch (const weir::pool_is_locked&) { // another thread has locked it
  }
}

weir::task<> flushes(weir::task_pool& pool, int times) {
  for (int i = 0; i < times; ++i) {
    (void)co_await pool.flush(weir::on_exception::collect);
    co_await weir::yield();
  }
}

} // namespace

TEST_CASE("A-19: random calls from three threads", "[stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (const bool resizes : {false, true}) {
      weir::runtime rt{{.workers = workers}};
      std::atomic<std::uint64_t> lines{0};
      figures f;
      weir::task_pool pool(rt, {.pool_size = 5,
                                .log = [&lines](auto...) { ++lines; },
                                .history = resizes ? std::size_t{3} : std::size_t{65536}});
      std::vector<std::thread> threads;
      for (unsigned seed = 1; seed <= 3; ++seed)
        threads.emplace_back([&, seed] {
          std::mt19937 random(seed);
          for (int i = 0; i < test::rounds(1000); ++i)
            act(pool, f, random, resizes);
        });
      auto flusher = rt.spawn(flushes(pool, test::rounds(100)));
      for (auto& t : threads)
        t.join();
      flusher.get();
      pool.set_pool_size(5);
      pool.cancel_all();
      rt.block_on(pool.gather_and_close(weir::on_exception::collect));
      const auto s = pool.stats();
      CHECK(f.faults == 0);
      CHECK(s.started > 0); // how many, chance decides
      CHECK(f.in_flight == 0);
      CHECK(f.begun == f.left);
      CHECK(f.begun <= s.started);
      CHECK(f.ends == s.started);
      CHECK(f.cancels <= s.cancelled);
      CHECK(s.running == 0);
      CHECK(s.waiting == 0);
      CHECK(s.accepted == s.ended);
      CHECK(s.started <= s.ended);
      CHECK(pool.num_running() == 0);
      CHECK(pool.num_cancelled() == 0);
      CHECK(pool.num_ended() == 0);
      if (!resizes)
        CHECK(f.most <= 5);
      CHECK(f.most <= 8);
      for (weir::task_id id = 0; id < s.started; ++id) {
        if (f.ended[id] != 1)
          FAIL("task " << id << " has ended " << int{f.ended[id]} << " times");
      }
    }
  }
}

TEST_CASE("cancelling against ending", "[stress]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::task_pool pool(rt, {.pool_size = 2});
    figures f;
    std::uint64_t refused = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      const auto brief = [](int yields) -> weir::task<> {
        for (int n = 0; n < yields; ++n)
          co_await weir::yield();
      };
      auto group = pool.apply(brief, std::tuple(i % 4),
                              {.num = 2,
                               .end_callback = end_callback(f, i % 2 == 0),
                               .cancel_callback = cancel_callback(f, i % 3 == 0)});
      const auto last = static_cast<weir::task_id>(2 * i);
      for (int n = 0; n < i % 32; ++n)
        weir::detail::sync::relax();
      refused += pool.try_cancel(last) ? 1 : 0;
      if (i % 5 == 0)
        pool.cancel_group(group.name());
      (void)rt.block_on(group.results());
      if (i % 64 == 0)
        rt.block_on(pool.flush());
    }
    rt.block_on(pool.gather_and_close());
    const auto s = pool.stats();
    CHECK(f.faults == 0);
    CHECK(s.started == static_cast<std::uint64_t>(2 * rounds));
    CHECK(f.ends == s.started);
    CHECK(f.cancels == s.cancelled);
    CHECK(refused <= static_cast<std::uint64_t>(rounds));
  }
}

TEST_CASE("a limit that shrinks and grows is kept", "[stress]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::task_pool pool(rt, {.pool_size = 1});
    std::atomic<int> ran{0};
    std::atomic<std::size_t> above{0};
    const int count = test::rounds(20000);
    (void)pool.apply(
        [&]() -> weir::task<> {
          co_await weir::yield();
          ++ran;
          if (pool.stats().peak_running > 16)
            ++above;
        },
        {.num = static_cast<std::size_t>(count)});
    std::mt19937 random(7);
    while (ran < count) {
      pool.set_pool_size(1 + random() % 16);
      std::this_thread::yield();
    }
    rt.block_on(pool.gather_and_close());
    CHECK(above == 0);
    CHECK(ran == count);
  }
}

TEST_CASE("pools that come and go while their tasks run", "[stress]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    figures f;
    std::uint64_t started = 0;
    for (int i = 0; i < test::rounds(400); ++i) {
      figures one;
      {
        weir::task_pool pool(rt, {.pool_size = 3});
        for (int n = 0; n < 3; ++n)
          (void)pool.apply(&wanders, std::tuple(&one, i + n),
                           {.num = 4,
                            .end_callback = end_callback(one, n % 2 == 0),
                            .cancel_callback = cancel_callback(one, n % 2 == 1)});
        if (i % 3 == 0)
          std::this_thread::yield();
      }
      f.faults += one.faults.load() + (one.in_flight == 0 ? 0 : 1);
      started += one.ends;
    }
    CHECK(f.faults == 0);
    CHECK(started > 0);
  }
}

TEST_CASE("closing while others still submit", "[stress]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int i = 0; i < test::rounds(100); ++i) {
      weir::task_pool pool(rt, {.pool_size = 2});
      std::atomic<int> accepted{0};
      std::atomic<int> ran{0};
      std::thread other([&] {
        try {
          for (;;) {
            (void)pool.apply([&ran] { ++ran; }, {.num = 3});
            accepted += 3;
            std::this_thread::yield();
          }
        } catch (const weir::pool_error&) { // locked or closed
        }
      });
      for (int n = 0; n < i % 16; ++n)
        std::this_thread::yield();
      rt.block_on(pool.gather_and_close());
      other.join();
      CHECK(ran == accepted);
    }
  }
}
