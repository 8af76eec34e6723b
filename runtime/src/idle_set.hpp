// SPDX-License-Identifier: MIT
// Who sleeps and who searches: one word that submitters read and sleepers change.
//
//   bits  0-11  top of the stack of sleeping workers (index + 1; 0: none)
//   bits 12-23  the keeper (index + 1; 0: none): a sleeper beside the stack, who watches the timers
//   bits 24-35  number of searching workers
//   bit  36     whether a sleeper watches the next slots (W4)
//   bits 37-63  tag, changes with every push and pop, so that a stale `next` is never believed
//
// The sleepers form a stack, so that the worker that slept last, with the warmest cache, wakes
// first. The first to sleep becomes the keeper, who is woken last, when nobody else sleeps.
//
// Invariants (docs/scheduler.md has the argument; tests name them):
// W1  Whoever publishes work looks at this word afterwards. If nobody searches and somebody sleeps,
//     it pops one sleeper, which thereby counts as searching, and wakes it.
// W2  The last searcher to stop searching looks at all queues afterwards and, seeing work, wakes
//     one sleeper. So publishers may rely on a searcher that they saw.
// W3  A worker that goes to sleep is pushed first. If then nobody searches, it looks at all queues
//     and, seeing work, pops one sleeper (mostly itself).
// W4  A worker whose search saw jobs come and go in next slots, each run by its owner, says in its
//     push that it watches: it sleeps for watch_interval at most, and then W1 is its duty. Until a
//     sleeper is next popped or leaves, publishers of a next slot rely on that, and W2 and W3 look
//     at no next slot. So two tasks that keep waking each other do not keep a worker awake.
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
  static constexpr std::size_t largest_capacity = 4094;

  /// For workers 0 to `capacity` - 1.
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
    while (searching(seen) == 0 && !somebody_sleeps(seen)) {
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

  /// Puts worker `index` to the sleepers, as the keeper if there is none; a searcher stops
  /// searching in the same step. If it `watches`, W4 is its duty.
  /// \return whether nobody searches now; then W3 is the caller's duty.
  [[nodiscard]] bool push(std::uint32_t index, bool was_searching, bool watches = false) noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    std::uint64_t wanted = 0;
    do {
      if (keeper(seen) == 0) {
        wanted = next_tag(seen) | (seen & (watch_mask | searching_mask | top_mask)) |
                 keeper_field(index + 1);
      } else {
        // Relaxed: published by the exchange below, read after an acquire of the word.
        next_[index].store(static_cast<std::uint16_t>(top(seen)), std::memory_order_relaxed);
        wanted =
            next_tag(seen) | (seen & (watch_mask | searching_mask | keeper_mask)) | (index + 1);
      }
      if (watches)
        wanted |= watch_mask;
      if (was_searching)
        wanted -= one_searching;
      // Seq_cst: pairs with the publishers' load in pop_if_nobody_searches (W3).
    } while (!word_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return searching(wanted) == 0;
  }

  /// Whether worker `index` is the keeper. Its own thread asks: nobody else makes it so.
  [[nodiscard]] bool is_keeper(std::uint32_t index) const noexcept {
    return keeper(word_.load(std::memory_order_relaxed)) == index + 1;
  }

  /// The keeper, if there is one.
  [[nodiscard]] std::optional<std::uint32_t> find_keeper() const noexcept {
    // Seq_cst: K1 and K2, after a timer was armed.
    const auto found = keeper(word_.load(std::memory_order_seq_cst));
    return found == 0 ? std::nullopt : std::optional(found - 1);
  }

  /// Whether workers sleep and none of them is the keeper (K2).
  [[nodiscard]] bool sleeps_without_keeper() const noexcept {
    const auto seen = word_.load(std::memory_order_seq_cst);
    return keeper(seen) == 0 && top(seen) != 0;
  }

  /// The keeper wakes up by itself, as a searcher.
  /// \return false if somebody has taken it off the set meanwhile; then an unpark is coming.
  [[nodiscard]] bool leave_as_keeper(std::uint32_t index) noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    while (keeper(seen) == index + 1) {
      const auto wanted = next_tag(seen) | ((seen & (searching_mask | top_mask)) + one_searching);
      // Seq_cst: publishers that read this value rely on W2. Relaxed on failure: retried.
      if (word_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst,
                                      std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  /// W1's look: whether somebody sleeps and nobody searches. For a job `in_slot`, a next slot, also
  /// whether nobody watches (W4).
  [[nodiscard]] bool calls_for_a_searcher(bool in_slot = false) const noexcept {
    // Seq_cst: pairs with push and stop_searching.
    const auto seen = word_.load(std::memory_order_seq_cst);
    return searching(seen) == 0 && somebody_sleeps(seen) && !(in_slot && (seen & watch_mask) != 0);
  }

  /// Whether a sleeper watches the next slots (W4).
  [[nodiscard]] bool is_watched() const noexcept {
    // Seq_cst: before W2's and W3's look at the slots. Whoever ends the watch later has popped a
    // sleeper, who looks at them.
    return (word_.load(std::memory_order_seq_cst) & watch_mask) != 0;
  }

  /// W1: takes a sleeper off the stack, as a searcher, unless somebody searches or nobody sleeps.
  [[nodiscard]] std::optional<std::uint32_t> pop_if_nobody_searches() noexcept {
    // Seq_cst: pairs with push and stop_searching.
    auto seen = word_.load(std::memory_order_seq_cst);
    while (searching(seen) == 0 && somebody_sleeps(seen)) {
      if (auto index = try_pop(seen))
        return index;
    }
    return std::nullopt;
  }

  /// Takes any sleeper off the stack, as a searcher: for wake-ups that everybody must get.
  [[nodiscard]] std::optional<std::uint32_t> pop() noexcept {
    auto seen = word_.load(std::memory_order_seq_cst);
    while (somebody_sleeps(seen)) {
      if (auto index = try_pop(seen))
        return index;
    }
    return std::nullopt;
  }

  /// Whether anybody sleeps or searches, a hint.
  [[nodiscard]] bool somebody_idle() const noexcept {
    return (word_.load(std::memory_order_relaxed) & (top_mask | keeper_mask | searching_mask)) != 0;
  }

  /// For tests and figures: how many search now.
  [[nodiscard]] std::uint32_t searching() const noexcept {
    return searching(word_.load(std::memory_order_relaxed));
  }

 private:
  static constexpr std::uint64_t field = 0xfff;
  static constexpr std::uint64_t top_mask = field;
  static constexpr std::uint64_t keeper_mask = field << 12;
  static constexpr std::uint64_t searching_mask = field << 24;
  static constexpr std::uint64_t one_searching = std::uint64_t{1} << 24;
  static constexpr std::uint64_t watch_mask = std::uint64_t{1} << 36;
  static constexpr std::uint64_t one_tag = std::uint64_t{1} << 37;

  static constexpr std::uint32_t top(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & field);
  }
  static constexpr std::uint32_t keeper(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word >> 12) & field);
  }
  static constexpr std::uint64_t keeper_field(std::uint64_t number) noexcept {
    return number << 12;
  }
  static constexpr std::uint32_t searching(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word >> 24) & field);
  }
  static constexpr bool somebody_sleeps(std::uint64_t word) noexcept {
    return (word & (top_mask | keeper_mask)) != 0;
  }
  static constexpr std::uint64_t next_tag(std::uint64_t word) noexcept {
    return (word & ~(one_tag - 1)) + one_tag;
  }

  std::optional<std::uint32_t> try_pop(std::uint64_t& seen) noexcept {
    std::uint32_t index = 0;
    std::uint64_t wanted = next_tag(seen) | ((seen & searching_mask) + one_searching);
    if (top(seen) != 0) {
      index = top(seen) - 1;
      // Relaxed: `seen` was acquired, and the tag makes the exchange fail if the stack has changed.
      wanted |= next_[index].load(std::memory_order_relaxed) | (seen & keeper_mask);
    } else {
      index = keeper(seen) - 1;
    }
    if (word_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst,
                                    std::memory_order_seq_cst))
      return index;
    return std::nullopt;
  }

  alignas(sync::line_size) sync::atomic<std::uint64_t> word_{0};
  alignas(sync::line_size) std::unique_ptr<sync::atomic<std::uint16_t>[]> next_;
};

} // namespace weir::detail
