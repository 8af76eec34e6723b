// SPDX-License-Identifier: MIT
// Threads that take part in a runtime's forks without being its workers. Each counts as a root task
// while it does (S1), and has a fork stack where thieves find it.
#pragma once

#include <weir/detail/fork_stack.hpp>
#include <weir/detail/sync.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace weir::detail {

class fork_guests {
 public:
  /// Guests beyond these fork nothing: they run everything themselves.
  static constexpr std::size_t largest = 64;

  fork_guests() { free_.reserve(largest); }

  // Thieves.
  [[nodiscard]] std::size_t size() const noexcept {
    // Acquire: pairs with lend; the stacks are seen. Who publishes in one has lent it before.
    return made_.load(std::memory_order_acquire);
  }
  [[nodiscard]] fork_stack& at(std::size_t index) const noexcept { return *stacks_[index]; }
  /// W2's and W3's look.
  [[nodiscard]] bool have_public() const noexcept {
    // Seq_cst: pairs with lend, as has_public does with the publication that follows it.
    const std::size_t count = made_.load(std::memory_order_seq_cst);
    for (std::size_t i = 0; i < count; ++i) {
      if (stacks_[i]->has_public())
        return true;
    }
    return false;
  }

  // Guests.
  /// Counts the calling thread as inside. Until it leaves, the scheduler is not destroyed.
  void enter() noexcept {
    // Relaxed: the runtime is known to live meanwhile.
    inside_.fetch_add(1, std::memory_order_relaxed);
  }
  /// The guest's last touch of the scheduler.
  void leave() noexcept {
    // Release: pairs with wait_for_all.
    inside_.fetch_sub(1, std::memory_order_release);
  }
  /// A stack for the calling thread; null if all are in use. Throws `std::bad_alloc`.
  [[nodiscard]] fork_stack* lend(scheduler& home) {
    const std::scoped_lock lock(mutex_);
    if (!free_.empty()) {
      fork_stack* const stack = free_.back();
      free_.pop_back();
      return stack;
    }
    const std::size_t count = made_.load(std::memory_order_relaxed); // written under the lock
    if (count == largest)
      return nullptr;
    stacks_[count] = std::make_unique<fork_stack>(home);
    made_.store(count + 1, std::memory_order_seq_cst); // pairs with size and have_public
    return stacks_[count].get();
  }
  void give_back(fork_stack& stack) noexcept {
    const std::scoped_lock lock(mutex_);
    free_.push_back(&stack);
  }
  void count_ended() noexcept {
    // As thread_state::count_ended. Seq_cst, with the load in ended(): S3, the guest looks at the
    // state afterwards, and whoever moves the state on looks at this.
    ended_.fetch_add(1, std::memory_order_seq_cst);
  }

  // The scheduler.
  [[nodiscard]] std::uint64_t ended() const noexcept {
    return ended_.load(std::memory_order_seq_cst); // pairs with count_ended
  }
  void wait_for_all() const noexcept {
    while (inside_.load(std::memory_order_acquire) != 0) // pairs with leave
      sync::yield_thread();
  }

 private:
  sync::mutex mutex_;
  std::array<std::unique_ptr<fork_stack>, largest> stacks_;
  std::vector<fork_stack*> free_; // guarded by the mutex; has room for all
  sync::atomic<std::size_t> made_{0};
  sync::atomic<std::uint64_t> ended_{0};
  sync::atomic<std::uint32_t> inside_{0};
};

} // namespace weir::detail
