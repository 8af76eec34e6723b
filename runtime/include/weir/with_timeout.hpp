// SPDX-License-Identifier: MIT
/// \file
/// `with_timeout` and `with_deadline`: stop what is awaited when its time is over.
#pragma once

#include <weir/detail/timer.hpp>
#include <weir/shield.hpp>
#include <weir/sleep.hpp>

#include <chrono>
#include <utility>

namespace weir {

namespace detail {

/// Stops a child at a deadline. The armed timer counts beside the child (J1): the parent goes on
/// when the child has ended and the timer has been taken back or has fired.
class WEIR_API deadline_join : public fixed_join, timer, job {
 protected:
  deadline_join() noexcept : timer(&fire), job(&run_timed_out) {}
  ~deadline_join() override;

  /// `await_suspend`, for the child that was added.
  [[nodiscard]] bool launch_until(promise_base& parent, child& only,
                                  clock_source::time_point deadline);
  /// When the parent goes on: throws `errc::timed_out` if the child was stopped by the deadline.
  void check_time();

 private:
  bool child_ended(child& which, child_end how, thread_state& thread) noexcept override;
  static job* fire(timer& self, thread_state& thread) noexcept;
  static void run_timed_out(job& self, thread_state& thread) noexcept;

  child* only_ = nullptr;
  bool armed_ = false;
  child_end how_ = child_end::value;
};

/// A point in time, or how long from the moment of awaiting.
class time_limit {
 public:
  explicit time_limit(clock_source::time_point deadline) noexcept : deadline_(deadline) {}
  explicit time_limit(clock_source::duration from_now) noexcept
      : from_now_(from_now), relative_(true) {}
  [[nodiscard]] clock_source::time_point deadline(scheduler& home) const noexcept {
    return relative_ ? deadline_after(now_of(home), from_now_) : deadline_;
  }

 private:
  clock_source::time_point deadline_{};
  clock_source::duration from_now_{};
  bool relative_ = false;
};

template <class T>
class timeout_awaiter final : deadline_join {
 public:
  timeout_awaiter(task<T>&& t, time_limit limit) noexcept : child_(std::move(t)), limit_(limit) {
    this->add(child_);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& promise = weir_promise_of(parent);
    return this->launch_until(promise, child_, limit_.deadline(promise.scope().home()));
  }
  T await_resume() {
    this->check_time();
    return child_.take();
  }

 private:
  task_child<T> child_;
  time_limit limit_;
};

} // namespace detail

/// What `with_timeout` and `with_deadline` give: await it, once.
template <class T>
class [[nodiscard("await this: nothing has been started yet")]] timeout_awaitable {
 public:
  timeout_awaitable(task<T> awaited, detail::time_limit limit) noexcept
      : awaited_(std::move(awaited)), limit_(limit) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::timeout_awaiter<T>(std::move(awaited_), limit_);
  }

 private:
  task<T> awaited_;
  detail::time_limit limit_;
};

/// `co_await with_timeout(f(), 100ms)` runs an awaitable and requests stop of it, by
/// `stop_cause::timed_out`, when `duration` of the runtime's clock has passed since this was
/// awaited. It goes on when the awaitable has ended: code that ignores the request is waited for.
///
/// Gives its result, also one that comes after the time. Throws `errc::timed_out` if the awaitable
/// let itself be stopped for that cause, otherwise what it threw. 0 or less: it does not start.
/// `errc::no_state` for an empty or used task. Allocates nothing but a frame for an awaitable that
/// is no task; arming and taking back the timer take a short lock each.
template <awaitable A, class Rep, class Period>
[[nodiscard]] auto with_timeout(A&& awaited, std::chrono::duration<Rep, Period> duration) {
  return timeout_awaitable<detail::child_result_t<A>>(
      detail::as_task(std::forward<A>(awaited)),
      detail::time_limit(detail::sync::clamped(duration)));
}

/// As `with_timeout`, when the runtime's clock says `deadline`.
template <awaitable A>
[[nodiscard]] auto with_deadline(A&& awaited, clock_source::time_point deadline) {
  return timeout_awaitable<detail::child_result_t<A>>(detail::as_task(std::forward<A>(awaited)),
                                                      detail::time_limit(deadline));
}

} // namespace weir
