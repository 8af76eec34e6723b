// SPDX-License-Identifier: MIT
/// \file
/// `blocking_executor`: threads of its own for calls that always block.
#pragma once

#include <weir/detail/blocking_core.hpp>
#include <weir/detail/submit.hpp>
#include <weir/error.hpp>
#include <weir/executor.hpp>
#include <weir/task.hpp>

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace weir {

/// How to set up a `blocking_executor`. Every field has a default; the constructor checks them.
struct blocking_executor_options {
  /// Threads at the most, 1 to `blocking_executor::thread_limit`. They are started on demand.
  std::size_t max_threads = 64;
  /// How long a thread without calls is kept. Not negative.
  std::chrono::nanoseconds keep_alive = std::chrono::seconds(10);
  /// Posted callables that may wait for a thread. 0: no bound.
  std::size_t max_queued = 0;
  /// Threads are called "<thread_name>-<index>"; the kernel keeps the first 15 characters.
  std::string thread_name = "weir-block";
  /// Gets what posted callables throw, on their thread. Must not throw. Not set: the exception is
  /// printed to standard error and the process ends, as with `std::thread`.
  std::function<void(std::exception_ptr)> on_unhandled_exception{};
};

namespace detail {

/// A posted callable on the heap.
template <class F>
class posted_blocking_call final : blocking_call {
 public:
  template <class G>
    requires(!std::is_same_v<std::remove_cvref_t<G>, posted_blocking_call>)
  explicit posted_blocking_call(G&& f) : blocking_call(&run), f_(std::forward<G>(f)) {}

  [[nodiscard]] blocking_call& as_call() noexcept { return *this; }

 private:
  static void run(blocking_call& call, blocking_core* by) noexcept {
    const std::unique_ptr<posted_blocking_call> self(static_cast<posted_blocking_call*>(&call));
    if (by == nullptr)
      return;
    try {
      std::invoke(std::move(self->f_));
    } catch (const task_cancelled&) {
      return; // stopped as asked
    } catch (...) {
      by->sink().report(std::current_exception());
    }
  }

  F f_;
};

/// What `blocking_executor::run` gives: awaits the end of a call.
template <class T, class F, class... Args>
class [[nodiscard("the call is made when this is awaited")]] blocking_run : suspension,
                                                                            blocking_call {
 public:
  template <class G, class... As>
  explicit blocking_run(std::shared_ptr<blocking_core> core, G&& f, As&&... args)
      : suspension(&withdraw), blocking_call(&run), core_(std::move(core)),
        call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}
  /// Only before it is awaited.
  blocking_run(blocking_run&& other) noexcept(
      std::is_nothrow_move_constructible_v<bound_call<F, Args...>>)
      : suspension(std::move(other)), blocking_call(&run), core_(std::move(other.core_)),
        call_(std::move(other.call_)) {}

  [[nodiscard]] bool await_ready() const {
    if (core_ == nullptr)
      throw_error(errc::no_state, "the call was awaited before or moved from");
    return false;
  }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    static_assert(weir_promise<Promise>,
                  "run() can be awaited only inside a weir::task; elsewhere use "
                  "runtime.block_on(executor.run(...)) or post()");
    promise_base& promise = parent.promise();
    if (!prepare(promise.scope(), promise))
      return false;
    try {
      core_->submit(*this, false);
    } catch (...) {
      retract();
      throw;
    }
    return commit();
  }
  T await_resume() {
    core_.reset();
    check();
    return outcome_.take();
  }

 private:
  static bool withdraw(suspension& base) noexcept {
    auto& self = static_cast<blocking_run&>(base);
    return self.core_->withdraw(self);
  }

  static void run(blocking_call& call, blocking_core* by) noexcept {
    auto& self = static_cast<blocking_run&>(call);
    if (by == nullptr)
      self.outcome_.set_cancelled(stop_cause::shutdown);
    else
      self.invoke();
    self.call_.reset();
    self.complete_and_schedule(this_thread());
  }

  void invoke() noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        call_(scope());
        outcome_.emplace();
      } else {
        outcome_.emplace(call_(scope()));
      }
    } catch (const task_cancelled& cancelled) {
      outcome_.set_cancelled(cancelled.reason());
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
  }

  std::shared_ptr<blocking_core> core_;
  bound_call<F, Args...> call_;
  result<T> outcome_;
};

} // namespace detail

/// Runs calls that block on threads of its own, so that they take none of a runtime's workers:
/// files, name look-ups, drivers without an asynchronous interface.
///
/// Threads are started when a call finds none that is free, up to `max_threads`, and leave after
/// `keep_alive` without a call. Calls start in the order in which they came.
///
/// Thread safety: every member may be called from any thread, except the destructor. One short lock
/// for each call, and a system call if a thread is woken or started.
class blocking_executor {
 public:
  /// The largest number of threads.
  static constexpr std::size_t thread_limit = 1024;

  /// Starts no thread. Throws `errc::invalid_option` naming the field.
  explicit blocking_executor(blocking_executor_options options = {})
      : core_(make_core(std::move(options))) {}
  blocking_executor(const blocking_executor&) = delete;
  blocking_executor& operator=(const blocking_executor&) = delete;

  /// Closes it, drops the calls that have not started, whose awaiters get `task_cancelled`, and
  /// waits for those that run. On one of its own threads it does not wait: the threads leave by
  /// themselves. On a worker the waiting is `blocking`.
  ~blocking_executor() { core_->end(); }

  /// Calls `f()` on some thread; its result is dropped. `f` may be move-only. Allocates once.
  ///
  /// An exception goes to `on_unhandled_exception`. Throws `errc::pool_closed` after `close()`,
  /// `errc::queue_full`, `errc::empty_callable`, `errc::thread_start_failed` if there is no thread
  /// and none can be started, `errc::forked`, `std::bad_alloc`, and what moving `f` throws.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(F&& f) {
    using callable = std::decay_t<F>;
    static_assert(!detail::gives_task<callable>,
                  "a blocking_executor does not run coroutines: submit them to a runtime");
    static_assert(std::is_nothrow_destructible_v<callable>,
                  "a posted callable must have a destructor that does not throw");
    detail::require_callable(f);
    if (auto* const context = detail::current_context(detail::this_thread())) {
      using in_context = detail::call_in_context<callable>;
      post_owned<in_context>(in_context(detail::context_ref::of(context), std::forward<F>(f)));
    } else {
      post_owned<callable>(std::forward<F>(f));
    }
  }

  /// `co_await run(f, args...)` calls `f(args...)` on some thread while the awaiting task is
  /// suspended, and gives its value or throws what it threw. `f` and the arguments are copied or
  /// moved in (`std::ref` to refer). If `f` can be called only with an `inplace_stop_token` before
  /// the arguments, it gets one that sees the awaiting task's stop. Nothing is allocated. The call
  /// does not count for `max_queued`: the task that waits for it is bound enough.
  ///
  /// If stop is requested of the awaiting task: a call that has not started is withdrawn and the
  /// task goes on at once, by `task_cancelled`. One that runs goes on until it ends, as it may use
  /// what the task owns; the task then gets its value or exception as if it had not been stopped.
  ///
  /// Awaiting throws `errc::pool_closed`, `errc::thread_start_failed`, `errc::forked` as `post`,
  /// and `task_cancelled`; `errc::empty_callable` comes from this call.
  template <class F, class... Args>
    requires submittable<F, Args...>
  auto run(F&& f, Args&&... args) {
    using raw = typename detail::raw_result<F, Args...>::type;
    static_assert(!detail::is_task<std::remove_cvref_t<raw>>,
                  "a blocking_executor does not run coroutines: await the task itself");
    detail::require_callable(f);
    return detail::blocking_run<raw, std::decay_t<F>, std::decay_t<Args>...>(
        core_, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Refuses calls from now on; what was accepted still runs. May be called again. Throws
  /// `errc::forked`.
  void close() { core_->close(); }

  /// Figures of one moment. Throws `errc::forked`. Takes a mutex for a few instructions.
  [[nodiscard]] blocking_executor_stats stats() const { return core_->stats(); }

 private:
  static WEIR_API std::shared_ptr<detail::blocking_core>
  make_core(blocking_executor_options&& options);

  template <class Callable, class F>
  void post_owned(F&& f) {
    auto owned = std::make_unique<detail::posted_blocking_call<Callable>>(std::forward<F>(f));
    core_->submit(owned->as_call(), true);
    (void)owned.release();
  }

  std::shared_ptr<detail::blocking_core> core_;
};

static_assert(executor<blocking_executor>);

} // namespace weir
