// SPDX-License-Identifier: MIT
// What makes a manual clock move: it knows its runtimes and when all of them are idle.
//
// M1  A worker counts as awake from before it is woken until it sleeps again, so that a runtime
// with
//     no awake worker has nothing to run, except what a thread outside is about to submit.
// M2  The time moves under `mutex_` only, and only while no worker of any runtime is awake. Moving
//     wakes a worker of each runtime that has something due, under the same lock.
#pragma once

#include "timer_queue.hpp"

#include <weir/clock.hpp>
#include <weir/detail/sync.hpp>

#include <vector>

namespace weir::detail {

class scheduler;

class manual_time {
 public:
  manual_time(clock_source::time_point start, bool jumps) noexcept;

  [[nodiscard]] timer_queue::key now() const noexcept {
    // Acquire: pairs with the release in move, for what happened before the time moved.
    return now_.load(std::memory_order_acquire);
  }

  void attach(scheduler& s);
  void detach(scheduler& s) noexcept;

  /// By a worker of `s` before it is woken or after it has gone to sleep.
  void woken() noexcept;
  void asleep() noexcept;

  void advance_to(timer_queue::key target);
  [[nodiscard]] timer_queue::key next_deadline() noexcept;
  void hold() noexcept;
  void release() noexcept;

 private:
  [[nodiscard]] timer_queue::key earliest() noexcept;
  void move(timer_queue::key target) noexcept;
  void jump_if_idle() noexcept;

  sync::atomic<timer_queue::key> now_;
  // Workers that are awake, of all runtimes. Seq_cst throughout: M1 argues with the order in which
  // workers wake each other and go to sleep.
  sync::atomic<std::uint32_t> awake_{0};
  // Changes when the last worker goes to sleep: what advance_to waits for.
  sync::atomic<std::uint32_t> idle_epoch_{0};
  const bool jumps_;
  const int process_ = sync::process_id();

  sync::mutex mutex_;
  std::vector<scheduler*> runtimes_;
  std::size_t holds_ = 0;
};

} // namespace weir::detail
