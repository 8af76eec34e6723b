// SPDX-License-Identifier: MIT
// One thread's bed: park() sleeps until the next unpark(), which is remembered if it comes first.
// poke() ends a sleep without saying anything: the sleeper looks again. An unpark() that comes with
// it wins.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>

namespace weir::detail {

class parker {
 public:
  enum class woken_by : std::uint8_t { unpark, poke, deadline };

  struct outcome {
    woken_by why;
    /// Whether the thread went to sleep in the kernel.
    bool slept;
  };

  /// Owner only. Sleeps until unpark() or poke() was called once since the last park(), at the
  /// latest until `deadline` of the steady clock (null: no limit).
  outcome park(const sync::time_point* deadline = nullptr) noexcept {
    std::uint32_t seen = empty;
    // Acquire: pairs with the releases in unpark and poke.
    const bool sleeps = word_.compare_exchange_strong(seen, sleeping, std::memory_order_acquire,
                                                      std::memory_order_acquire);
    if (sleeps) {
      do {
        if (deadline == nullptr)
          sync::futex_wait(word_, sleeping);
        else if (!sync::futex_wait_until(word_, sleeping, *deadline))
          break;
      } while (word_.load(std::memory_order_relaxed) == sleeping);
    }
    // Acquire: pairs with the releases in unpark and poke. An exchange, so that it takes the newest
    // one and not only the one that was seen.
    switch (word_.exchange(empty, std::memory_order_acquire)) {
    case notified:
      return {woken_by::unpark, sleeps};
    case poked:
      return {woken_by::poke, sleeps};
    default:
      return {woken_by::deadline, sleeps};
    }
  }

  /// Any thread. Whether the owner sleeps, or is about to: a hint, since a deadline or poke() may
  /// end that at any time.
  [[nodiscard]] bool sleeps() const noexcept {
    return word_.load(std::memory_order_relaxed) == sleeping;
  }

  /// Any thread. A system call only if the owner sleeps.
  void unpark() noexcept {
    // Release: pairs with the acquires in park.
    if (word_.exchange(notified, std::memory_order_release) == sleeping)
      sync::futex_wake_one(word_);
  }

  /// Any thread. As unpark, but only to make the owner look again.
  void poke() noexcept {
    auto seen = word_.load(std::memory_order_relaxed);
    // Release: pairs with the acquires in park. Relaxed on failure: retried.
    while (seen != notified && !word_.compare_exchange_weak(seen, poked, std::memory_order_release,
                                                            std::memory_order_relaxed)) {
    }
    if (seen == sleeping)
      sync::futex_wake_one(word_);
  }

 private:
  static constexpr std::uint32_t empty = 0;
  static constexpr std::uint32_t notified = 1;
  static constexpr std::uint32_t sleeping = 2;
  static constexpr std::uint32_t poked = 3;

  sync::atomic<std::uint32_t> word_{empty};
};

} // namespace weir::detail
