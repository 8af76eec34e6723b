// SPDX-License-Identifier: MIT
// On which CPU a worker wakes.
//
// Whoever publishes forks goes on computing, so the worker that it wakes for them should begin on
// another CPU. Kernels mean to see to that, and some fail: Linux 6.18 in a virtual machine put most
// sleepers on their waker's CPU while the other one idled. There they shared it, or waited for it,
// until the load was balanced some milliseconds later (docs/scheduler.md has figures).
//
// P1  A waker that goes on computing leaves its CPU's number, and the sleeper looks, once awake,
//     whether it runs on the same one. If so, the runtime's next wake-ups are placed.
// P2  To place a sleeper, its waker takes its own CPU out of the sleeper's affinity mask. The
//     sleeper puts it back, unless somebody has changed the mask meanwhile. A mask that was all
//     that the cpuset allows becomes one of all CPUs, so that it grows with the cpuset as before.
// P3  Whoever has taken the worker off the idle set writes the rest, before its unpark; the worker
//     reads and resets it after that, before it is on the set again.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>

#include <sched.h>
#include <sys/types.h>

namespace weir::detail {

/// How many wake-ups of a runtime are to be placed yet.
class placed_wakes {
 public:
  explicit placed_wakes(bool allowed) noexcept : allowed_(allowed) {}

  /// So few wake-ups find out again what the kernel does.
  static constexpr std::uint32_t streak = 256;

  [[nodiscard]] bool allowed() const noexcept { return allowed_; }
  // All relaxed: a hint, which says nothing about other memory.
  void begin() noexcept {
    if (allowed_)
      left_.store(streak, std::memory_order_relaxed);
  }
  [[nodiscard]] bool take() noexcept {
    const auto seen = left_.load(std::memory_order_relaxed);
    if (seen == 0)
      return false;
    // If another waker's is lost, one more is placed.
    left_.store(seen - 1, std::memory_order_relaxed);
    return true;
  }

 private:
  sync::atomic<std::uint32_t> left_{0};
  const bool allowed_;
};

/// Of a worker.
class wake_place {
 public:
  /// By the worker's thread, before it first sleeps.
  void bind() noexcept;
  /// By a waker that goes on computing, before the unpark of a worker that sleeps (P3). Two
  /// system calls if the wake-up is placed, none otherwise.
  void prepare(placed_wakes& placed) noexcept;
  /// By the worker, each time it has slept. Three system calls if it was placed (four if its mask
  /// was not all that the cpuset allows), none otherwise.
  void arrive(placed_wakes& placed) noexcept;

 private:
  static constexpr int unknown = -1;

  pid_t thread_ = 0;
  int wakers_cpu_ = unknown;
  bool placed_ = false;
  cpu_set_t before_; // if placed
};

} // namespace weir::detail
