// SPDX-License-Identifier: MIT
// Who sleeps and who searches: one word that submitters read and sleepers change.
//
//   bits  0-15  top of the stack of sleeping workers (index + 1; 0: nobody sleeps)
//   bits 16-31  number of searching workers
//   bits 32-63  tag, changes with every push and pop, so that a stale `next` is never believed
//
// The sleepers form a stack, so that the worker that slept last, with the warmest cache, wakes
// first.
//
// Invariants (docs/scheduler.md has the argument; tests name them):
// W1  Whoever publishes work looks at this word afterwards. If nobody searches and somebody sleeps,
//     it pops one sleeper, which thereby counts as searching, and wakes it.
// W2  The last searcher to stop searching looks at all queues afterwards, and wakes one sleeper if
// it
//     sees work. So publishers may rely on a searcher that they saw.
// W3  A worker that goes to sleep is pushed first. If then nobody searches, it looks at all queues
//     and, seeing work, pops one sleeper (mostly itself).
//
// Each pair "write mine, read theirs" is sequentially consistent on both sides: publishers write
// their queue's counter and read this word, sleepers write this word and read the counters; at
// least one of the two sees the other. That is the whole proof that no wake-up is lost.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace weir::detail {

class idle_set {
 public:
  /// For workers 0 to `capacity` - 1; at most 65534.
  explicit idle_set(std::size_t capacity)
      : next_(std::make_unique<sync::atomic<std::uint16_t>[]>(capacity)) {}

  /// Joins the searchers unless `limit` already search.
  [[nodiscard]] bool start_searching(std::uint32_t limit) noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    while (searching(seen) < limit) {
      // Seq_cst: publishers that read this value rely on W2. Relaxed on failure: retried.
      if (word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_seq_cst,
                                      std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  /// Counts a worker that is about to come as a searcher, unless somebody searches or sleeps.
  [[nodiscard]] bool start_searching_if_all_busy() noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    while (searching(seen) == 0 && top(seen) == 0) {
      // Seq_cst: as in start_searching.
      if (word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_seq_cst,
                                      std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  /// \return whether the caller was the last searcher; then W2 is its duty.
  [[nodiscard]] bool stop_searching() noexcept {
    // Seq_cst: pairs with the publishers' load in pop_if_nobody_searches (W2).
    return searching(word_.fetch_sub(one_searching, std::memory_order_seq_cst)) == 1;
  }

  /// Puts worker `index` to the sleepers; a searcher stops searching in the same step.
  /// \return whether nobody searches now; then W3 is the caller's duty.
  [[nodiscard]] bool push(std::uint32_t index, bool was_searching) noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    std::uint64_t wanted = 0;
    do {
      // Relaxed: published by the exchange below, read after an acquire of the word.
      next_[index].store(static_cast<std::uint16_t>(top(seen)), std::memory_order_relaxed);
      wanted = next_tag(seen) | (seen & searching_mask) | (index + 1);
      if (was_searching)
        wanted -= one_searching;
      // Seq_cst: pairs with the publishers' load in pop_if_nobody_searches (W3).
    } while (!word_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return searching(wanted) == 0;
  }

  /// W1: takes a sleeper off the stack, as a searcher, unless somebody searches or nobody sleeps.
  [[nodiscard]] std::optional<std::uint32_t> pop_if_nobody_searches() noexcept {
    // Seq_cst: pairs with push and stop_searching.
    auto seen = word_.load(std::memory_order_seq_cst);
    while (searching(seen) == 0 && top(seen) != 0) {
      if (auto index = try_pop(seen))
        return index;
    }
    return std::nullopt;
  }

  /// Takes any sleeper off the stack, as a searcher: for wake-ups that everybody must get.
  [[nodiscard]] std::optional<std::uint32_t> pop() noexcept {
    auto seen = word_.load(std::memory_order_seq_cst);
    while (top(seen) != 0) {
      if (auto index = try_pop(seen))
        return index;
    }
    return std::nullopt;
  }

  /// For tests and figures: how many search now.
  [[nodiscard]] std::uint32_t searching() const noexcept {
    return searching(word_.load(std::memory_order_relaxed));
  }

 private:
  static constexpr std::uint64_t one_searching = std::uint64_t{1} << 16;
  static constexpr std::uint64_t searching_mask = std::uint64_t{0xffff} << 16;

  static constexpr std::uint32_t top(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & 0xffff);
  }
  static constexpr std::uint32_t searching(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word & searching_mask) >> 16);
  }
  static constexpr std::uint64_t next_tag(std::uint64_t word) noexcept {
    return ((word >> 32) + 1) << 32;
  }

  std::optional<std::uint32_t> try_pop(std::uint64_t& seen) noexcept {
    const std::uint32_t index = top(seen) - 1;
    // Relaxed: `seen` was acquired, and the tag makes the exchange fail if the stack has changed.
    const std::uint64_t below = next_[index].load(std::memory_order_relaxed);
    const std::uint64_t wanted = next_tag(seen) | ((seen & searching_mask) + one_searching) | below;
    if (word_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst,
                                    std::memory_order_seq_cst))
      return index;
    return std::nullopt;
  }

  alignas(sync::line_size) sync::atomic<std::uint64_t> word_{0};
  alignas(sync::line_size) std::unique_ptr<sync::atomic<std::uint16_t>[]> next_;
};

} // namespace weir::detail
