// SPDX-License-Identifier: MIT
/// \file
/// `resume_on`: goes on with a task on another runtime.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>

#include <coroutine>

namespace weir {

namespace detail {

class WEIR_API resume_on_awaiter : job {
 public:
  explicit resume_on_awaiter(scheduler& target) noexcept : job(&run_moved), target_(&target) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) {
    static_assert(weir_promise<Promise>, "weir::resume_on can be awaited only inside a weir::task");
    return move(self.promise());
  }
  void await_resume() const noexcept {}

 private:
  /// \return whether the coroutine was suspended; then it may be running elsewhere already.
  [[nodiscard]] bool move(promise_base& self);
  static void run_moved(job& self, thread_state& thread) noexcept;

  scheduler* target_;
  promise_base* moved_ = nullptr;
};

} // namespace detail

/// `co_await resume_on(other)` suspends the task and goes on with it on a worker of `other`: the
/// coroutine itself and those that await it, until one of them moves again. Without effect if it is
/// there already. Handles, groups and pools see nothing of it: the task ends on the runtime that
/// has accepted it.
///
/// Meanwhile the task counts as one of `other` too, which ends only when the task has left it:
/// `other.stop()` waits for it without stopping it, as it belongs to the runtime that has accepted
/// it. Throws `errc::stopped` if `other` takes no tasks, and `task_cancelled` if stop was
/// requested; then the task goes on where it is.
/// Allocates nothing; costs about as much as `post`.
[[nodiscard("the task moves when this is awaited")]] inline detail::resume_on_awaiter
resume_on(runtime& other) noexcept {
  return detail::resume_on_awaiter(other.scheduler());
}

} // namespace weir
