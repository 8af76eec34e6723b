// SPDX-License-Identifier: MIT
/// \file
/// `fixed_pool`: at most `size` tasks at a time, the others wait in order.
#pragma once

#include <weir/detail/submit.hpp>
#include <weir/error.hpp>
#include <weir/handle.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/runtime.hpp>

#include <algorithm>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace weir {

/// Queue policy: tasks start in the order in which they were submitted, exactly for the tasks of
/// one submitting thread; tasks of different threads may overtake each other.
struct fifo {
  [[nodiscard]] static std::unique_ptr<detail::front_queue> make_queue() {
    return detail::make_fifo_queue();
  }
};

/// What a `fixed_pool` needs of its queue policy.
template <class Q>
concept queue_policy = requires {
  { Q::make_queue() } -> std::same_as<std::unique_ptr<detail::front_queue>>;
};

/// How to set up a `fixed_pool`.
struct fixed_pool_options {
  /// Tasks in flight at the most, 1 to 2^32 - 1. A suspended coroutine counts.
  std::size_t size = 3;
  /// Tasks that may wait for a slot. 0: no bound.
  std::size_t queue_maxsize = 0;
};

/// What `fixed_pool::submit` gives: await it for the task's result.
template <class T>
class [[nodiscard("the task is submitted when this is awaited")]] submission;

/// As `submission`, but awaiting it gives a `handle<T>` as soon as the task has been queued.
template <class T>
class [[nodiscard("the task is submitted when this is awaited")]] async_submission;

/// Bounds how many tasks run at once on a runtime that others use too.
///
/// A slot is a number: a task that is suspended keeps its slot and holds no thread. Tasks wait in a
/// queue of the policy `Queue` for a slot, and a free slot takes the best task at that moment.
/// Submitting takes no lock, except when the queue is bounded and full.
///
/// Thread safety: every member may be called from any thread, except the destructor. The runtime
/// must outlive the pool.
template <queue_policy Queue = fifo>
class fixed_pool {
 public:
  /// Throws `errc::invalid_option` naming the field.
  explicit fixed_pool(runtime& on, fixed_pool_options options = {})
      : engine_(std::make_shared<detail::pool_engine>(on.scheduler(), checked(options.size),
                                                      options.queue_maxsize, Queue::make_queue())) {
  }
  fixed_pool(const fixed_pool&) = delete;
  fixed_pool& operator=(const fixed_pool&) = delete;

  /// Closes the pool, cancels tasks that have not started and waits for those that have. On a
  /// worker thread it does not wait: the pool's engine lives on until the last task has ended. Call
  /// `close()` before to run everything that was accepted.
  ~fixed_pool() {
    if (detail::is_forked(engine_->home())) { // its locks may be held by threads that are not here
      (void)new std::shared_ptr<detail::pool_engine>(std::move(engine_));
      return;
    }
    engine_->cancel_waiting();
    if (detail::this_thread().self == nullptr)
      engine_->wait_drained();
    else
      detail::pool_engine::keep_until_drained(std::move(engine_));
  }

  /// Submits `f(args...)` when awaited: waits while the queue is full, then for the task's end, and
  /// gives its value or throws what it threw. The callable is taken as by `runtime::submit`, now.
  ///
  /// Awaiting throws `errc::pool_closed`, `errc::stopped`; `errc::empty_callable` comes from this
  /// call. A task of this pool that awaits another one keeps its slot meanwhile: if all slots are
  /// held by such tasks, none goes on. With one slot that is certain and throws
  /// `errc::would_deadlock`. On a thread that is no worker: `runtime.block_on(pool.submit(...))`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  submission<submit_result_t<F, Args...>> submit(F&& f, Args&&... args) {
    return submission<submit_result_t<F, Args...>>(
        engine_,
        detail::make_block(engine_->home(), std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// As `submit`, but the awaiting coroutine waits only while the queue is full and gets a handle.
  template <class F, class... Args>
    requires submittable<F, Args...>
  async_submission<submit_result_t<F, Args...>> submit_async(F&& f, Args&&... args) {
    return async_submission<submit_result_t<F, Args...>>(
        engine_,
        detail::make_block(engine_->home(), std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// Submits at once, or gives nothing if the queue is full or others wait for room; then `f` and
  /// the arguments are untouched. Never waits. Throws `errc::pool_closed` and as `runtime::submit`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  [[nodiscard]] std::optional<handle<submit_result_t<F, Args...>>> try_submit(F&& f,
                                                                              Args&&... args) {
    detail::require_callable(f);
    if (!engine_->try_reserve())
      return std::nullopt;
    detail::thread_state& thread = detail::this_thread();
    detail::result_block<submit_result_t<F, Args...>>* block = nullptr;
    try {
      block = detail::make_block(engine_->home(), std::forward<F>(f), std::forward<Args>(args)...);
    } catch (...) {
      engine_->unreserve(thread);
      throw;
    }
    try {
      engine_->admit(thread, *block);
    } catch (...) {
      block->discard_unsubmitted();
      throw;
    }
    return handle<submit_result_t<F, Args...>>(block);
  }

  /// Tasks in flight at the most.
  [[nodiscard]] std::size_t size() const noexcept { return engine_->size(); }

  /// Tasks that may wait for a slot; 0: no bound.
  [[nodiscard]] std::size_t max_tasks_number() const noexcept { return engine_->max_waiting(); }

  /// A moment's number of tasks that wait for a slot.
  [[nodiscard]] std::size_t waiting_tasks_number() const noexcept {
    const auto load = engine_->load();
    return load > size() ? load - size() : 0;
  }

  /// A moment's number of tasks in a slot.
  [[nodiscard]] std::size_t running_tasks_number() const noexcept {
    return std::min(engine_->load(), size());
  }

  /// Whether `close()` has been called.
  [[nodiscard]] bool closed() const noexcept { return engine_->closed(); }

  /// Refuses new tasks from now on, and gives an awaitable that ends when everything accepted has
  /// ended, tasks that were waiting for room included. May be called again. Awaiting it in a task
  /// of this pool throws `errc::would_deadlock`: the task would wait for itself.
  [[nodiscard("the pool is closed now; await this to wait for what it has accepted")]] auto
  close() {
    if (detail::is_forked(engine_->home()))
      detail::throw_forked();
    engine_->close();
    return drain_awaiter(engine_);
  }

 private:
  class drain_awaiter : detail::suspension {
   public:
    explicit drain_awaiter(std::shared_ptr<detail::pool_engine> engine) noexcept
        : suspension(&withdraw), engine_(std::move(engine)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
      static_assert(detail::weir_promise<Promise>,
                    "close() can be awaited only inside a weir::task; elsewhere use "
                    "runtime.block_on(pool.close())");
      detail::promise_base& promise = parent.promise();
      if (promise.scope().root().has_hook(*engine_))
        detail::throw_error(errc::would_deadlock,
                            "a task of a pool must not wait for the end of all the pool's tasks");
      if (!prepare(promise.scope(), promise))
        return false;
      waiter_ = {&promise.scope().home(), &promise, this};
      try {
        if (engine_->wait_drained(waiter_))
          return commit();
      } catch (...) {
        retract();
        throw;
      }
      retract();
      return false;
    }
    void await_resume() const { check(); }

   private:
    static bool withdraw(suspension& self) noexcept {
      auto& awaiter = static_cast<drain_awaiter&>(self);
      return awaiter.engine_->withdraw(awaiter.waiter_);
    }

    std::shared_ptr<detail::pool_engine> engine_;
    detail::waiter waiter_;
  };

  static std::size_t checked(std::size_t size) {
    if (size == 0 || size > 0xffffffff)
      throw error(errc::invalid_option, "fixed_pool_options.size is " + std::to_string(size) +
                                            "; it must be 1 to 4294967295");
    return size;
  }

  std::shared_ptr<detail::pool_engine> engine_;
};

namespace detail {

/// A task that has been made but not submitted yet; then a handle to it.
template <class T>
class submission_base {
 public:
  submission_base(submission_base&& other) noexcept
      : engine_(std::move(other.engine_)), block_(std::exchange(other.block_, nullptr)),
        handle_(std::move(other.handle_)) {}
  submission_base& operator=(submission_base&&) = delete;

 protected:
  submission_base(std::shared_ptr<pool_engine> engine, result_block<T>* block) noexcept
      : engine_(std::move(engine)), block_(block) {}
  ~submission_base() {
    if (block_ != nullptr)
      block_->discard_unsubmitted();
  }

  result_block<T>& unsubmitted() const {
    if (block_ == nullptr)
      throw_error(errc::no_state, "the submission was awaited before or moved from");
    return *block_;
  }

  std::shared_ptr<pool_engine> engine_;
  result_block<T>* block_;
  handle<T> handle_;
};

} // namespace detail

template <class T>
class submission : detail::submission_base<T>, detail::suspension {
 public:
  submission(std::shared_ptr<detail::pool_engine> engine, detail::result_block<T>* block) noexcept
      : detail::submission_base<T>(std::move(engine), block), suspension(&withdraw) {}
  submission(submission&& other) noexcept
      : detail::submission_base<T>(std::move(other)), suspension(std::move(other)) {}

  [[nodiscard]] bool await_ready() const {
    (void)this->unsubmitted();
    return false;
  }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    static_assert(detail::weir_promise<Promise>,
                  "submit() can be awaited only inside a weir::task; elsewhere use "
                  "runtime.block_on(pool.submit(...))");
    detail::promise_base& promise = parent.promise();
    if (this->engine_->size() == 1 && promise.scope().root().has_hook(*this->engine_))
      detail::throw_error(errc::would_deadlock,
                          "a task must not wait for another task of its pool's only slot");
    if (!prepare(promise.scope(), promise))
      return false;
    auto* const block = this->block_;
    waiter_ = {&promise.scope().home(), &promise, this};
    (void)block->add_waiter(waiter_); // nobody else has seen the block
    room_.task = block;
    this->handle_ = handle<T>(std::exchange(this->block_, nullptr));
    try {
      (void)this->engine_->admit_or_wait(detail::this_thread(), room_);
    } catch (...) {
      this->block_ = this->handle_.give_up();
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
    if (self.engine_->withdraw(self.room_)) {
      self.block_ = self.handle_.give_up();
      return true;
    }
    return self.room_.task->remove_waiter(self.waiter_);
  }

  detail::waiter waiter_;
  detail::pool_engine::room_waiter room_;
};

template <class T>
class async_submission : detail::submission_base<T>, detail::suspension {
 public:
  async_submission(std::shared_ptr<detail::pool_engine> engine,
                   detail::result_block<T>* block) noexcept
      : detail::submission_base<T>(std::move(engine), block), suspension(&withdraw) {}
  async_submission(async_submission&& other) noexcept
      : detail::submission_base<T>(std::move(other)), suspension(std::move(other)) {}

  [[nodiscard]] bool await_ready() const {
    (void)this->unsubmitted();
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
    auto* const block = this->block_;
    room_.task = block;
    room_.resume = {&promise.scope().home(), &promise, this};
    this->handle_ = handle<T>(std::exchange(this->block_, nullptr));
    try {
      if (!this->engine_->admit_or_wait(detail::this_thread(), room_))
        return commit();
    } catch (...) {
      this->block_ = this->handle_.give_up();
      retract();
      throw;
    }
    retract();
    return false;
  }
  handle<T> await_resume() {
    check();
    return std::move(this->handle_);
  }

 private:
  static bool withdraw(suspension& base) noexcept {
    auto& self = static_cast<async_submission&>(base);
    if (!self.engine_->withdraw(self.room_))
      return false;
    self.block_ = self.handle_.give_up();
    return true;
  }

  detail::pool_engine::room_waiter room_;
};

} // namespace weir
