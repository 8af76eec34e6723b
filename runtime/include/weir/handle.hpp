// SPDX-License-Identifier: MIT
/// \file
/// `handle<T>`: the waiting side of a submitted task.
#pragma once

#include <weir/detail/submit.hpp>

#include <chrono>
#include <coroutine>
#include <utility>

namespace weir {

namespace detail {

/// Suspends a coroutine until a root task has ended, or stop is requested of the coroutine's task.
class block_awaiter : suspension {
 public:
  explicit block_awaiter(task_block* awaited) noexcept
      : suspension(&withdraw), awaited_(awaited), foreign_(&run_foreign) {}

  /// \return whether the coroutine stays suspended.
  template <class Promise>
  bool suspend(std::coroutine_handle<Promise> parent) {
    if constexpr (weir_promise<Promise>)
      return suspend_task(parent.promise());
    else
      return suspend_foreign(parent);
  }

  using suspension::check;

 protected:
  ~block_awaiter() = default;

  task_block* awaited_;

 private:
  struct foreign_resume : job {
    explicit foreign_resume(run_function function) noexcept : job(function) {}
    std::coroutine_handle<> handle;
  };
  static void run_foreign(job& self, thread_state&) noexcept {
    static_cast<foreign_resume&>(self).handle.resume();
  }

  static bool withdraw(suspension& self) noexcept {
    auto& awaiter = static_cast<block_awaiter&>(self);
    return awaiter.awaited_->remove_waiter(awaiter.waiter_);
  }

  bool suspend_task(promise_base& promise) {
    if (!prepare(promise.scope(), promise))
      return false;
    waiter_ = {&promise.scope().home(), &promise, this};
    try {
      if (awaited_->add_waiter(waiter_))
        return commit();
    } catch (...) {
      retract();
      throw;
    }
    retract();
    return false;
  }

  // A coroutine of another library goes on on a worker of the awaited task's runtime.
  bool suspend_foreign(std::coroutine_handle<> parent) {
    foreign_.handle = parent;
    waiter_ = {&awaited_->home(), &foreign_, nullptr};
    return awaited_->add_waiter(waiter_);
  }

  waiter waiter_;
  foreign_resume foreign_;
};

} // namespace detail

/// Refers to one submitted task; its result is taken once, by `get()` or `co_await`.
///
/// Dropping a handle neither stops the task nor waits for it. If the task fails and nobody takes
/// its exception, the runtime's unhandled-exception handler gets it. A handle may outlive its
/// runtime.
///
/// Thread safety: one thread at a time, except `request_stop()`, `done()` and the waits, which may
/// be called by several while no thread moves, gets or destroys the handle.
///
/// An empty handle throws `errc::no_state` for everything but `valid()`. In a forked child
/// `request_stop()`, and waiting for a task that has not ended, throw `errc::forked`.
template <class T>
class [[nodiscard(
    "dropping the handle gives up the result; use post() for fire and forget")]] handle {
 public:
  using value_type = T;

  handle() noexcept {}
  handle(handle&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  handle& operator=(handle&& other) noexcept {
    handle(std::move(other)).swap(*this);
    return *this;
  }
  ~handle() {
    if (block_ != nullptr)
      block_->detach();
  }
  void swap(handle& other) noexcept { std::swap(block_, other.block_); }

  /// Whether the handle refers to a task.
  [[nodiscard]] bool valid() const noexcept { return block_ != nullptr; }

  /// Whether the task has ended. Never blocks.
  [[nodiscard]] bool done() const { return block().done(); }

  /// Asks the task to stop. A task that has not started never will, and ends now; one that waits
  /// for something of weir goes on now, by `task_cancelled`; a running one sees the request by its
  /// stop token. Calls the registered stop callbacks on this thread.
  /// \return true for the one call that made the request.
  bool request_stop(stop_reason reason = {}) {
    block().require_not_forked();
    return block().scope().request_stop(std::move(reason));
  }

  /// Blocks until the task has ended. Throws `errc::would_deadlock` on a worker thread, unless the
  /// task has ended. One futex wait at the most if nobody else ends it within about a microsecond.
  void wait() const { block().wait(nullptr); }

  /// As `wait()`, for at most `timeout`. \return whether the task has ended.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(detail::sync::now() + detail::sync::clamped(timeout));
  }

  /// As `wait()`, at the latest until `deadline` of any clock. \return whether the task has ended.
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> deadline) const {
    if constexpr (std::is_same_v<Clock, std::chrono::steady_clock>) {
      const auto at = std::chrono::time_point_cast<std::chrono::steady_clock::duration>(deadline);
      return block().wait(&at);
    } else {
      return wait_for(deadline - Clock::now()) || (Clock::now() < deadline && wait_until(deadline));
    }
  }

  /// Waits, then gives the result or throws what the task threw (`task_cancelled` if it was
  /// stopped). The handle is empty afterwards. Throws `errc::would_deadlock` on a worker thread if
  /// the task has not ended; then the handle keeps its task.
  T get() {
    wait();
    const handle taken = std::move(*this);
    taken.block_->mark_observed();
    return taken.block_->outcome.take();
  }

  /// Awaits the task; otherwise as `get()`. One coroutine at a time: a second one gets
  /// `errc::already_awaited`. If stop is requested of the awaiting task it gets `task_cancelled`
  /// and the handle keeps its task.
  [[nodiscard]] auto operator co_await() { return awaiter(*this); }

  /// For the library: takes over the handle's reference of `block`.
  explicit handle(detail::result_block<T>* block) noexcept : block_(block) {}

  /// For the library: lets go of a block that was never submitted.
  [[nodiscard]] detail::result_block<T>* give_up() noexcept {
    return std::exchange(block_, nullptr);
  }

 private:
  detail::result_block<T>& block() const {
    if (block_ == nullptr)
      detail::throw_error(errc::no_state,
                          "the handle is empty: it was moved from, or its result taken");
    return *block_;
  }

  class awaiter : detail::block_awaiter {
   public:
    explicit awaiter(handle& owner) : block_awaiter(&owner.block()), owner_(&owner) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; } // stop is looked at first
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
      return suspend(parent);
    }
    T await_resume() {
      check();
      return owner_->get();
    }

   private:
    handle* owner_;
  };

  detail::result_block<T>* block_ = nullptr;
};

} // namespace weir
