// SPDX-License-Identifier: MIT
/// \file
/// `fork_scope`: plain functions beside each other whose number only the code knows.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/frame_cache.hpp>
#include <weir/detail/sync.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace weir {

/// The children of one `with_fork_scope`.
class fork_scope {
 public:
  fork_scope(const fork_scope&) = delete;
  fork_scope& operator=(const fork_scope&) = delete;

  /// Lets `f()` run beside the caller and its other children; its result is dropped. Called by the
  /// scope's own thread, while no fork of an inner scope or `fork_join` and no loop is open; by
  /// others, or if 960 forks are open, `f` runs here and now.
  ///
  /// `f` is copied or moved into memory from a per-thread cache. If stop was requested of the
  /// running task, throws `task_cancelled`. Throws `std::bad_alloc`, and what copying throws.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void fork(F&& f) {
    using callable = std::decay_t<F>;
    static_assert(!detail::gives_task<callable>,
                  "what returns a weir::task is forked by co_await join(fork(f), fork(g)) in a "
                  "coroutine; a fork_scope is for plain functions");
    if (detail::this_forks == forks_ && forks_->top() == next_ && forks_->open_loops() == loops_)
        [[likely]] {
      auto made = std::make_unique<child_of<callable>>(std::forward<F>(f));
      if (auto* const context = detail::current_context(forks_->thread()); context != context_)
          [[unlikely]]
        made->context = detail::context_ref::of(context);
      child* const data = made.get();
      if (forks_->push(&child_of<callable>::run_stolen, data) ||
          started(forks_->push_slow(&child_of<callable>::run_stolen, data))) [[likely]] {
        (void)made.release();
        ++next_;
        return;
      }
      run_here(std::move(made->f)); // there is no slot left
      return;
    }
    run_here(std::forward<F>(f));
  }

 private:
  template <class F>
  friend std::invoke_result_t<F, fork_scope&> with_fork_scope(F&& body);

  struct child {
    using finish_function = void (*)(child&, detail::fork_end how, fork_scope& scope) noexcept;
    explicit child(finish_function function) noexcept : finish(function) {}
    static void* operator new(std::size_t size) { return detail::allocate_frame(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
      detail::deallocate_frame(memory, size);
    }
    /// Runs it unless that was done, keeps its exception and destroys it.
    finish_function finish;
    std::exception_ptr error;
    // That of the fork, if it is another one than at the scope's begin: it may be over before the
    // child starts.
    detail::context_ref context;
  };

  /// Runs a child in its own context, if it has one.
  class child_context {
   public:
    child_context(detail::thread_state& thread, const child& c) noexcept {
      if (c.context.get() == nullptr)
        return;
      place_ = &detail::context_place(thread);
      before_ = std::exchange(*place_, c.context.get());
    }
    child_context(const child_context&) = delete;
    child_context& operator=(const child_context&) = delete;
    ~child_context() {
      if (place_ != nullptr)
        *place_ = before_;
    }

   private:
    detail::context_node** place_ = nullptr;
    detail::context_node* before_ = nullptr;
  };

  template <class F>
  struct child_of : child {
    static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                  "over-aligned callables are not supported: capture a std::unique_ptr");
    template <class G>
    explicit child_of(G&& g) : child(&finish_here), f(std::forward<G>(g)) {}

    static void run_stolen(void* self, detail::thread_state& thread) noexcept {
      auto& c = static_cast<child_of&>(*static_cast<child*>(self));
      const child_context here(thread, c);
      try {
        std::invoke(std::move(c.f));
      } catch (...) {
        c.error = std::current_exception();
      }
    }
    static void finish_here(child& self, detail::fork_end how, fork_scope& scope) noexcept {
      const std::unique_ptr<child_of> owned(static_cast<child_of*>(&self));
      if (how == detail::fork_end::untouched) {
        const child_context here(scope.forks_->thread(), *owned);
        scope.run_here(std::move(owned->f));
      } else if (how == detail::fork_end::dropped) {
        scope.dropped_ = true;
      } else if (owned->error != nullptr) {
        scope.failed(std::move(owned->error));
      }
    }

    F f;
  };

  explicit fork_scope(detail::fork_stack& forks) noexcept
      : forks_(&forks), context_(detail::current_context(forks.thread())), first_(forks.top()),
        next_(first_), loops_(forks.open_loops()) {}
  ~fork_scope() = default;

  /// Throws `task_cancelled` if the fork was refused.
  static bool started(detail::fork_start how) {
    if (how == detail::fork_start::stopped)
      detail::throw_fork_cancelled();
    return how == detail::fork_start::forked;
  }

  template <class F>
  void run_here(F&& f) noexcept {
    try {
      std::invoke(std::forward<F>(f));
    } catch (...) {
      failed(std::current_exception());
    }
  }

  void failed(std::exception_ptr error) noexcept {
    const std::scoped_lock lock(mutex_);
    if (error_ == nullptr)
      error_ = std::move(error);
    else
      detail::suppress_fork_error(error);
  }

  void join() noexcept {
    while (next_ != first_) {
      --next_;
      auto& newest =
          *static_cast<child*>(next_->data.load(std::memory_order_relaxed)); // own writing
      newest.finish(newest, forks_->pop() ? detail::fork_end::untouched : forks_->pop_slow(),
                    *this);
    }
  }

  /// After join().
  void rethrow() {
    if (error_ != nullptr)
      std::rethrow_exception(std::move(error_));
    if (dropped_)
      detail::throw_fork_cancelled();
  }

  detail::fork_stack* const forks_;
  detail::context_node* const context_;
  detail::fork_slot* const first_;
  detail::fork_slot* next_;
  const std::uint32_t loops_;
  bool dropped_ = false;
  std::exception_ptr error_;
  // Of error_: children of other threads may run theirs here.
  detail::sync::mutex mutex_;
};

/// Calls `body(scope)` and returns its result when it and everything forked in the scope have
/// ended:
///
///     weir::with_fork_scope([&](weir::fork_scope& scope) {
///       for (auto& part : parts)
///         scope.fork([&part] { part.update(); });
///     });
///
/// Children may outlive the local variables of `body`: let them refer to what is outside of it.
///
/// One exception is thrown then: that of a child that ran where it was forked, else that of `body`,
/// else that of the newest child. Others are counted in `runtime_stats::suppressed_exceptions`. If
/// stop is requested of the running task, children that have not started do not, and
/// `task_cancelled` is thrown. Waits as `fork_join` does; throws `errc::not_on_worker` as that.
template <class F>
std::invoke_result_t<F, fork_scope&> with_fork_scope(F&& body) {
  detail::require_forks();
  fork_scope scope(*detail::this_forks);
  using value = std::invoke_result_t<F, fork_scope&>;
  const auto run = [&]() -> value {
    try {
      return std::invoke(std::forward<F>(body), scope);
    } catch (...) {
      scope.failed(std::current_exception());
      scope.join();
      scope.rethrow();
      throw; // not reached
    }
  };
  if constexpr (std::is_void_v<value>) {
    run();
    scope.join();
    scope.rethrow();
  } else {
    value kept = run();
    scope.join();
    scope.rethrow();
    return kept;
  }
}

/// As above on any thread, see `fork_join`.
template <class F>
  requires std::invocable<F, fork_scope&>
std::invoke_result_t<F, fork_scope&> with_fork_scope(runtime& on, F&& body) {
  const detail::fork_guest here(on.scheduler());
  return with_fork_scope(std::forward<F>(body));
}

} // namespace weir
