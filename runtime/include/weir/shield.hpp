// SPDX-License-Identifier: MIT
/// \file
/// `shield`: clean-up that a stop request does not interrupt.
#pragma once

#include <weir/detail/child.hpp>

#include <utility>

namespace weir {

namespace detail {

/// A join of one child.
template <class T>
class single_join : public fixed_join {
 protected:
  explicit single_join(task<T>&& t) noexcept : child_(std::move(t)) { this->add(child_); }
  single_join(task<T>&& t, suspension::withdraw_function withdraw) noexcept
      : fixed_join(withdraw), child_(std::move(t)) {
    this->add(child_);
  }
  ~single_join() override = default;

  [[nodiscard]] task_child<T>& only_child() noexcept { return child_; }

 private:
  bool child_ended(child&, child_end, thread_state&) noexcept override { return true; }

  task_child<T> child_;
};

template <class T>
class shield_awaiter final : single_join<T> {
 public:
  explicit shield_awaiter(task<T>&& t) noexcept : single_join<T>(std::move(t), &no_way_back) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& promise = weir_promise_of(parent);
    this->require_startable();
    this->prepare_anyway(promise.scope(), promise);
    this->attach_children(promise.scope());
    return this->start_children();
  }
  T await_resume() { return this->only_child().take(); }

 private:
  static bool no_way_back(suspension&) noexcept { return false; }
};

} // namespace detail

/// What `shield` gives: await it, once.
template <class T>
class [[nodiscard("await this: nothing has been started yet")]] shield_awaitable {
 public:
  explicit shield_awaitable(task<T> shielded) noexcept : shielded_(std::move(shielded)) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::shield_awaiter<T>(std::move(shielded_));
  }

 private:
  task<T> shielded_;
};

/// `co_await shield(clean_up())` runs an awaitable to its end, whether or not stop is or was
/// requested of the awaiting task: what runs inside sees no request. Gives its result.
///
/// For clean-up that must wait for something, in a handler of `task_cancelled` too. It delays the
/// task's end, and with it the end of the runtime: bound what it waits for. Throws `errc::no_state`
/// for an empty or used task. Allocates nothing but a frame for an awaitable that is no task.
template <awaitable A>
[[nodiscard]] auto shield(A&& awaited) {
  return shield_awaitable<detail::child_result_t<A>>(detail::as_task(std::forward<A>(awaited)));
}

} // namespace weir
