// SPDX-License-Identifier: MIT
// Exclusion of those who take from a queue, for a few instructions, and what they count.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>
#include <mutex>

namespace weir::detail {

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

class taking_flag {
 public:
  taking_flag() noexcept {}

  class guard {
   public:
    /// \param takes what is counted under the flag, if it is taken often.
    explicit guard(taking_flag& flag, const taken_count* takes = nullptr) noexcept : flag_(flag) {
      flag_.take(takes);
    }
    /// Of one that this thread has taken.
    guard(taking_flag& flag, std::adopt_lock_t) noexcept : flag_(flag) {}
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
    ~guard() { flag_.leave(); }

   private:
    taking_flag& flag_;
  };

  /// See `guard`; to be left.
  void take(const taken_count* takes = nullptr) noexcept {
    while (!try_take())
      wait(takes);
  }
  [[nodiscard]] bool try_take() noexcept {
    // Acquire: pairs with leave; what the last one left is seen. The load spares the line of who
    // has it.
    return !taken_.load(std::memory_order_relaxed) &&
           !taken_.exchange(true, std::memory_order_acquire);
  }
  void leave() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  static constexpr int moment = 32;         // pauses of the CPU
  static constexpr std::uint32_t often = 4; // so many in a moment

  void wait(const taken_count* takes) const noexcept {
    const auto before = takes == nullptr ? 0 : takes->value();
    for (int i = 0; i < 4; ++i) {
      sync::relax(moment);
      const auto taken = takes == nullptr ? 0 : takes->value() - before;
      if (taken >= often) {
        stay_away(*takes);
        return;
      }
      // Relaxed: taking it decides.
      if (taken != 0 || !taken_.load(std::memory_order_relaxed))
        return;
    }
    sync::yield_thread(); // it may have lost its CPU
  }
  /// Who takes often does it at the least cost if left alone for a while: each change of hands
  /// moves all that is touched under the flag to another CPU.
  static void stay_away(const taken_count& takes) noexcept {
    auto before = takes.value();
    for (int i = 0; i < 8; ++i) {
      sync::relax(4 * moment);
      const auto now = takes.value();
      if (now - before < 4 * often)
        return;
      before = now;
    }
  }

  sync::atomic<bool> taken_{false};
};

} // namespace weir::detail
