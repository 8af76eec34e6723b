// SPDX-License-Identifier: MIT
// Exclusion of those who take from a queue, for a few instructions, and what they count.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>

namespace weir::detail {

class taking_flag {
 public:
  taking_flag() noexcept {}

  class guard {
   public:
    explicit guard(taking_flag& flag) noexcept : flag_(flag) {
      for (int wait = 32; !flag_.try_take(); wait *= 2) {
        if (wait > 256) {
          sync::yield_thread(); // it may have lost its CPU
          wait = 32;
          continue;
        }
        for (int i = 0; i < wait; ++i)
          sync::relax();
      }
    }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() { flag_.leave(); }

   private:
    taking_flag& flag_;
  };

  [[nodiscard]] bool try_take() noexcept {
    // Acquire: pairs with leave; what the last one left is seen. The load spares the line of who
    // has it.
    return !taken_.load(std::memory_order_relaxed) &&
           !taken_.exchange(true, std::memory_order_acquire);
  }
  void leave() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  sync::atomic<bool> taken_{false};
};

/// A count that only changes under a taking_flag.
class taken_count {
 public:
  void count() noexcept {
    // Release: pairs with value(), so that who sees it as taken also sees it as accepted.
    value_.store(value_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  [[nodiscard]] std::uint32_t value() const noexcept {
    return value_.load(std::memory_order_acquire);
  }

 private:
  sync::atomic<std::uint32_t> value_{0};
};

} // namespace weir::detail
