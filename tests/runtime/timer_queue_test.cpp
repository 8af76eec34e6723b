// SPDX-License-Identifier: MIT
// timer_queue against a sorted set, with deadlines near, far, equal and in the past.
#include "timer_queue.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using weir::detail::timer;
using weir::detail::timer_queue;
using key = timer_queue::key;

namespace {

weir::detail::job* fires_nothing(timer&, weir::detail::thread_state&) noexcept {
  return nullptr;
}

class timer_set {
 public:
  explicit timer_set(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      all_.push_back(std::make_unique<timer>(&fires_nothing));
  }
  timer& operator[](std::size_t i) { return *all_[i]; }
  std::size_t index_of(const timer* t) const {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (all_[i].get() == t)
        return i;
    }
    return all_.size();
  }

 private:
  std::vector<std::unique_ptr<timer>> all_;
};

constexpr key start = key{1} << 63;

} // namespace

TEST_CASE("an empty timer queue has nothing to give", "[timer_queue]") {
  timer_queue q(start);
  CHECK(q.empty());
  CHECK(q.pop(std::numeric_limits<key>::max()) == nullptr);
  CHECK(q.next_look() == timer_queue::never);
  CHECK(q.next_deadline() == timer_queue::never);
}

TEST_CASE("equal deadlines come in the order of their arming", "[timer_queue]") {
  constexpr std::size_t count = 1000;
  for (const key distance :
       {key{0}, key{1}, key{1} << 19, key{1} << 22, key{1} << 40, key{1} << 60}) {
    timer_set timers(count);
    timer_queue q(start);
    for (std::size_t i = 0; i < count; ++i)
      q.insert(timers[i], start + distance);
    CHECK(q.next_deadline() == start + distance);
    CHECK(q.next_look() <= start + distance);
    if (distance != 0)
      CHECK(q.pop(start + distance - 1) == nullptr);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; ++i)
      wrong += q.pop(start + distance) == &timers[i] ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(q.empty());
  }
}

TEST_CASE("a deadline at the end of time is kept", "[timer_queue]") {
  timer_set timers(1);
  timer_queue q(0);
  q.insert(timers[0], std::numeric_limits<key>::max() - 1);
  CHECK(q.pop(start) == nullptr);
  CHECK(q.next_deadline() == std::numeric_limits<key>::max() - 1);
  CHECK(q.pop(std::numeric_limits<key>::max()) == &timers[0]);
}

TEST_CASE("a removed timer is gone, and removing it again says so", "[timer_queue]") {
  timer_set timers(3);
  timer_queue q(start);
  q.insert(timers[0], start + 10);
  q.insert(timers[1], start + (key{1} << 30));
  q.insert(timers[2], start + 20);
  CHECK(q.remove(timers[0]));
  CHECK_FALSE(q.remove(timers[0]));
  CHECK(q.remove(timers[1]));
  CHECK_FALSE(q.remove(timers[1]));
  CHECK(q.pop(std::numeric_limits<key>::max()) == &timers[2]);
  CHECK_FALSE(q.remove(timers[2]));
  CHECK(q.empty());
}

TEST_CASE("random arming, removing and advancing does as a sorted set does", "[timer_queue]") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    constexpr std::size_t count = 200;
    std::mt19937_64 random(seed);
    timer_set timers(count);
    timer_queue q(start);
    key now = start;
    std::uint64_t sequence = 0;
    std::set<std::pair<std::pair<key, std::uint64_t>, std::size_t>> model;
    std::vector<std::pair<std::pair<key, std::uint64_t>, bool>> armed(count);
    int wrong = 0;
    for (int step = 0; step < test::rounds(20'000); ++step) {
      const std::size_t i = random() % count;
      switch (random() % 5) {
      case 0:
      case 1:
        if (!armed[i].second) {
          // Distances of all magnitudes, few different ones of each so that some are equal.
          const key distance = (random() % 4) << (random() % (seed % 2 == 0 ? 24 : 60));
          const key deadline = seed % 7 == 3 && now > distance ? now - distance : now + distance;
          q.insert(timers[i], deadline);
          armed[i] = {{deadline, sequence++}, true};
          model.insert({armed[i].first, i});
        }
        break;
      case 2:
        wrong += q.remove(timers[i]) == armed[i].second ? 0 : 1;
        if (std::exchange(armed[i].second, false))
          model.erase({armed[i].first, i});
        break;
      case 3:
        now += (random() % 3) << (random() % (seed % 2 == 0 ? 22 : 50));
        break;
      default: {
        const key first = model.empty() ? timer_queue::never : model.begin()->first.first;
        wrong += q.next_deadline() == first ? 0 : 1;
        wrong += q.next_look() <= first ? 0 : 1;
        timer* const popped = q.pop(now);
        if (first <= now) {
          const std::size_t expected = model.begin()->second;
          wrong += popped == &timers[expected] ? 0 : 1;
          armed[expected].second = false;
          model.erase(model.begin());
        } else {
          wrong += popped == nullptr ? 0 : 1;
        }
      }
      }
      wrong += q.empty() == model.empty() ? 0 : 1;
    }
    CHECK(wrong == 0);
    while (!model.empty()) {
      wrong +=
          timers.index_of(q.pop(std::numeric_limits<key>::max())) == model.begin()->second ? 0 : 1;
      model.erase(model.begin());
    }
    CHECK(wrong == 0);
    CHECK(q.empty());
  }
}
