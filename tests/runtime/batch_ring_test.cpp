// SPDX-License-Identifier: MIT
// batch_ring: slots are used in order, are not filled again while somebody uses them (R2), and
// owner and thieves take each packet exactly once (R1).
#include "batch_ring.hpp"
#include "catch.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace {

using weir::detail::batch_ring;
using weir::detail::packet;

/// Carries a number that must arrive whole, and memory that leaks if a packet is lost. It has to be
/// relocated, not copied as bytes.
struct note {
  note(std::size_t n, std::vector<std::atomic<int>>& c)
      : number(std::make_unique<std::size_t>(n)), counts(&c) {}
  void operator()() const { (*counts)[*number].fetch_add(1, std::memory_order_relaxed); }

  std::unique_ptr<std::size_t> number;
  std::vector<std::atomic<int>>* counts;
};
static_assert(packet::fits<note>);

void run(packet& p) {
  p.run(p, weir::detail::this_thread());
}

/// Fills up to `count` slots with numbers from `next`.
std::size_t fill(batch_ring& ring, std::size_t count, std::size_t next,
                 std::vector<std::atomic<int>>& counts) {
  const std::size_t n = std::min(ring.room(), count);
  for (std::size_t i = 0; i < n; ++i)
    ring.free_slot(i) = packet(std::in_place, note(next + i, counts));
  ring.publish(n);
  return n;
}

/// Takes the oldest packet, runs and releases it. \return whether there was one.
bool take_and_run(batch_ring& ring) {
  auto claim = ring.take();
  if (!claim)
    return false;
  run(*claim);
  claim.release();
  return true;
}

} // namespace

TEST_CASE("an empty ring has room for a batch and hands out nothing", "[batch_ring]") {
  batch_ring ring;
  CHECK(ring.empty());
  CHECK(ring.room() == batch_ring::batch);
  CHECK_FALSE(ring.take());
  CHECK_FALSE(batch_ring::claim());
  ring.publish(0);
  CHECK(ring.empty());
  CHECK_FALSE(ring.take());
}

TEST_CASE("packets are seen when they are published, and leave in order", "[batch_ring]") {
  batch_ring ring;
  std::vector<std::atomic<int>> counts(3);
  for (std::size_t i = 0; i < 3; ++i)
    ring.free_slot(i) = packet(std::in_place, note(i, counts));
  CHECK(ring.empty());
  CHECK_FALSE(ring.take());
  ring.publish(3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_FALSE(ring.empty());
    CHECK(counts[i] == 0);
    CHECK(take_and_run(ring));
    CHECK(counts[i] == 1);
  }
  CHECK(ring.empty());
  CHECK_FALSE(ring.take());
}

TEST_CASE("a slot is not filled again while its packet is in use", "[batch_ring]") {
  batch_ring ring;
  std::vector<std::atomic<int>> counts(batch_ring::capacity);
  std::size_t next = 0;
  while (next < batch_ring::capacity) {
    const std::size_t n = fill(ring, batch_ring::batch, next, counts);
    REQUIRE(n == batch_ring::batch);
    next += n;
  }
  CHECK(ring.room() == 0);

  std::vector<batch_ring::claim> claims;
  while (auto claim = ring.take()) {
    run(*claim);
    claims.push_back(claim);
  }
  CHECK(claims.size() == batch_ring::capacity);
  CHECK(ring.empty());
  CHECK(ring.room() == 0); // all taken, none given back

  // Room is counted from the oldest slot on: later ones that are free do not help.
  for (std::size_t i = 3; i < claims.size(); ++i)
    claims[i].release();
  CHECK(ring.room() == 0);
  claims[1].release();
  CHECK(ring.room() == 0);
  claims[0].release();
  CHECK(ring.room() == 2);
  claims[2].release();
  CHECK(ring.room() == batch_ring::batch);
}

TEST_CASE("a claimed packet can be moved out, which frees the slot early", "[batch_ring]") {
  batch_ring ring;
  std::vector<std::atomic<int>> counts(1 + batch_ring::capacity);
  REQUIRE(fill(ring, 1, 0, counts) == 1);
  auto claim = ring.take();
  REQUIRE(claim);
  packet stolen(std::move(*claim));
  claim.release();
  // Once around, over the slot that the packet came from.
  for (std::size_t i = 1; i <= batch_ring::capacity; ++i) {
    REQUIRE(fill(ring, 1, i, counts) == 1);
    REQUIRE(take_and_run(ring));
  }
  CHECK(counts[0] == 0);
  run(stolen);
  for (const auto& n : counts)
    REQUIRE(n == 1);
}

TEST_CASE("random fills, takes and releases do as a model does", "[batch_ring]") {
  std::mt19937 random(20240302);
  constexpr std::size_t steps = 20'000;
  batch_ring ring;
  std::vector<std::atomic<int>> counts(steps * batch_ring::batch);
  std::size_t filled = 0;
  std::size_t taken = 0;
  std::size_t wrong = 0;
  std::size_t blocked = 0;
  struct open_claim {
    std::size_t number;
    batch_ring::claim claim;
  };
  std::deque<open_claim> open; // the oldest first
  for (std::size_t step = 0; step < steps; ++step) {
    // What is neither taken nor given back, from the oldest slot in use on, blocks the rest.
    const std::size_t oldest = open.empty() ? taken : open.front().number;
    std::size_t room = batch_ring::capacity - (filled - oldest);
    // Behind the oldest slot in use, the run of free slots ends there.
    room = std::min(room, batch_ring::batch);
    wrong += ring.room() == room ? 0 : 1;
    wrong += ring.empty() == (filled == taken) ? 0 : 1;
    switch (random() % 4) {
    case 0: {
      const std::size_t n = fill(ring, random() % (batch_ring::batch + 1), filled, counts);
      blocked += room == 0 ? 1 : 0;
      filled += n;
      break;
    }
    case 1:
    case 2:
      for (auto n = random() % 12; n > 0; --n) {
        auto claim = ring.take();
        wrong += static_cast<bool>(claim) == (taken < filled) ? 0 : 1;
        if (!claim)
          break;
        run(*claim);
        wrong += counts[taken] == 1 ? 0 : 1; // the right one
        open.push_back({taken++, claim});
      }
      break;
    default:
      for (auto n = random() % 12; n > 0 && !open.empty(); --n) {
        const auto at = open.begin() + static_cast<std::ptrdiff_t>(random() % open.size());
        at->claim.release();
        open.erase(at);
      }
    }
  }
  while (take_and_run(ring))
    ++taken;
  CHECK(wrong == 0);
  CHECK(blocked > 0);
  CHECK(taken == filled);
  CHECK(std::all_of(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(filled),
                    [](const auto& n) { return n == 1; }));
}

TEST_CASE("owner and thieves take each packet exactly once", "[batch_ring]") {
  constexpr std::size_t count = 100'000;
  for (std::size_t thief_count = 1; thief_count <= 3; ++thief_count) {
    CAPTURE(thief_count);
    batch_ring ring;
    std::vector<std::atomic<int>> counts(count + 1);
    std::atomic<bool> over{false};
    std::atomic<std::size_t> ready{0};
    std::atomic<std::size_t> stolen{0};
    std::vector<std::thread> thieves;
    for (std::size_t i = 0; i < thief_count; ++i) {
      thieves.emplace_back([&] {
        std::size_t mine = 0;
        ++ready;
        for (bool last = false; !last;) {
          last = over;
          while (auto claim = ring.take()) {
            // As worker::steal_from: move it out, let the slot go, then run it.
            packet moved;
            moved = std::move(*claim);
            claim.release();
            run(moved);
            ++mine;
          }
          std::this_thread::yield();
        }
        stolen += mine;
      });
    }
    while (ready < thief_count)
      std::this_thread::yield();
    std::mt19937 random(static_cast<unsigned>(thief_count));
    std::size_t next = 0;
    while (next < count) {
      const std::size_t n =
          fill(ring, std::min<std::size_t>(random() % 8 + 1, count - next), next, counts);
      next += n;
      if (n == 0)
        std::this_thread::yield();
      for (auto own = random() % 6; own > 0; --own) {
        if (!take_and_run(ring))
          break;
      }
      if (random() % 64 == 0)
        std::this_thread::yield();
    }
    // The last one is the thieves', even if none of them ran until now.
    while (fill(ring, 1, count, counts) == 0)
      std::this_thread::yield();
    while (!ring.empty())
      std::this_thread::yield();
    over = true;
    for (auto& t : thieves)
      t.join();
    std::size_t wrong = 0;
    for (const auto& n : counts)
      wrong += n == 1 ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(ring.empty());
    CHECK(stolen > 0);
  }
}
