// SPDX-License-Identifier: MIT
#include "manual_time.hpp"

#include "scheduler.hpp"
#include "timers.hpp"

#include <weir/error.hpp>
#include <weir/manual_clock.hpp>

#include <algorithm>
#include <mutex>

namespace weir {

namespace detail {

manual_time::manual_time(clock_source::time_point start, bool jumps) noexcept
    : now_(key_of(start)), jumps_(jumps) {}

void manual_time::attach(scheduler& s) {
  const std::scoped_lock lock(mutex_);
  runtimes_.push_back(&s);
}

void manual_time::detach(scheduler& s) noexcept {
  const std::scoped_lock lock(mutex_);
  std::erase(runtimes_, &s);
}

void manual_time::woken() noexcept {
  awake_.fetch_add(1, std::memory_order_seq_cst); // M1
}

void manual_time::asleep() noexcept {
  if (awake_.fetch_sub(1, std::memory_order_seq_cst) != 1) // M1
    return;
  // Release: pairs with the acquire in advance_to.
  idle_epoch_.fetch_add(1, std::memory_order_release);
  sync::futex_wake_all(idle_epoch_);
  if (jumps_) {
    const std::scoped_lock lock(mutex_);
    jump_if_idle();
  }
}

void manual_time::jump_if_idle() noexcept {
  if (holds_ != 0 || awake_.load(std::memory_order_seq_cst) != 0)
    return;
  const auto next = earliest();
  if (next != timer_queue::never)
    move(std::max(next, now_.load(std::memory_order_relaxed)));
}

namespace {

/// Its timers fire no more, if any are left: those of pools that live on.
bool has_stopped(const scheduler& s) noexcept {
  return s.current_state() == scheduler::state::stopped;
}

} // namespace

timer_queue::key manual_time::earliest() noexcept {
  auto least = timer_queue::never;
  for (scheduler* s : runtimes_) {
    if (!has_stopped(*s))
      least = std::min(least, s->timer_set().next_deadline());
  }
  return least;
}

void manual_time::move(timer_queue::key target) noexcept {
  // Release: pairs with now().
  now_.store(target, std::memory_order_release);
  for (scheduler* s : runtimes_) {
    if (!has_stopped(*s) && s->timer_set().next_deadline() <= target)
      s->wake_for_timers();
  }
}

void manual_time::advance_to(timer_queue::key target) {
  if (this_thread().self != nullptr)
    throw_error(errc::would_deadlock,
                "a worker must not advance a manual clock: it would wait for itself to fall idle");
  if (sync::process_id() != process_)
    throw_forked();
  target = std::min(target, timer_queue::never - 1); // never is no time
  for (;;) {
    // Acquire: pairs with the release in asleep.
    const auto epoch = idle_epoch_.load(std::memory_order_acquire);
    {
      const std::scoped_lock lock(mutex_);
      if (awake_.load(std::memory_order_seq_cst) == 0) {
        const auto now = now_.load(std::memory_order_relaxed);
        const auto next = earliest();
        const auto to = std::max(now, std::min(next, target));
        if (to != now || next <= now)
          move(to);
        if (next > target)
          return;
        continue;
      }
    }
    sync::futex_wait(idle_epoch_, epoch);
  }
}

timer_queue::key manual_time::next_deadline() noexcept {
  const std::scoped_lock lock(mutex_);
  return earliest();
}

void manual_time::hold() noexcept {
  const std::scoped_lock lock(mutex_);
  ++holds_;
}

void manual_time::release() noexcept {
  const std::scoped_lock lock(mutex_);
  --holds_;
  if (jumps_)
    jump_if_idle();
}

} // namespace detail

manual_clock::manual_clock(moves how, time_point start)
    : time_(std::make_unique<detail::manual_time>(start, how == moves::when_idle)) {}

manual_clock::~manual_clock() = default;

clock_source::time_point manual_clock::now() const noexcept {
  return detail::time_of(time_->now());
}

void manual_clock::advance_to(time_point target) {
  time_->advance_to(detail::key_of(target));
}

clock_source::time_point manual_clock::next_deadline() const {
  const auto next = time_->next_deadline();
  return next == detail::timer_queue::never ? time_point::max() : detail::time_of(next);
}

manual_clock::holding manual_clock::hold() {
  time_->hold();
  return holding(time_.get());
}

manual_clock::holding::~holding() {
  if (time_ != nullptr)
    time_->release();
}

} // namespace weir
