// SPDX-License-Identifier: MIT
// idle_set: what one thread sees (order, searchers, limits), and a small model of the workers'
// protocol (W1-W3) in which no wake-up may be lost.
#include "catch.hpp"
#include "idle_set.hpp"
#include "parker.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

using weir::detail::idle_set;
using weir::detail::parker;

using worker_index = std::optional<std::uint32_t>;

} // namespace

TEST_CASE("nobody sleeps or searches at first", "[idle_set]") {
  idle_set idle(4);
  CHECK(idle.searching() == 0);
  CHECK_FALSE(idle.pop());
  CHECK_FALSE(idle.pop_if_nobody_searches());
  CHECK(idle.searching() == 0);
}

TEST_CASE("the worker that slept last wakes first, as a searcher", "[idle_set]") {
  idle_set idle(4);
  for (std::uint32_t i : {2U, 0U, 3U, 1U})
    CHECK(idle.push(i, false));
  std::uint32_t searchers = 0;
  for (std::uint32_t i : {1U, 3U, 0U, 2U}) {
    CHECK(idle.pop() == worker_index(i));
    CHECK(idle.searching() == ++searchers);
  }
  CHECK_FALSE(idle.pop());
  CHECK(idle.searching() == 4);
}

TEST_CASE("no sleeper is woken while somebody searches", "[idle_set]") {
  idle_set idle(3);
  CHECK(idle.push(0, false));
  CHECK(idle.push(1, false));
  CHECK(idle.pop_if_nobody_searches() == worker_index(1));
  CHECK(idle.searching() == 1);
  CHECK_FALSE(idle.pop_if_nobody_searches());
  CHECK(idle.stop_searching());
  CHECK(idle.pop_if_nobody_searches() == worker_index(0));
  CHECK_FALSE(idle.pop_if_nobody_searches());
  CHECK(idle.searching() == 1);
}

TEST_CASE("only so many may search", "[idle_set]") {
  idle_set idle(4);
  CHECK_FALSE(idle.start_searching(0));
  CHECK(idle.start_searching(2));
  CHECK(idle.start_searching(2));
  CHECK_FALSE(idle.start_searching(2));
  CHECK(idle.searching() == 2);
  CHECK(idle.start_searching(3));
  CHECK_FALSE(idle.start_searching(1));
  CHECK(idle.searching() == 3);
}

TEST_CASE("the last to stop searching is told so", "[idle_set]") {
  idle_set idle(4);
  REQUIRE(idle.start_searching(3));
  REQUIRE(idle.start_searching(3));
  REQUIRE(idle.start_searching(3));
  CHECK_FALSE(idle.stop_searching());
  CHECK_FALSE(idle.push(0, true));
  CHECK(idle.searching() == 1);
  SECTION("by stop_searching") {
    CHECK(idle.stop_searching());
  }
  SECTION("by going to sleep") {
    CHECK(idle.push(1, true));
    CHECK(idle.pop() == worker_index(1));
    CHECK(idle.stop_searching());
  }
  CHECK(idle.searching() == 0);
  // The other one still sleeps.
  CHECK(idle.pop() == worker_index(0));
}

TEST_CASE("a worker that goes to sleep is told whether somebody else searches", "[idle_set]") {
  idle_set idle(3);
  CHECK(idle.push(0, false));
  REQUIRE(idle.start_searching(1));
  CHECK_FALSE(idle.push(1, false));
  CHECK(idle.push(2, true));
  CHECK(idle.searching() == 0);
}

TEST_CASE("as many workers as promised fit into the set", "[idle_set]") {
  constexpr std::uint32_t capacity = idle_set::largest_capacity;
  idle_set idle(capacity);
  std::uint32_t wrong = 0;
  REQUIRE(idle.start_searching(1));
  for (std::uint32_t i = 0; i < capacity; ++i)
    wrong += idle.push(i, false) ? 1 : 0;
  for (std::uint32_t i = capacity; i > 0; --i) {
    wrong += idle.pop() == worker_index(i - 1) ? 0 : 1;
    wrong += idle.searching() == capacity - i + 2 ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK_FALSE(idle.pop());
}

TEST_CASE("random operations do as a model does, for one thread", "[idle_set]") {
  constexpr std::uint32_t workers = 5;
  std::mt19937 random(20240303);
  idle_set idle(workers);
  std::vector<std::uint32_t> stack;
  std::set<std::uint32_t> searching;
  std::set<std::uint32_t> working;
  bool watched = false;
  for (std::uint32_t i = 0; i < workers; ++i)
    working.insert(i);
  int wrong = 0;
  const auto any_of = [&](const std::set<std::uint32_t>& from) {
    return *std::next(from.begin(), static_cast<std::ptrdiff_t>(random() % from.size()));
  };
  for (int step = 0; step < 50'000; ++step) {
    switch (random() % 5) {
    case 0: {
      if (working.empty())
        break;
      const auto limit = static_cast<std::uint32_t>(random() % (workers + 1));
      const bool expected = searching.size() < limit;
      wrong += idle.start_searching(limit) == expected ? 0 : 1;
      if (expected)
        searching.insert(working.extract(any_of(working)));
      break;
    }
    case 1:
      if (searching.empty())
        break;
      working.insert(searching.extract(any_of(searching)));
      wrong += idle.stop_searching() == searching.empty() ? 0 : 1;
      break;
    case 2: {
      const bool searches = random() % 2 == 0;
      auto& from = searches ? searching : working;
      if (from.empty())
        break;
      const auto i = any_of(from);
      from.erase(i);
      stack.push_back(i);
      const bool watches = random() % 3 == 0;
      watched |= watches;
      wrong += idle.push(i, searches, watches) == searching.empty() ? 0 : 1;
      break;
    }
    default: {
      const bool always = random() % 2 == 0;
      worker_index expected;
      if (!stack.empty() && (always || searching.empty())) {
        expected = stack.back();
        stack.pop_back();
        searching.insert(*expected);
        watched = false;
      }
      wrong += (always ? idle.pop() : idle.pop_if_nobody_searches()) == expected ? 0 : 1;
    }
    }
    wrong += idle.searching() == searching.size() ? 0 : 1;
    wrong += idle.is_watched() == watched ? 0 : 1;
    const bool calls = searching.empty() && !stack.empty();
    wrong += idle.calls_for_a_searcher() == calls ? 0 : 1;
    wrong += idle.calls_for_a_searcher(true) == (calls && !watched) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("concurrent pushes and pops neither lose nor double a worker", "[idle_set]") {
  // Each thread owns what it has popped. Whoever pops what another one owns has been handed it
  // twice.
  constexpr std::uint32_t workers = 3; // few, so that the stack is often the same again (ABA)
  constexpr int steps = 300'000;
  idle_set idle(workers);
  std::vector<std::atomic<int>> owned(workers);
  for (std::uint32_t i = 0; i < workers; ++i)
    (void)idle.push(i, false);
  std::atomic<int> doubled{0};
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < 3; ++n) {
    threads.emplace_back([&, n] {
      std::mt19937 random(n);
      std::vector<std::uint32_t> mine;
      for (int step = 0; step < steps; ++step) {
        if (mine.empty() || random() % 2 == 0) {
          if (const auto popped = idle.pop()) {
            if (owned[*popped].fetch_add(1) != 0)
              ++doubled;
            mine.push_back(*popped);
          }
        } else {
          const auto at = random() % mine.size();
          std::swap(mine[at], mine.back());
          const auto i = mine.back();
          mine.pop_back();
          --owned[i];
          (void)idle.push(i, true);
        }
      }
      for (auto i : mine) {
        --owned[i];
        (void)idle.push(i, true);
      }
    });
  }
  for (auto& t : threads)
    t.join();
  CHECK(doubled == 0);
  CHECK(idle.searching() == 0);
  std::set<std::uint32_t> left;
  while (const auto popped = idle.pop())
    CHECK(left.insert(*popped).second);
  CHECK(left.size() == workers);
}

namespace {

/// The scheduler with everything left out but who sleeps and who searches. Work is a number; the
/// loop is that of worker::wait_for_work.
///
/// A lost wake-up shows as a state that nothing will ever change: all workers are past their last
/// look (W3), none has been popped since, and there is work. `asleep_` counts looks minus pops; it
/// can equal the number of workers only in that state. So no clock is needed to find one.
class model {
 public:
  explicit model(std::uint32_t workers)
      : idle_(workers), beds_(workers), limit_(std::max(1U, workers / 2)) {
    for (std::uint32_t i = 0; i < workers; ++i)
      threads_.emplace_back([this, i] { run(i); });
  }
  model(const model&) = delete;
  model& operator=(const model&) = delete;
  ~model() {
    over_.store(true);
    wake_all();
    for (auto& t : threads_)
      t.join();
  }

  void publish() {
    work_.fetch_add(1, std::memory_order_seq_cst);
    wake_one();
  }

  /// Work that makes a worker publish twice more, as a task that spawns.
  void publish_spawning() {
    spawning_.fetch_add(1, std::memory_order_relaxed);
    publish();
  }

  /// Waits until all work is done. \return false if it never will be.
  bool wait_done() {
    const auto workers = static_cast<std::int64_t>(beds_.size());
    for (;;) {
      if (open_.load() == 0)
        return true;
      // If all sleep for good, `work_` cannot change between the two loads.
      if (asleep_.load() == workers && work_.load() != 0)
        return false;
      std::this_thread::yield();
    }
  }

  /// To be called before publish(): how many pieces will have to be done.
  void expect(std::int64_t pieces) { open_.fetch_add(pieces); }

  [[nodiscard]] std::int64_t parks() const { return parks_; }
  [[nodiscard]] std::uint32_t searching() const { return idle_.searching(); }
  [[nodiscard]] bool all_sleep() const {
    return asleep_.load() == static_cast<std::int64_t>(beds_.size());
  }

 private:
  bool take() {
    auto seen = work_.load(std::memory_order_relaxed);
    while (seen > 0) {
      if (work_.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire,
                                      std::memory_order_relaxed))
        return true;
    }
    return false;
  }
  bool has_visible_work() { return work_.load(std::memory_order_seq_cst) > 0; }

  void wake_one() {
    if (const auto i = idle_.pop_if_nobody_searches())
      wake(*i);
  }
  void wake_all() {
    while (const auto i = idle_.pop())
      wake(*i);
  }
  void wake(std::uint32_t i) {
    asleep_.fetch_sub(1);
    beds_[i].unpark();
  }

  void execute() {
    auto spawning = spawning_.load(std::memory_order_relaxed);
    while (spawning > 0 && !spawning_.compare_exchange_weak(spawning, spawning - 1)) {
    }
    if (spawning > 0) {
      publish();
      publish();
    }
    open_.fetch_sub(1);
  }

  bool search() {
    for (int round = 0; round < 3; ++round) {
      if (take())
        return true;
      weir::detail::sync::relax();
    }
    return false;
  }

  /// \return false if it is over.
  bool wait_for_work(std::uint32_t i) {
    bool searching = idle_.start_searching(limit_);
    for (;;) {
      if (searching && search()) {
        if (idle_.stop_searching() && has_visible_work()) // W2
          wake_one();
        return true;
      }
      const bool nobody_searches = idle_.push(i, searching);
      if (over_.load())
        wake_all();                              // mostly this one
      if (nobody_searches && has_visible_work()) // W3
        wake_one();
      asleep_.fetch_add(1);
      if (beds_[i].park().slept)
        parks_.fetch_add(1, std::memory_order_relaxed);
      searching = true;
      if (over_.load()) {
        (void)idle_.stop_searching();
        return false;
      }
    }
  }

  void run(std::uint32_t i) {
    for (;;) {
      if (!take() && !wait_for_work(i))
        return;
      execute();
    }
  }

  idle_set idle_;
  std::vector<parker> beds_;
  const std::uint32_t limit_;
  std::atomic<std::int64_t> work_{0};
  std::atomic<std::int64_t> spawning_{0};
  std::atomic<std::int64_t> open_{0};
  std::atomic<std::int64_t> asleep_{0};
  std::atomic<std::int64_t> parks_{0};
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_;
};

} // namespace

TEST_CASE("no wake-up is lost", "[idle_set]") {
  constexpr int rounds = 6'000;
  for (std::uint32_t workers = 1; workers <= 4; ++workers) {
    CAPTURE(workers);
    std::mt19937 random(workers);
    model m(workers);
    int lost = 0;
    for (int round = 0; round < rounds && lost == 0; ++round) {
      // Mostly single pieces, published while the workers are on their way to sleep.
      const int pieces = random() % 4 == 0 ? static_cast<int>(random() % 6) : 1;
      const bool spawns = random() % 8 == 0;
      m.expect(pieces + (spawns ? 3 : 0));
      if (spawns)
        m.publish_spawning();
      for (int i = 0; i < pieces; ++i) {
        m.publish();
        for (auto spin = random() % 64; spin > 0; --spin)
          weir::detail::sync::relax();
      }
      if (random() % 2 == 0)
        lost += m.wait_done() ? 0 : 1;
      if (random() % 64 == 0) {
        for (int i = 0; i < 100 && !m.all_sleep(); ++i)
          std::this_thread::yield();
      }
    }
    lost += m.wait_done() ? 0 : 1;
    CHECK(lost == 0);
    // Else nothing was tried.
    CHECK(m.parks() > 0);
    if (lost == 0) {
      while (!m.all_sleep())
        std::this_thread::yield();
      CHECK(m.searching() == 0);
    }
  }
}
