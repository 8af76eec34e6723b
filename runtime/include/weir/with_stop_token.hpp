// SPDX-License-Identifier: MIT
/// \file
/// `with_stop_token`: stops what is awaited by somebody else's token too.
#pragma once

#include <weir/shield.hpp>
#include <weir/stoppable_token.hpp>

#include <optional>
#include <utility>

namespace weir {

namespace detail {

template <stoppable_token Token, class T>
class stop_token_awaiter final : single_join<T> {
 public:
  stop_token_awaiter(Token&& token, task<T>&& t) noexcept
      : single_join<T>(std::move(t)), token_(std::move(token)) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& promise = weir_promise_of(parent);
    this->require_startable();
    if (!this->prepare(promise.scope(), promise))
      return false;
    this->attach_children(promise.scope());
    callback_.emplace(token_, request(this->only_child().scope()));
    return this->start_children();
  }
  T await_resume() {
    callback_.reset();
    this->check();
    return this->only_child().take();
  }

 private:
  class request {
   public:
    explicit request(task_scope& scope) noexcept : scope_(&scope) {}
    void operator()() const noexcept { (void)scope_->request_stop(stop_cause::requested); }

   private:
    task_scope* scope_;
  };

  Token token_;
  std::optional<stop_callback_for_t<Token, request>> callback_;
};

} // namespace detail

/// What `with_stop_token` gives: await it, once.
template <stoppable_token Token, class T>
class [[nodiscard("await this: nothing has been started yet")]] stop_token_awaitable {
 public:
  stop_token_awaitable(Token token, task<T> awaited) noexcept
      : token_(std::move(token)), awaited_(std::move(awaited)) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::stop_token_awaiter<Token, T>(std::move(token_), std::move(awaited_));
  }

 private:
  Token token_;
  task<T> awaited_;
};

/// `co_await with_stop_token(token, f())` runs an awaitable that is stopped by stop of the awaiting
/// task and also by `token`, an `inplace_stop_token` or `std::stop_token`. Gives its result, or
/// throws what it threw: `task_cancelled` if it let itself be stopped.
///
/// Who requests stop by the token runs the task's stop callbacks on its own thread; if it is still
/// at it when the awaitable has ended, the awaiting task's worker waits for it. Throws
/// `errc::no_state` for an empty or used task. Allocates nothing but a frame for an awaitable that
/// is no task.
template <stoppable_token Token, awaitable A>
[[nodiscard]] auto with_stop_token(Token token, A&& awaited) {
  return stop_token_awaitable<Token, detail::child_result_t<A>>(
      std::move(token), detail::as_task(std::forward<A>(awaited)));
}

} // namespace weir
