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
    static thread_local const owned_slot mine;
    mine.add();
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
    std::atomic<bool> taken;
  };

  /// A thread's own slot until it ends. Threads for which there is none share the last one.
  class owned_slot {
   public:
    owned_slot() noexcept : slot_(take()) {}
    owned_slot(const owned_slot&) = delete;
    owned_slot& operator=(const owned_slot&) = delete;
    ~owned_slot() {
      if (slot_ != &slots_.back())
        slot_->taken.store(false, std::memory_order_release); // pairs with take()
    }
    void add() const noexcept {
      auto& value = slot_->value;
      if (slot_ == &slots_.back()) [[unlikely]]
        value.fetch_add(1, std::memory_order_relaxed);
      else
        value.store(value.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

   private:
    static slot* take() noexcept {
      for (std::size_t i = 0; i + 1 < slots_.size(); ++i) {
        // Acquire: pairs with the release of the thread that had it, whose count is then seen.
        if (!slots_[i].taken.exchange(true, std::memory_order_acquire))
          return &slots_[i];
      }
      return &slots_.back();
    }

    slot* slot_;
  };

  static inline std::array<slot, 64> slots_;
};

struct empty_job {
  void operator()() const noexcept { tally::count(); }
};

} // namespace bench
