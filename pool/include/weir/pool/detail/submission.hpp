// SPDX-License-Identifier: MIT
/// \file
/// What a pool's `submit` and `submit_async` give.
#pragma once

#include <weir/handle.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/tracked_task.hpp>
#include <weir/pool/pool_handle.hpp>

#include <coroutine>
#include <memory>
#include <utility>

namespace weir {

namespace detail {

/// A task that has been made but not submitted yet; then a handle to it.
template <class T>
class submission_base {
 public:
  submission_base(submission_base&& other) noexcept
      : engine_(std::move(other.engine_)), task_(other.task_), handle_(std::move(other.handle_)) {
    other.task_.block = nullptr;
  }
  submission_base& operator=(submission_base&&) = delete;

 protected:
  submission_base(std::shared_ptr<pool_engine> engine, new_task<T> made) noexcept
      : engine_(std::move(engine)), task_(made) {}
  ~submission_base() {
    if (task_.block != nullptr)
      task_.block->discard_unsubmitted();
  }

  void require_unsubmitted() const {
    if (task_.block == nullptr)
      throw_error(errc::no_state, "the submission was awaited before or moved from");
  }
  void turn_into_handle() noexcept { handle_ = handle<T>(std::exchange(task_.block, nullptr)); }
  void turn_back() noexcept { task_.block = handle_.give_up(); }

  std::shared_ptr<pool_engine> engine_;
  new_task<T> task_;
  handle<T> handle_;
  room_waiter room_;
};

} // namespace detail

/// What `submit` of a pool gives: await it for the task's result.
template <class T>
class [[nodiscard("the task is submitted when this is awaited")]] submission
    : detail::submission_base<T>,
      detail::suspension {
 public:
  submission(std::shared_ptr<detail::pool_engine> engine, detail::new_task<T> made) noexcept
      : detail::submission_base<T>(std::move(engine), made), suspension(&withdraw) {}
  submission(submission&& other) noexcept
      : detail::submission_base<T>(std::move(other)), suspension(std::move(other)) {}

  [[nodiscard]] bool await_ready() const {
    this->require_unsubmitted();
    return false;
  }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    static_assert(detail::weir_promise<Promise>,
                  "submit() can be awaited only inside a weir::task; elsewhere use "
                  "runtime.block_on(pool.submit(...))");
    detail::promise_base& promise = parent.promise();
    if (this->engine_->only_slot_is_of(promise.scope()))
      detail::throw_error(errc::would_deadlock,
                          "a task must not wait for another task of its pool's only slot");
    if (!prepare(promise.scope(), promise))
      return false;
    block_ = this->task_.block;
    waiter_ = {&promise.scope().home(), &promise, this};
    this->room_.item = this->task_.item;
    this->turn_into_handle();
    try {
      (void)block_->add_waiter(waiter_); // nobody else has seen the block
      (void)this->engine_->admit_or_wait(detail::this_thread(), this->room_);
    } catch (...) {
      take_back();
      retract();
      throw;
    }
    return commit();
  }
  T await_resume() {
    if (cancelled() && this->handle_.valid())
      (void)this->handle_.request_stop(this->scope().reason());
    check();
    return this->handle_.get();
  }

 private:
  static bool withdraw(suspension& base) noexcept {
    auto& self = static_cast<submission&>(base);
    if (self.engine_->queue().withdraw(self.room_)) {
      self.take_back();
      return true;
    }
    return self.block_->remove_waiter(self.waiter_);
  }
  /// It was not submitted, and may be awaited again.
  void take_back() noexcept {
    (void)block_->remove_waiter(waiter_);
    this->turn_back();
  }

  detail::waiter waiter_;
  detail::task_block* block_ = nullptr;
};

/// As `submission`, but awaiting it gives a `pool_handle<T>` as soon as the task has been queued.
template <class T>
class [[nodiscard("the task is submitted when this is awaited")]] async_submission
    : detail::submission_base<T>,
      detail::suspension {
 public:
  async_submission(std::shared_ptr<detail::pool_engine> engine, detail::new_task<T> made) noexcept
      : detail::submission_base<T>(std::move(engine), made), suspension(&withdraw) {}
  async_submission(async_submission&& other) noexcept
      : detail::submission_base<T>(std::move(other)), suspension(std::move(other)) {}

  [[nodiscard]] bool await_ready() const {
    this->require_unsubmitted();
    return false;
  }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    static_assert(detail::weir_promise<Promise>,
                  "submit_async() can be awaited only inside a weir::task; elsewhere use "
                  "runtime.block_on(pool.submit_async(...))");
    detail::promise_base& promise = parent.promise();
    if (!prepare(promise.scope(), promise))
      return false;
    this->room_.item = this->task_.item;
    this->room_.resume = {&promise.scope().home(), &promise, this};
    this->turn_into_handle();
    try {
      if (!this->engine_->admit_or_wait(detail::this_thread(), this->room_)) {
        if (!this->engine_->only_room_is_of(promise.scope()) ||
            !this->engine_->queue().withdraw(this->room_))
          return commit();
        detail::throw_error(errc::would_deadlock,
                            "the pool's queue is full, and a task must not wait for room in its "
                            "pool's only slot");
      }
    } catch (...) {
      this->turn_back();
      retract();
      throw;
    }
    retract();
    return false;
  }
  pool_handle<T> await_resume() {
    check();
    return {std::move(this->handle_), detail::id_of(*this->room_.item)};
  }

 private:
  static bool withdraw(suspension& base) noexcept {
    auto& self = static_cast<async_submission&>(base);
    if (!self.engine_->queue().withdraw(self.room_))
      return false;
    self.turn_back();
    return true;
  }
};

} // namespace weir
