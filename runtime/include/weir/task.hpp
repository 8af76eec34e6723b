// SPDX-License-Identifier: MIT
/// \file
/// `task<T>`: a lazy coroutine of the runtime.
///
/// Awaiting a task calls it: `await_suspend` resumes the child on top of the native stack, and if
/// the child ends without having suspended, its parent goes on in the same call. Symmetric transfer
/// is not used, because GCC 12 makes it a tail jump only at -O2 and without sanitizers. Two rules
/// keep that sound (docs/scheduler.md):
///
/// T1  `thread_state::call_top` names the promise whose parent is inside `await_suspend` directly
///     below it on this native stack. A child that ends compares itself with it: equal means that
///     the parent goes on by itself, unequal that the parent is suspended and must be scheduled.
/// T2  A suspended coroutine is resumed only from a worker's loop, never inline from whatever woke
///     it. So nobody can be on the native stack between a child and the parent that T1 names.
///
/// When the native stack reaches `thread_state::stack_limit`, the child is handed to the worker's
/// loop instead, which unwinds the stack: recursion depth is bounded by memory, not by the stack.
#pragma once

#include <weir/detail/result.hpp>
#include <weir/detail/task_block.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace weir {

template <class T = void>
class task;

namespace detail {

/// The part of a coroutine's promise that does not depend on its result.
struct promise_base : job {
  promise_base() noexcept : job(&run_resume) {}

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

  struct final_awaiter {
    final_awaiter() noexcept {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      promise_base& self = ended.promise();
      thread_state& thread = this_thread();
      if (thread.call_top == &self)
        thread.call_top = nullptr; // T1: the parent goes on when we return into it
      else
        schedule_chained(self.scope->home(), thread, *self.continuation);
    }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] final_awaiter final_suspend() const noexcept { return final_awaiter(); }

  /// Runs the coroutine for the first time, on behalf of `parent`.
  /// \return whether it ended; if not, `parent` will be scheduled when it does.
  /// Not inlined: some compilers would keep its locals in the parent's frame, which may be gone.
  [[gnu::noinline]] bool start(job& parent, task_scope& under) noexcept {
    continuation = &parent;
    scope = &under;
    thread_state& thread = this_thread();
    if (reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < thread.stack_limit) {
      if (thread.stack_limit == UINTPTR_MAX)
        learn_stack_limit(thread);
      if (reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < thread.stack_limit) {
        schedule_chained(under.home(), thread, *this);
        return false;
      }
    }
    const void* const below = std::exchange(thread.call_top, this);
    handle.resume();
    // From here on nothing of this coroutine or its parent may be touched unless it ended here: if
    // not, another worker may be running or may have destroyed them.
    const bool ended_here = thread.call_top != this;
    thread.call_top = below;
    return ended_here;
  }

  static void run_resume(job& self, thread_state& thread) noexcept {
    auto& promise = static_cast<promise_base&>(self);
    thread.current = promise.scope;
    promise.handle.resume();
  }

  std::coroutine_handle<> handle;
  job* continuation = nullptr;
  task_scope* scope = nullptr;
};

template <class Promise>
concept weir_promise = std::derived_from<Promise, promise_base>;

template <class T>
struct task_promise : promise_base {
  task_promise() noexcept { handle = std::coroutine_handle<task_promise>::from_promise(*this); }
  task<T> get_return_object() noexcept;
  void unhandled_exception() noexcept { outcome.set_error(std::current_exception()); }

  template <class U>
    requires std::convertible_to<U, T>
  void return_value(U&& value) {
    if constexpr (std::is_reference_v<T>)
      outcome.emplace(static_cast<T>(value));
    else
      outcome.emplace(std::forward<U>(value));
  }

  result<T> outcome;
};

template <>
struct task_promise<void> : promise_base {
  task_promise() noexcept { handle = std::coroutine_handle<task_promise>::from_promise(*this); }
  task<void> get_return_object() noexcept;
  void unhandled_exception() noexcept { outcome.set_error(std::current_exception()); }
  void return_void() noexcept { outcome.emplace(); }

  result<void> outcome;
};

} // namespace detail

/// A coroutine that starts when it is awaited, spawned or blocked on, and runs once.
///
/// `co_await` it inside another task: the result (`T`, `T&` or `void`; move-only is fine) comes
/// back, or its exception is thrown there. A task that is destroyed unstarted never runs; a started
/// task must not be destroyed before it has ended, which `co_await` sees to by itself.
///
/// Thread safety: a task object belongs to one thread at a time. Costs: one frame from a per-worker
/// cache; awaiting a task that does not suspend costs about a call, without atomics.
///
/// A lambda coroutine's captures live in the lambda, not in the coroutine: give state as
/// parameters, or let `runtime::submit` keep the lambda alive. With GCC 12, name a capturing lambda
/// before a `co_await` expression uses it (a compiler defect destroys unnamed ones twice).
template <class T>
class [[nodiscard("a task does nothing until it is awaited, spawned or blocked on")]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() noexcept {}
  explicit task(promise_type& promise) noexcept : promise_(&promise) {}
  task(task&& other) noexcept : promise_(std::exchange(other.promise_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    task(std::move(other)).swap(*this);
    return *this;
  }
  ~task() {
    if (promise_ != nullptr)
      promise_->handle.destroy();
  }
  void swap(task& other) noexcept { std::swap(promise_, other.promise_); }

  /// Whether there is a coroutine to run.
  [[nodiscard]] explicit operator bool() const noexcept { return promise_ != nullptr; }

  /// Runs the task to its end and gives its result. Awaiting an empty or used task throws
  /// `errc::no_state`; if stop was requested, `task_cancelled`, and the child does not start.
  [[nodiscard]] auto operator co_await() const noexcept { return awaiter(promise_); }

  /// For the library: the coroutine's promise.
  [[nodiscard]] promise_type* promise() const noexcept { return promise_; }

 private:
  class awaiter {
   public:
    explicit awaiter(promise_type* child) noexcept : child_(child) {}
    [[nodiscard]] bool await_ready() const {
      if (child_ == nullptr || child_->continuation != nullptr)
        detail::throw_error(errc::no_state,
                            "co_await of a task that is empty or was awaited before");
      return false;
    }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) const {
      static_assert(
          detail::weir_promise<Promise>,
          "a weir::task can be awaited only inside another weir::task; from other coroutines "
          "await runtime.spawn(task)");
      auto& promise = static_cast<detail::promise_base&>(parent.promise());
      promise.scope->check_stop();
      return !child_->start(promise, *promise.scope);
    }
    T await_resume() const { return child_->outcome.take(); }

   private:
    promise_type* child_;
  };

  promise_type* promise_ = nullptr;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(*this);
}

inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(*this);
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

} // namespace detail

} // namespace weir
