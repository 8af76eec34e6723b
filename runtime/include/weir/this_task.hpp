// SPDX-License-Identifier: MIT
/// \file
/// What a running task can ask for.
#pragma once

#include <weir/detail/task_block.hpp>
#include <weir/task.hpp>

#include <coroutine>
#include <optional>

namespace weir {

namespace this_task {

/// The stop token of the task that runs on this thread; an empty one in posted callables and
/// outside of tasks. Valid until the task ends.
[[nodiscard]] inline inplace_stop_token stop_token() noexcept {
  auto* const current = detail::running_task(detail::this_thread());
  return current == nullptr ? inplace_stop_token() : current->token();
}

/// Whether stop was requested of the task that runs on this thread.
[[nodiscard]] inline bool stop_requested() noexcept {
  return stop_token().stop_requested();
}

/// Why stop was requested of the running task; empty if it was not.
[[nodiscard]] inline std::optional<stop_reason> cancel_reason() noexcept {
  auto* const current = detail::running_task(detail::this_thread());
  if (current == nullptr || !current->stop_requested())
    return std::nullopt;
  return current->reason();
}

/// Throws `task_cancelled` if stop was requested of the running task: a cancellation point for long
/// computations. Costs a function call and a load.
inline void check_stop() {
  if (stop_requested())
    detail::running_task(detail::this_thread())->throw_cancelled();
}

} // namespace this_task

namespace detail {

class yield_awaiter {
 public:
  yield_awaiter() noexcept {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> self) const {
    static_assert(weir_promise<Promise>, "weir::yield() can be awaited only inside a weir::task");
    promise_base& promise = self.promise();
    promise.scope().check_stop();
    schedule_last(promise.scope().home(), this_thread(), promise);
  }
  void await_resume() const noexcept {}
};

} // namespace detail

/// `co_await yield()` lets everything that waits run first. Allocates nothing. Throws
/// `task_cancelled` if stop was requested.
[[nodiscard]] inline detail::yield_awaiter yield() noexcept {
  return detail::yield_awaiter();
}

} // namespace weir
