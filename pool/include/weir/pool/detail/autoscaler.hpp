// SPDX-License-Identifier: MIT
/// \file
/// Takes the steps of an `autoscale_pool`: a timer on the pool's runtime.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/timer.hpp>
#include <weir/pool/autoscale_policy.hpp>
#include <weir/pool/close.hpp>
#include <weir/pool/detail/engine.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::detail {

/// The bounds and the pace of a pool that scales itself, checked.
struct autoscale_plan {
  std::size_t min_size = 3;
  std::size_t max_size = 8;
  std::chrono::nanoseconds interval{};
  std::size_t window = 20;
  autoscale_policy policy;
};

class WEIR_API autoscaler final : public std::enable_shared_from_this<autoscaler>, timer, job {
 public:
  autoscaler(std::shared_ptr<pool_engine> engine, std::shared_ptr<const pool_settings> settings,
             autoscale_plan plan);
  autoscaler(const autoscaler&) = delete;
  autoscaler& operator=(const autoscaler&) = delete;

  /// The first step comes after one interval. Does nothing if it runs already.
  void start();
  /// Does nothing if it does not run. Does not wait for a step that is being taken.
  void stop() noexcept;
  /// Stops, and waits until no step is being taken, unless this is called by one.
  void end() noexcept;
  /// One step now. If another one is being taken just now, does nothing.
  /// \return by how much the limit has changed.
  std::ptrdiff_t step();

  [[nodiscard]] const autoscale_plan& plan() const noexcept { return plan_; }

 private:
  static job* fire_step(timer& self, thread_state& thread) noexcept;
  static void run_step(job& self, thread_state& thread) noexcept;
  void arm_next(thread_state& thread) noexcept;
  /// \return whether this thread is to take the step now.
  [[nodiscard]] bool begin_step(bool timed) noexcept;
  [[nodiscard]] std::ptrdiff_t take_step();
  std::ptrdiff_t decide();

  const std::shared_ptr<pool_engine> engine_;
  const std::shared_ptr<const pool_settings> settings_;
  const autoscale_plan plan_;

  sync::atomic<std::uint32_t> stepping_{0};
  // Of who steps.
  std::vector<autoscale_sample> samples_;
  std::size_t since_grown_ = autoscale_input::never;
  std::size_t since_shrunk_ = autoscale_input::never;

  sync::mutex mutex_;
  bool runs_ = false;
  thread_state* stepper_ = nullptr;
  std::shared_ptr<autoscaler> keep_; // while the timer is armed or its step is on its way
};

} // namespace weir::detail
