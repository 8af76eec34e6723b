// SPDX-License-Identifier: MIT
// Exclusion of those who take from a queue, for a few instructions.
#pragma once

#include <weir/detail/sync.hpp>

namespace weir::detail {

class taking_flag {
 public:
  taking_flag() noexcept {}

  class guard {
   public:
    explicit guard(taking_flag& flag) noexcept : flag_(flag) {
      // Acquire: pairs with the release below; what the last one left is seen.
      for (int turns = 0; flag_.taken_.exchange(true, std::memory_order_acquire); ++turns) {
        if (turns % 64 == 63)
          sync::yield_thread(); // it may have lost its CPU
        else
          sync::relax();
      }
    }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() { flag_.taken_.store(false, std::memory_order_release); }

   private:
    taking_flag& flag_;
  };

 private:
  sync::atomic<bool> taken_{false};
};

} // namespace weir::detail
