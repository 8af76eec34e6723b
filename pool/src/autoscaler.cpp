// SPDX-License-Identifier: MIT
#include <weir/pool/detail/autoscaler.hpp>
#include <weir/sleep.hpp>

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

namespace weir::detail {

namespace {

constexpr std::string_view logger = "weir.pool";

} // namespace

autoscaler::autoscaler(std::shared_ptr<pool_engine> engine,
                       std::shared_ptr<const pool_settings> settings, autoscale_plan plan)
    : timer(&fire_step), job(&run_step), engine_(std::move(engine)), settings_(std::move(settings)),
      plan_(std::move(plan)) {
  samples_.reserve(std::min<std::size_t>(plan_.window, 64));
}

void autoscaler::start() {
  {
    const std::scoped_lock lock(mutex_);
    if (runs_)
      return;
    runs_ = true;
    if (keep_ == nullptr) { // else a last step is on its way, and goes on
      keep_ = shared_from_this();
      arm_next(this_thread());
    }
  }
  settings_->log(log_level::warning, logger, "auto_scale_worker starting");
}

void autoscaler::stop() noexcept {
  std::shared_ptr<autoscaler> keep;
  {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(runs_, false))
      return;
    if (cancel())
      keep = std::move(keep_);
  }
  settings_->log(log_level::warning, logger, "auto_scale_worker closed");
}

void autoscaler::end() noexcept {
  stop();
  {
    const std::scoped_lock lock(mutex_);
    if (stepper_ == nullptr || stepper_ == &this_thread())
      return;
  }
  while (stepping_.load(std::memory_order_acquire) != 0) // pairs with take_step
    sync::futex_wait(stepping_, 1);
}

void autoscaler::arm_next(thread_state& thread) noexcept {
  scheduler& home = engine_->home();
  arm(home, thread, deadline_after(now_of(home), plan_.interval));
}

job* autoscaler::fire_step(timer& self, thread_state&) noexcept {
  return &static_cast<autoscaler&>(self);
}

void autoscaler::run_step(job& self, thread_state& thread) noexcept {
  auto& scaler = static_cast<autoscaler&>(self);
  if (scaler.begin_step(true))
    (void)scaler.take_step();
  std::shared_ptr<autoscaler> keep;
  const std::scoped_lock lock(scaler.mutex_);
  if (scaler.runs_)
    scaler.arm_next(thread);
  else
    keep = std::move(scaler.keep_);
}

std::ptrdiff_t autoscaler::step() {
  return begin_step(false) ? take_step() : 0;
}

bool autoscaler::begin_step(bool timed) noexcept {
  const std::scoped_lock lock(mutex_);
  if (stepper_ != nullptr || (timed && !runs_))
    return false;
  stepper_ = &this_thread();
  stepping_.store(1, std::memory_order_relaxed); // the mutex orders it
  return true;
}

std::ptrdiff_t autoscaler::take_step() {
  std::ptrdiff_t delta = 0;
  try {
    delta = decide();
  } catch (const std::exception& e) {
    settings_->log(log_level::error, logger,
                   "the policy of an autoscale_pool has thrown: ", e.what());
  } catch (...) {
    settings_->log(log_level::error, logger, "the policy of an autoscale_pool has thrown");
  }
  {
    const std::scoped_lock lock(mutex_);
    stepper_ = nullptr;
    // Under the mutex, so that no later step has begun. Release: pairs with end.
    stepping_.store(0, std::memory_order_release);
    sync::futex_wake_all(stepping_);
  }
  return delta;
}

std::ptrdiff_t autoscaler::decide() {
  const std::size_t before = engine_->target();
  if (before == 0) {
    if (engine_->paused())
      return 0;
    return static_cast<std::ptrdiff_t>(engine_->scale(0, plan_.min_size, plan_.max_size, false));
  }
  if (samples_.size() == plan_.window)
    samples_.erase(samples_.begin());
  autoscale_sample now;
  now.waiting = engine_->waiting();
  now.size = before;
  samples_.push_back(now);
  autoscale_input in;
  in.window = samples_;
  in.window_length = plan_.window;
  in.size = before;
  in.min = plan_.min_size;
  in.max = plan_.max_size;
  in.since_grown = since_grown_;
  in.since_shrunk = since_shrunk_;
  const autoscale_decision made = plan_.policy(in);
  if (made.accumulating)
    settings_->log(log_level::warning, logger, "Task accumulation!");
  const std::size_t after = engine_->scale(made.delta, plan_.min_size, plan_.max_size, false);
  const auto later = [](std::size_t steps) {
    return steps == autoscale_input::never ? steps : steps + 1;
  };
  since_grown_ = after > before ? 1 : later(since_grown_);
  since_shrunk_ = after < before ? 1 : later(since_shrunk_);
  return static_cast<std::ptrdiff_t>(after) - static_cast<std::ptrdiff_t>(before);
}

} // namespace weir::detail
