// SPDX-License-Identifier: MIT
// One thread's bed: park() sleeps until the next unpark(), which is remembered if it comes first.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>

namespace weir::detail {

class parker {
 public:
  /// Owner only. Sleeps until unpark() was called once since the last park().
  /// \return whether the thread went to sleep in the kernel.
  bool park() noexcept {
    std::uint32_t seen = empty;
    // Acquire: pairs with the release in unpark.
    const bool sleeps = word_.compare_exchange_strong(seen, sleeping, std::memory_order_acquire,
                                                      std::memory_order_acquire);
    if (sleeps) {
      do
        sync::futex_wait(word_, sleeping);
      while (word_.load(std::memory_order_relaxed) == sleeping);
    }
    // Acquire: pairs with the release in unpark. An exchange, so that it takes the newest unpark
    // and not only the one that was seen.
    (void)word_.exchange(empty, std::memory_order_acquire);
    return sleeps;
  }

  /// Any thread. A system call only if the owner sleeps.
  void unpark() noexcept {
    // Release: pairs with the acquires in park.
    if (word_.exchange(notified, std::memory_order_release) == sleeping)
      sync::futex_wake_one(word_);
  }

 private:
  static constexpr std::uint32_t empty = 0;
  static constexpr std::uint32_t notified = 1;
  static constexpr std::uint32_t sleeping = 2;

  sync::atomic<std::uint32_t> word_{empty};
};

} // namespace weir::detail
