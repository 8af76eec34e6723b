// SPDX-License-Identifier: MIT
/// \file
/// What a running task can ask for.
#pragma once

#include <weir/detail/task_block.hpp>
#include <weir/task.hpp>

#include <coroutine>

namespace weir {

namespace this_task {

/// The stop token of the task that runs on this thread; an empty one in posted callables and
/// outside of tasks. Valid until the task ends.
[[nodiscard]] inline inplace_stop_token stop_token() noexcept {
  auto* const current = detail::this_thread().current;
  return current == nullptr ? inplace_stop_token() : current->stop().get_token();
}

} // namespace this_task

namespace detail {

class yield_awaiter {
 public:
  yield_awaiter() noexcept {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
    static_assert(weir_promise<Promise>, "weir::yield() can be awaited only inside a weir::task");
    promise_base& promise = self.promise();
    schedule_last(promise.block->home(), this_thread(), promise);
  }
  void await_resume() const noexcept {}
};

} // namespace detail

/// `co_await yield()` lets everything that waits run first. Allocates nothing.
[[nodiscard]] inline detail::yield_awaiter yield() noexcept {
  return detail::yield_awaiter();
}

} // namespace weir
