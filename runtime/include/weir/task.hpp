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
///     Forked children are not named; see forked_tasks.hpp, Q4.
/// T2  A suspended coroutine is resumed only from a worker's loop, never inline from whatever woke
///     it. So nobody can be on the native stack between a child and the parent that T1 names.
///
/// When the native stack reaches `thread_state::stack_limit`, the child is handed to the worker's
/// loop instead, which unwinds the stack: recursion depth is bounded by memory, not by the stack.
#pragma once

#include <weir/detail/awaiter_of.hpp>
#include <weir/detail/frame_cell.hpp>
#include <weir/detail/result.hpp>
#include <weir/detail/task_block.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace weir {

template <class T = void>
class task;

namespace detail {

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;
/// Whether a call only makes a coroutine, which somebody has to run then.
template <class F, class... Args>
inline constexpr bool gives_task = is_task<std::remove_cvref_t<std::invoke_result_t<F, Args...>>>;

class forked_tasks;
struct promise_base;

/// Gives `leaf`, which runs as part of a forked child without a scope, and all that it runs under,
/// scopes of their own. See forked_tasks.hpp.
WEIR_API task_scope& make_scopes(promise_base& leaf) noexcept;
/// Tells the parent of `ended`, which is a forked child without a scope, that there is no value.
WEIR_API void note_failed_fork(const promise_base& ended) noexcept;

/// An awaitable that is just a number (sleep.hpp).
template <class A>
concept small_awaitable = std::is_enum_v<A>;

/// Lets its children run on top of the parent, which may go on without having suspended.
template <class A>
concept forks_children = requires { typename A::forks_children; };

/// An awaiter that lives elsewhere: GCC 12 copies awaiters that `await_transform` gives back as
/// references.
template <class A>
class awaiter_reference {
 public:
  [[gnu::always_inline]] explicit awaiter_reference(A& awaiter) noexcept : awaiter_(&awaiter) {}
  [[gnu::always_inline]] decltype(auto) await_ready() { return awaiter_->await_ready(); }
  template <class Promise>
  [[gnu::always_inline]] decltype(auto) await_suspend(std::coroutine_handle<Promise> self) {
    return awaiter_->await_suspend(self);
  }
  [[gnu::always_inline]] decltype(auto) await_resume() { return awaiter_->await_resume(); }

 private:
  A* awaiter_;
};

/// The part of a coroutine's promise that does not depend on its result.
struct promise_base : job {
  // What is missing is set when it is started, or has to wait: those that are forked and do neither
  // are spared it.
  promise_base() noexcept {}

  static void* operator new(std::size_t size) { return allocate_coroutine(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_coroutine(memory, size);
  }

  /// One byte: it has a place in each frame.
  struct final_awaiter {
    explicit final_awaiter(std::uint8_t scope_marks) noexcept : marks(scope_marks) {}
    /// Whether it destroys itself (Q4).
    [[nodiscard]] bool await_ready() const noexcept { return (marks & forked_mark) != 0; }
    /// Not inlined, as what only failures need is not: the promise's address stays out of the way
    /// of those that end as forked children.
    template <class Promise>
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      promise_base& self = ended.promise();
      thread_state& thread = this_thread();
      if (thread.call_top == &self)
        thread.call_top = nullptr; // T1: the parent goes on when we return into it
      else
        schedule_chained(self.stop_scope().home(), thread, *self.continuation);
    }
    void await_resume() const noexcept {}

    std::uint8_t marks; // as they are: to shift the bit costs more than to test it
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard, gnu::always_inline]] final_awaiter final_suspend() const noexcept {
    return final_awaiter(static_cast<std::uint8_t>(scope_bits));
  }

  /// What is awaited may suspend the coroutine: it needs a scope of its own then.
  template <class A>
    requires(!small_awaitable<std::remove_cvref_t<A>> && !is_task<std::remove_cvref_t<A>> &&
             !forks_children<std::remove_cvref_t<A>>)
  [[gnu::always_inline]] decltype(auto) await_transform(A&& awaited) {
    // NOLINTNEXTLINE(clang-analyzer-core.*): clang-tidy takes promises for uninitialised
    if ((scope_bits & shared_mark) != 0)
      make_scopes(*this);
    if constexpr (gives_awaiter<A>)
      return awaiter_of(std::forward<A>(awaited));
    else
      return awaiter_reference<std::remove_reference_t<A>>(awaited);
  }
  /// As above; what is taken by value needs no place in the frame.
  template <small_awaitable A>
  [[gnu::always_inline]] auto await_transform(A awaited) {
    // NOLINTNEXTLINE(clang-analyzer-core.*): clang-tidy takes promises for uninitialised
    if ((scope_bits & shared_mark) != 0)
      make_scopes(*this);
    return operator co_await(awaited);
  }
  // These may go on without suspending.
  template <class A>
    requires is_task<std::remove_cvref_t<A>>
  [[gnu::always_inline]] auto await_transform(A&& awaited) noexcept {
    return awaited.operator co_await();
  }
  template <class A>
    requires forks_children<std::remove_cvref_t<A>>
  [[gnu::always_inline]] auto await_transform(A&& awaited) {
    return awaited.await_in(*this);
  }

  /// Runs the coroutine for the first time, on behalf of `parent`.
  /// \return whether it ended; if not, `parent` will be scheduled when it does.
  bool start(job& parent, task_scope& under) noexcept {
    return start(parent, reinterpret_cast<std::uintptr_t>(&under));
  }

  /// As above, also of a coroutine without a scope of its own.
  /// Not inlined: some compilers would keep its locals in the parent's frame, which may be gone.
  [[gnu::noinline]] bool start(job& parent, std::uintptr_t under) noexcept {
    run = &run_resume;
    continuation = &parent;
    scope_bits = under & ~forked_mark;
    thread_state& thread = this_thread();
    if (stack_is_below(thread.stack_limit)) {
      if (thread.stack_limit == UINTPTR_MAX)
        learn_stack_limit(thread);
      if (stack_is_below(thread.stack_limit)) {
        schedule_chained(scope().home(), thread, *this);
        return false;
      }
    }
    const void* const below = std::exchange(thread.call_top, this);
    handle().resume();
    // From here on nothing of this coroutine or its parent may be touched unless it ended here: if
    // not, another worker may be running or may have destroyed them.
    const bool ended_here = thread.call_top != this;
    thread.call_top = below;
    return ended_here;
  }

  static void run_resume(job& self, thread_state& thread) noexcept {
    auto& promise = static_cast<promise_base&>(self);
    thread.current = &promise.scope();
    promise.handle().resume();
  }

  /// The coroutine has ended by an exception: a parent that has forked it does not look otherwise.
  void note_failure() const noexcept {
    if ((scope_bits & forked_mark) != 0)
      note_failed_fork(*this);
  }

  /// Promises are aligned to 16 bytes at most, so that they all have the same place in the frame.
  [[nodiscard]] std::coroutine_handle<> handle() noexcept {
    return std::coroutine_handle<promise_base>::from_promise(*this);
  }

  /// What the coroutine runs under, its own for as long as it is suspended.
  [[nodiscard]] task_scope& scope() noexcept {
    if ((scope_bits & shared_mark) != 0) [[unlikely]]
      return make_scopes(*this);
    return *reinterpret_cast<task_scope*>(scope_bits);
  }
  /// The same or one above it, which is stopped with it.
  [[nodiscard]] task_scope& stop_scope() const noexcept {
    if ((scope_bits & shared_mark) != 0)
      return *this_thread().current; // Q3
    return *reinterpret_cast<task_scope*>(scope_bits);
  }

  // The scope is that of a parent further up, which knows it.
  static constexpr std::uintptr_t shared_mark = 1;
  // And that parent has forked this coroutine, and runs directly below on the native stack.
  static constexpr std::uintptr_t forked_mark = 2;

  // Set by who starts it: a promise or a job; of what has the forked mark, the parent's awaiter.
  union {
    job* continuation;
    forked_tasks* forked_by;
  };
  // A task_scope, or marks: those of a forked child until it is started in another way.
  std::uintptr_t scope_bits = shared_mark | forked_mark;
};

template <class Promise>
concept weir_promise = std::derived_from<Promise, promise_base>;

/// Whether a task can carry such a result itself, in a word.
template <class T>
inline constexpr bool fits_in_task =
    std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t);
template <class T>
inline constexpr bool fits_in_task<T&> = true;
template <>
inline constexpr bool fits_in_task<void> = true;

/// By the frame's address, which is in a register where the promise's is not.
template <class Promise>
[[gnu::noinline, gnu::cold]] void end_by_error(void* frame) noexcept {
  auto& self = std::coroutine_handle<Promise>::from_address(frame).promise();
  self.where->end_by_error(std::current_exception());
  self.note_failure();
}

template <class T>
struct task_promise : promise_base {
  static_assert(alignof(result<T>) <= 16);
  task<T> get_return_object() noexcept;
  [[gnu::always_inline]] void unhandled_exception() noexcept {
    end_by_error<task_promise>(this->handle().address());
  }

  template <class U>
    requires std::convertible_to<U, T>
  void return_value(U&& value) {
    if constexpr (std::is_reference_v<T>)
      where->emplace(static_cast<T>(value));
    else
      where->emplace(std::forward<U>(value));
  }

  // Set by who starts it.
  result<T>* where;
};

template <>
struct task_promise<void> : promise_base {
  task<void> get_return_object() noexcept;
  [[gnu::always_inline]] void unhandled_exception() noexcept {
    end_by_error<task_promise>(this->handle().address());
  }
  void return_void() noexcept { where->emplace(); }

  // Set by who starts it.
  result<void>* where;
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
  explicit task(promise_type& promise) noexcept
      : frame_(std::coroutine_handle<promise_type>::from_promise(promise).address()) {
    if (!has_coroutine())
      __builtin_unreachable(); // who has inlined this need not look
  }
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {
    if (frame_ == ready())
      value_ = other.value_;
  }
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      std::destroy_at(this);
      std::construct_at(this, std::move(other));
    }
    return *this;
  }
  [[gnu::always_inline]] ~task() {
    if (has_coroutine())
      std::coroutine_handle<>::from_address(frame_).destroy();
  }
  void swap(task& other) noexcept { std::swap(*this, other); }

  /// Whether there is a coroutine to run, or a result.
  [[nodiscard]] explicit operator bool() const noexcept { return frame_ != nullptr; }

  /// Runs the task to its end and gives its result; the task is empty then. Awaiting an empty one
  /// throws `errc::no_state`; if stop was requested, `task_cancelled`, and the child does not
  /// start.
  [[nodiscard]] auto operator co_await() noexcept { return awaiter(*this); }

  // For the library.
  /// Whether it is neither empty nor used.
  [[nodiscard, gnu::always_inline]] bool startable() const noexcept { return frame_ != nullptr; }
  /// Whether it is startable and not ready.
  [[nodiscard, gnu::always_inline]] bool has_coroutine() const noexcept {
    return reinterpret_cast<std::uintptr_t>(frame_) > 1;
  }
  /// Where the outcome is to go, of a startable task, which is not to be shown to users again.
  /// \return the coroutine to start; null if the outcome is there already.
  [[nodiscard, gnu::always_inline]] promise_type* begin(detail::result<T>& outcome) noexcept {
    if (!has_coroutine()) {
      take_value(outcome);
      return nullptr;
    }
    promise_type& coroutine = promise_of(frame_);
    coroutine.where = &outcome;
    return &coroutine;
  }
  /// As begin. The task is used up: who calls this destroys the coroutine.
  [[nodiscard, gnu::always_inline]] promise_type* release(detail::result<T>& outcome) noexcept {
    promise_type* const coroutine = begin(outcome);
    frame_ = nullptr;
    return coroutine;
  }
  /// A task whose result is there already.
  template <class... Value>
    requires(detail::fits_in_task<T> && sizeof...(Value) == (std::is_void_v<T> ? 0 : 1))
  [[nodiscard, gnu::always_inline]] static task made_ready(Value&&... value) noexcept {
    task made;
    made.frame_ = ready();
    if constexpr (std::is_reference_v<T>) {
      const auto place = (std::addressof(value), ...);
      std::memcpy(&made.value_, &place, sizeof place);
    } else if constexpr (!std::is_void_v<T>) {
      const T copy(std::forward<Value>(value)...);
      std::memcpy(&made.value_, &copy, sizeof copy);
    }
    return made;
  }

 private:
  class awaiter {
   public:
    [[gnu::always_inline]] explicit awaiter(task& child) noexcept : child_(std::move(child)) {}
    [[nodiscard]] bool await_ready() const {
      if (!child_.startable())
        detail::throw_error(errc::no_state,
                            "co_await of a task that is empty or was awaited before");
      return false;
    }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
      static_assert(
          detail::weir_promise<Promise>,
          "a weir::task can be awaited only inside another weir::task; from other coroutines "
          "await runtime.spawn(task)");
      auto& promise = static_cast<detail::promise_base&>(parent.promise());
      promise.stop_scope().check_stop();
      promise_type* const coroutine = child_.begin(outcome_);
      return coroutine != nullptr && !coroutine->start(promise, promise.scope_bits);
    }
    T await_resume() { return outcome_.take(); }

   private:
    task child_;
    detail::result<T> outcome_;
  };

  /// Stands for a coroutine that has ended: the result is in `value_`.
  [[nodiscard]] static void* ready() noexcept { return reinterpret_cast<void*>(std::uintptr_t{1}); }
  [[nodiscard, gnu::always_inline]] static promise_type& promise_of(void* frame) noexcept {
    return std::coroutine_handle<promise_type>::from_address(frame).promise();
  }
  /// Of a task that is ready.
  [[gnu::always_inline]] void take_value(detail::result<T>& outcome) noexcept {
    frame_ = nullptr;
    if constexpr (std::is_void_v<T>) {
      outcome.emplace();
    } else if constexpr (std::is_reference_v<T>) {
      std::remove_reference_t<T>* place = nullptr;
      std::memcpy(&place, &value_, sizeof place);
      outcome.emplace(static_cast<T>(*place));
    } else if constexpr (detail::fits_in_task<T>) {
      std::array<std::byte, sizeof(T)> copy;
      std::memcpy(&copy, &value_, sizeof copy);
      outcome.emplace(std::bit_cast<T>(copy));
    }
  }

  void* frame_ = nullptr;
  std::uint64_t value_; // if it is ready
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
task<T> return_in_task(T value) {
  co_return std::move(value);
}

} // namespace detail

/// A task that gives `value` when it is awaited, as one that returns it at once would.
///
/// A function that gives tasks and often knows the result without having to wait can save the
/// coroutine: `return in_cache ? make_ready_task(found) : fetch(key);`, or at the leaves of a
/// recursion. Does not throw and allocates nothing if `T` is trivially copyable and has at most 8
/// bytes; otherwise it costs a coroutine frame and may throw `std::bad_alloc` and what moving
/// throws.
template <class T>
[[nodiscard, gnu::always_inline]] inline task<std::decay_t<T>>
make_ready_task(T&& value) noexcept(detail::fits_in_task<std::decay_t<T>>) {
  if constexpr (detail::fits_in_task<std::decay_t<T>>)
    return task<std::decay_t<T>>::made_ready(std::forward<T>(value));
  else
    return detail::return_in_task<std::decay_t<T>>(std::forward<T>(value));
}
/// The same of `task<>`.
[[nodiscard]] inline task<> make_ready_task() noexcept {
  return task<>::made_ready();
}

} // namespace weir
