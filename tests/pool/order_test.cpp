// SPDX-License-Identifier: MIT
// In which order the queues `lifo` and `priority` hand out what waits, whoever has pushed it.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

namespace {

/// A pool of one slot that is held until `run` lets everything start that was submitted.
template <class Queue>
class stage {
 public:
  stage() {
    running_ = pool.submit_nowait([this] {
      inside_.open();
      gate_.pass();
    });
    inside_.pass();
  }
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  void run() {
    gate_.open();
    rt.block_on(pool.close());
    running_.get();
  }
  /// Calls `f` on another thread, and waits for its end.
  template <class F>
  static void elsewhere(F&& f) {
    std::thread(f).join();
  }

  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<Queue> pool{rt, {.size = 1}};

 private:
  test::gate gate_;
  test::gate inside_;
  weir::handle<void> running_;
};

struct entry {
  int weight;
  int number;
  std::vector<std::pair<int, int>>* order;
  void note() const { order->emplace_back(weight, number); }
};

/// By a callable of a word, a larger one, or a task.
template <class Pool>
void submit(Pool& pool, int kind, const entry& which) {
  const weir::weighted_options options{.weight = which.weight};
  if (kind == 0)
    pool.post(options, [e = &which] { e->note(); });
  else if (kind == 1)
    pool.post(options, [which] { which.note(); });
  else
    (void)pool.submit_nowait(options, [which] { which.note(); });
}

} // namespace

TEST_CASE("lifo starts what was submitted last, whoever submitted it", "[order]") {
  std::vector<int> order;
  stage<weir::lifo> on;
  int next = 0;
  for (const int count : {3, 700, 255, 1, 300, 2000}) {
    stage<weir::lifo>::elsewhere([&] {
      for (int i = 0; i < count; ++i, ++next)
        (void)on.pool.submit_nowait([&order, number = next] { order.push_back(number); });
    });
  }
  on.run();
  REQUIRE(order.size() == static_cast<std::size_t>(next));
  CHECK(std::is_sorted(order.rbegin(), order.rend()));
}

TEST_CASE("threads that submit in turn are told apart", "[order]") {
  // Of 70 threads some share their place in the queue.
  const auto [threads, turns] = GENERATE(std::pair(5, 255), std::pair(70, 20));
  std::vector<int> newest;
  std::vector<int> oldest;
  stage<weir::lifo> last_first;
  stage<weir::priority> first_first;
  std::atomic<int> next{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t, step = threads, end = threads * turns] {
      for (int i = t; i < end; i += step) {
        test::eventually([&] { return next == i; });
        last_first.pool.post([&newest, i] { newest.push_back(i); });
        first_first.pool.post([&oldest, i] { oldest.push_back(i); });
        ++next;
      }
    });
  }
  for (auto& thread : all)
    thread.join();
  last_first.run();
  first_first.run();
  CHECK(newest.size() == static_cast<std::size_t>(next));
  CHECK(std::is_sorted(newest.rbegin(), newest.rend()));
  CHECK(oldest.size() == static_cast<std::size_t>(next));
  CHECK(std::is_sorted(oldest.begin(), oldest.end()));
}

TEST_CASE("lifo keeps its order while what was cancelled is cleared away", "[order]") {
  std::minstd_rand random(7);
  for (int round = test::rounds(20); round > 0; --round) {
    std::vector<int> order;
    std::vector<weir::handle<void>> handles;
    stage<weir::lifo> on;
    constexpr int count = 3000;
    for (int i = 0; i < count; ++i)
      handles.push_back(on.pool.submit_nowait([&order, i] { order.push_back(i); }));
    std::thread canceller([&] {
      for (auto& handle : handles) {
        if (random() % 4 != 0)
          (void)handle.request_stop();
      }
    });
    on.run();
    canceller.join();
    CHECK(std::is_sorted(order.rbegin(), order.rend()));
    const auto stats = on.pool.stats();
    CHECK(stats.finished == order.size() + 1);
    CHECK(stats.cancelled == count - order.size());
  }
}

TEST_CASE("priority starts by weight, and of equal weights what was submitted first", "[order]") {
  const int weights = GENERATE(1, 5, 8, 9, 300);
  const int kind = GENERATE(0, 1, 2);
  std::minstd_rand random(static_cast<unsigned>(weights));
  const std::vector counts{2, 600, 255, 1, 1500};
  std::vector<std::pair<int, int>> order;
  std::vector<entry> all;
  for (const int count : counts) {
    for (int i = 0; i < count; ++i)
      all.push_back({static_cast<int>(random() % static_cast<unsigned>(weights)) - weights / 2,
                     static_cast<int>(all.size()), &order});
  }
  stage<weir::priority> on;
  auto next = all.begin();
  for (const int count : counts) {
    stage<weir::priority>::elsewhere([&] {
      for (int i = 0; i < count; ++i, ++next)
        submit(on.pool, kind, *next);
    });
  }
  on.run();
  REQUIRE(order.size() == all.size());
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("what more threads submit at once than a queue has places for is run once each",
          "[order]") {
  const int each = test::rounds(300);
  constexpr int threads = 80;
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<weir::lifo> pool(rt, {.size = 2});
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(threads * each));
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = t * each; i < (t + 1) * each; ++i)
        pool.post([run = &runs[static_cast<std::size_t>(i)]] { ++*run; });
    });
  }
  for (auto& thread : all)
    thread.join();
  rt.block_on(pool.close());
  CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; }));
}
