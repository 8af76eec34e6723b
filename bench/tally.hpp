// SPDX-License-Identifier: MIT
// How often something has happened, counted by many threads.
#pragma once

#include <array>
#include <atomic>

namespace bench {

/// Counts by thread, so that counting costs every peer the same and little.
class tally {
 public:
  static void count() noexcept {
    static thread_local std::atomic<long>& mine = slots_[next_.fetch_add(1) % slots_.size()].value;
    mine.store(mine.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  static long sum() noexcept {
    long all = 0;
    for (const auto& s : slots_)
      all += s.value.load(std::memory_order_relaxed);
    return all;
  }

 private:
  struct alignas(128) slot {
    std::atomic<long> value;
  };
  // More slots than threads ever run at once; a slot is used again only after its thread has ended.
  static inline std::array<slot, 64> slots_;
  static inline std::atomic<unsigned> next_{0};
};

} // namespace bench
