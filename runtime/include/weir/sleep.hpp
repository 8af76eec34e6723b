// SPDX-License-Identifier: MIT
/// \file
/// Waiting for a time without holding a thread: `sleep_for`, `sleep_until`, `ticker`.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/detail/timer.hpp>
#include <weir/task.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>

namespace weir {

namespace detail {

/// `duration` in the clock's unit, rounded up, and added to `from` without overflow.
template <class Rep, class Period>
[[nodiscard]] constexpr clock_source::time_point
deadline_after(clock_source::time_point from,
               std::chrono::duration<Rep, Period> duration) noexcept {
  return from + sync::clamped(duration);
}

/// The time of `home`'s clock.
[[nodiscard]] WEIR_API clock_source::time_point now_of(scheduler& home) noexcept;

/// Suspends until a deadline.
class WEIR_API sleep_wait : suspension, timer {
 public:
  /// \param kept see `timer`.
  explicit sleep_wait(std::int64_t kept = 0) noexcept
      : suspension(&withdraw), timer(&fire_sleep, kept) {}
  sleep_wait(sleep_wait&& unused) noexcept
      : suspension(std::move(static_cast<suspension&>(unused))), timer(&fire_sleep, unused.kept()) {
  }

  /// For `await_suspend`.
  /// \return whether the coroutine stays suspended.
  [[nodiscard]] bool sleep(promise_base& self, clock_source::time_point deadline) noexcept;
  /// Goes behind everything that waits instead, if the time has come already.
  [[nodiscard]] bool sleep_or_yield(promise_base& self, clock_source::time_point deadline) noexcept;

  using suspension::check;
  using timer::kept;

 private:
  static bool withdraw(suspension& self) noexcept;
  static job* fire_sleep(timer& self, thread_state& thread) noexcept;
};

class sleep_awaiter {
 public:
  explicit sleep_awaiter(clock_source::duration duration) noexcept : wait_(duration.count()) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
    static_assert(weir_promise<Promise>, "weir::sleep_for can be awaited only inside a weir::task");
    promise_base& promise = self.promise();
    return wait_.sleep_or_yield(promise, now_of(promise.scope().home()) +
                                             clock_source::duration(wait_.kept()));
  }
  void await_resume() const { wait_.check(); }

 private:
  sleep_wait wait_;
};

class sleep_until_awaiter {
 public:
  explicit sleep_until_awaiter(clock_source::time_point deadline) noexcept
      : wait_(deadline.time_since_epoch().count()) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
    static_assert(weir_promise<Promise>,
                  "weir::sleep_until can be awaited only inside a weir::task");
    return wait_.sleep_or_yield(self.promise(),
                                clock_source::time_point(clock_source::duration(wait_.kept())));
  }
  void await_resume() const { wait_.check(); }

 private:
  sleep_wait wait_;
};

} // namespace detail

/// What `sleep_for` and `sleep_until` give: await it. Numbers, because GCC 12 gives everything else
/// that is awaited a place in the coroutine's frame.
enum class [[nodiscard(
    "the task sleeps when this is awaited")]] sleep_awaitable : clock_source::duration::rep {};
enum class [[nodiscard(
    "the task sleeps when this is awaited")]] sleep_until_awaitable : clock_source::duration::rep {
};

[[nodiscard]] inline auto operator co_await(sleep_awaitable wanted) noexcept {
  return detail::sleep_awaiter(
      clock_source::duration(static_cast<clock_source::duration::rep>(wanted)));
}
[[nodiscard]] inline auto operator co_await(sleep_until_awaitable wanted) noexcept {
  return detail::sleep_until_awaiter(clock_source::time_point(
      clock_source::duration(static_cast<clock_source::duration::rep>(wanted))));
}

/// `co_await sleep_for(duration)` lets the task sleep for `duration` of its runtime's clock,
/// rounded up to nanoseconds and cut to 30 years; 0 or less lets everything that waits run first,
/// as `yield()`. Throws `task_cancelled` if stop is requested. Holds no thread and allocates
/// nothing. Never wakes too early; how late depends on how long the jobs on the workers run.
template <class Rep, class Period>
[[nodiscard("the task sleeps when this is awaited")]] sleep_awaitable
sleep_for(std::chrono::duration<Rep, Period> duration) noexcept {
  return static_cast<sleep_awaitable>(detail::sync::clamped(duration).count());
}

/// As `sleep_for`, until the runtime's clock says `deadline`.
[[nodiscard("the task sleeps when this is awaited")]] inline sleep_until_awaitable
sleep_until(clock_source::time_point deadline) noexcept {
  return static_cast<sleep_until_awaitable>(deadline.time_since_epoch().count());
}

/// What a `ticker` does when its task comes too late for a tick or several.
enum class missed_ticks : std::uint8_t {
  /// Skips them: a late `next()` returns at once and stands for the tick that it was for; the one
  /// after is the next multiple of the period that lies ahead.
  skip,
  /// Makes them up: they come one after the other, at once.
  catch_up,
  /// Shifts all later ticks: the next one comes a period after the late one.
  delay,
};

/// Periodic ticks without drift: the n-th comes n periods after the ticker's first `next()`.
///
///     weir::ticker every_second(1s);
///     for (;;) {
///       co_await every_second.next();
///       report();
///     }
///
/// Thread safety: belongs to one task at a time. Allocates nothing.
class ticker {
 public:
  /// Throws `errc::invalid_option` if `period` is not positive.
  template <class Rep, class Period>
  explicit ticker(std::chrono::duration<Rep, Period> period,
                  missed_ticks missed = missed_ticks::skip)
      : period_(checked(detail::sync::clamped(period))), missed_(missed) {}

  /// `co_await next()` sleeps until the next tick and gives how many ticks were skipped since the
  /// one before. Throws `task_cancelled` if stop is requested; then the tick is still to come.
  [[nodiscard("the task sleeps when this is awaited")]] auto next() noexcept {
    return awaiter(*this);
  }

  /// When the next tick is due; only after the first `next()`.
  [[nodiscard]] clock_source::time_point due() const noexcept { return due_; }

 private:
  class awaiter {
   public:
    explicit awaiter(ticker& owner) noexcept : owner_(&owner) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
      static_assert(detail::weir_promise<Promise>,
                    "a weir::ticker can be awaited only inside a weir::task");
      detail::promise_base& promise = self.promise();
      home_ = &promise.scope().home();
      return wait_.sleep_or_yield(promise, owner_->prepare(detail::now_of(*home_)));
    }
    std::uint64_t await_resume() {
      wait_.check();
      return owner_->ticked(detail::now_of(*home_));
    }

   private:
    ticker* owner_;
    detail::scheduler* home_ = nullptr;
    detail::sleep_wait wait_;
  };

  WEIR_API static clock_source::duration checked(clock_source::duration period);
  WEIR_API clock_source::time_point prepare(clock_source::time_point now) noexcept;
  WEIR_API std::uint64_t ticked(clock_source::time_point now) noexcept;

  clock_source::duration period_;
  missed_ticks missed_;
  bool started_ = false;
  clock_source::time_point due_{};
};

} // namespace weir
