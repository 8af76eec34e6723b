// SPDX-License-Identifier: MIT
/// \file
/// `autoscale_pool`: a pool whose limit follows its backlog.
#pragma once

#include <weir/pool/autoscale_policy.hpp>
#include <weir/pool/close.hpp>
#include <weir/pool/detail/autoscaler.hpp>
#include <weir/pool/detail/queued_pool.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/pool_executor.hpp>
#include <weir/pool/queues.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace weir {

/// How to set up an `autoscale_pool`.
struct autoscale_options {
  /// Slots at the least, at least 1.
  std::size_t min_size = 3;
  /// Slots at the most, more than `min_size`. Not set: `min_size + 5`.
  std::optional<std::size_t> max_size{};
  /// The pause before each step. Positive.
  std::chrono::nanoseconds auto_scale_interval = std::chrono::seconds(10);
  /// How many samples the policy sees, at least 1.
  std::size_t auto_scale_cache_len = 20;
  autoscale_policy policy = policies::mended;
  /// As in `fixed_pool_options`.
  std::size_t queue_maxsize = 0;
  pool_executor executor{};
  bool started = true;
  std::uint64_t time_every = 16;
  bool ids = false;
  std::optional<clock_source::duration> callback_timeout{};
  log_sink log{};
  std::string name{};
};

/// As `fixed_pool`, with a limit between two bounds that a policy sets anew at each interval.
///
/// The steps are taken by a timer of the runtime: no thread, no task; with a manual clock each one
/// is a deadline. A step that finds the pool without slots gives it `min_size`.
template <queue_policy Queue = fifo>
class autoscale_pool : public detail::queued_pool<Queue> {
 public:
  /// Throws `invalid_pool_option`, with the text "max_size must bigger than min_size" for bounds
  /// that are none.
  explicit autoscale_pool(runtime& on, autoscale_options options = {})
      : autoscale_pool(on, work_queue<Queue>(options.queue_maxsize), std::move(options)) {}
  /// A pool that takes its tasks from a queue that others use too.
  autoscale_pool(runtime& on, const work_queue<Queue>& queue, autoscale_options options = {})
      : detail::queued_pool<Queue>(
            std::make_shared<detail::pool_engine>(on.scheduler(), queue.core(), options.time_every),
            detail::settings_of("AutoscalePool", options)),
        scaler_(std::make_shared<detail::autoscaler>(this->shared_engine(), this->settings(),
                                                     checked(options))) {
    this->engine().grow_by_itself();
    if (options.started)
      start();
  }

  /// Stops the steps, waits for one that is being taken on another thread, also on a worker; then
  /// as of `fixed_pool`.
  ~autoscale_pool() {
    if (!detail::is_forked(this->engine().home()))
      scaler_->end();
  }

  /// As `fixed_pool::start`, with `min_size` slots; the first step comes after one interval.
  void start() {
    this->require_not_forked();
    this->engine().open(min_size());
    scaler_->start();
  }

  [[nodiscard]] std::size_t min_size() const noexcept { return scaler_->plan().min_size; }
  [[nodiscard]] std::size_t max_size() const noexcept { return scaler_->plan().max_size; }

  /// As `fixed_pool::scale`, within `min_size` and `max_size`.
  detail::immediate<std::ptrdiff_t> scale(std::ptrdiff_t number, removal how = removal::soft) {
    this->require_not_forked();
    this->require_not_closed();
    return detail::immediate<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(
        this->engine().scale(number, min_size(), max_size(), how == removal::hard)));
  }
  std::ptrdiff_t scale_nowait(std::ptrdiff_t number, removal how = removal::soft) {
    return scale(number, how);
  }

  /// Takes one step at once, on this thread. \return by how much the limit has changed; 0 also if a
  /// step is being taken on another thread just now.
  std::ptrdiff_t step_now() {
    this->require_not_forked();
    return scaler_->step();
  }

  /// As of `fixed_pool`; the steps end. On a pool that was not started, or is closed, they do
  /// nothing more.
  [[nodiscard(
      "the pool is closed now; await this to wait for what it has accepted")]] task<close_report>
  close(close_options options = {}) {
    this->require_not_forked();
    scaler_->stop();
    return this->begin_close(options);
  }
  void close_nowait(removal how = removal::soft) {
    this->require_not_forked();
    scaler_->stop();
    this->begin_close_nowait(how);
  }

 private:
  static detail::autoscale_plan checked(autoscale_options& options) {
    const auto most = options.max_size.value_or(options.min_size + 5);
    if (options.min_size == 0)
      throw invalid_pool_option("min_size is 0; it must be at least 1");
    if (options.min_size >= most)
      throw invalid_pool_option("max_size must bigger than min_size");
    if (most > 0xffffffff)
      throw invalid_pool_option("max_size is " + std::to_string(most) +
                                "; it must be at most 4294967295");
    if (options.auto_scale_interval.count() <= 0)
      throw invalid_pool_option("auto_scale_interval must be positive");
    if (options.auto_scale_cache_len == 0)
      throw invalid_pool_option("auto_scale_cache_len is 0; it must be at least 1");
    if (!options.policy)
      throw invalid_pool_option("policy is empty; leave it out for the default");
    detail::autoscale_plan plan;
    plan.min_size = options.min_size;
    plan.max_size = most;
    plan.interval = options.auto_scale_interval;
    plan.window = options.auto_scale_cache_len;
    plan.policy = std::move(options.policy);
    return plan;
  }

  std::shared_ptr<detail::autoscaler> scaler_;
};

} // namespace weir
