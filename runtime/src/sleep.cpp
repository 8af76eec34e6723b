// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/error.hpp>
#include <weir/sleep.hpp>

#include <string>

namespace weir {

namespace detail {

clock_source::time_point now_of(scheduler& home) noexcept {
  return time_of(home.now());
}

bool sleep_wait::sleep(promise_base& self, clock_source::time_point deadline) noexcept {
  if (!prepare(self.scope(), self))
    return false;
  arm(self.scope().home(), this_thread(), deadline);
  return commit();
}

bool sleep_wait::sleep_or_yield(promise_base& self, clock_source::time_point deadline) noexcept {
  if (deadline > now_of(self.scope().home()))
    return sleep(self, deadline);
  if (!prepare(self.scope(), self))
    return false;
  retract();
  schedule_last(self.scope().home(), this_thread(), self);
  return true;
}

bool sleep_wait::withdraw(suspension& self) noexcept {
  return static_cast<sleep_wait&>(self).cancel();
}

job* sleep_wait::fire_sleep(timer& self, thread_state&) noexcept {
  return static_cast<sleep_wait&>(self).complete();
}

} // namespace detail

clock_source::duration ticker::checked(clock_source::duration period) {
  if (period.count() <= 0)
    throw error(errc::invalid_option, "a ticker's period is " + std::to_string(period.count()) +
                                          " ns; it must be positive");
  return period;
}

clock_source::time_point ticker::prepare(clock_source::time_point now) noexcept {
  if (!started_) {
    started_ = true;
    due_ = now + period_;
  }
  return due_;
}

std::uint64_t ticker::ticked(clock_source::time_point now) noexcept {
  const auto late = static_cast<std::uint64_t>((now - due_) / period_);
  switch (missed_) {
  case missed_ticks::skip:
    due_ += period_ * static_cast<clock_source::duration::rep>(late + 1);
    return late;
  case missed_ticks::catch_up:
    due_ += period_;
    return 0;
  case missed_ticks::delay:
    due_ = now + period_;
    return 0;
  }
  return 0;
}

} // namespace weir
