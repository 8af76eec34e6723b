// SPDX-License-Identifier: MIT
/// \file
/// `pool_executor`: where a pool runs plain functions, if not on the runtime's workers.
#pragma once

#include <weir/blocking_executor.hpp>
#include <weir/detail/submit.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/executor.hpp>
#include <weir/task.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

/// A call that somebody else's executor makes, once, or drops.
class executor_call {
 public:
  virtual void run() noexcept = 0;
  virtual void dropped() noexcept = 0;

 protected:
  ~executor_call() = default;
};

/// What is posted: one call, move-only. If it is destroyed unrun, the call has been dropped.
class posted_call {
 public:
  explicit posted_call(std::shared_ptr<executor_call> call) noexcept : call_(std::move(call)) {}
  posted_call(posted_call&& other) noexcept : call_(std::move(other.call_)) {}
  posted_call& operator=(posted_call&&) = delete;
  ~posted_call() {
    if (call_ != nullptr)
      call_->dropped();
  }
  void operator()() noexcept {
    const auto call = std::move(call_);
    call_ = nullptr;
    call->run();
  }

 private:
  std::shared_ptr<executor_call> call_;
};

} // namespace detail

/// Refers to an executor: a `blocking_executor`, a `runtime`, or a user's class with a `post` that
/// takes whatever is callable once, move-only too. Empty by default. The executor must outlive the
/// pool.
class pool_executor {
 public:
  pool_executor() noexcept {}
  template <class E>
    requires executor<E> && (!std::same_as<E, pool_executor>)
  pool_executor(E& target) noexcept // NOLINT: an executor is one
      : target_(&target), post_([](void* to, detail::posted_call call) {
          static_cast<E*>(to)->post(std::move(call));
        }) {}

  [[nodiscard]] explicit operator bool() const noexcept { return target_ != nullptr; }
  void post(detail::posted_call call) const { post_(target_, std::move(call)); }

 private:
  void* target_ = nullptr;
  void (*post_)(void*, detail::posted_call) = nullptr;
};

namespace detail {

/// Makes a call on an executor while the awaiting task is suspended. Once the call has started it
/// is waited for, requested stop or not; one that has not is given up.
template <class T, class Call>
class executor_run : suspension {
 public:
  executor_run(pool_executor on, Call& call) noexcept
      : suspension(&withdraw), on_(on), call_(&call) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& promise = parent.promise();
    if (!prepare(promise.scope(), promise))
      return false;
    try {
      state_ = std::make_shared<shared>(*this);
      on_.post(posted_call(state_));
    } catch (...) {
      if (state_ != nullptr && !state_->claim())
        return commit(); // the call was kept and is made all the same, or has been given up
      retract();
      throw;
    }
    if (state_->posted())
      drop();
    return commit();
  }
  T await_resume() {
    check();
    return outcome_.take();
  }

 private:
  class shared final : public executor_call {
   public:
    explicit shared(executor_run& waiting) noexcept
        : waiting_(&waiting), posting_(&this_thread()) {}
    /// After `post` has returned. \return whether it has dropped the call.
    [[nodiscard]] bool posted() noexcept {
      posting_.store(nullptr, std::memory_order_relaxed); // see dropped
      return dropped_here_;
    }
    /// \return true for the one who may go on with the call, or give it up.
    [[nodiscard]] bool claim() noexcept {
      // Acquire-release: whoever comes first owns the awaiter.
      return !claimed_.exchange(true, std::memory_order_acq_rel);
    }
    void run() noexcept override {
      if (claim())
        waiting_->make();
    }
    void dropped() noexcept override {
      // Relaxed: a thread compares it with itself. By `post`, which throws or returns next.
      if (posting_.load(std::memory_order_relaxed) == &this_thread())
        dropped_here_ = true;
      else if (claim())
        waiting_->drop();
    }

   private:
    executor_run* waiting_;
    sync::atomic<thread_state*> posting_;
    bool dropped_here_ = false;
    sync::atomic<bool> claimed_{false};
  };

  void make() noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        (*call_)(scope());
        outcome_.emplace();
      } else {
        outcome_.emplace((*call_)(scope()));
      }
    } catch (const task_cancelled& cancelled) {
      outcome_.set_cancelled(cancelled.reason());
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
    call_->reset();
    complete_and_schedule(this_thread());
  }
  void drop() noexcept {
    outcome_.set_cancelled(stop_cause::shutdown);
    complete_and_schedule(this_thread());
  }
  static bool withdraw(suspension& base) noexcept {
    return static_cast<executor_run&>(base).state_->claim();
  }

  pool_executor on_;
  Call* call_;
  std::shared_ptr<shared> state_;
  result<T> outcome_;
};

/// `f(args...)` as a coroutine that has the call made by an executor.
template <class F, class... Args>
class on_executor {
 public:
  using value = typename raw_result<F, Args...>::type;

  template <class G, class... As>
  on_executor(pool_executor on, std::in_place_t, G&& f, As&&... args)
      : on_(on), call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}
  on_executor(on_executor&& other) noexcept(
      std::is_nothrow_move_constructible_v<bound_call<F, Args...>>)
      : on_(other.on_), call_(std::move(other.call_)) {}

  /// The control block keeps this until the coroutine has ended.
  task<value> operator()() {
    executor_run<value, bound_call<F, Args...>> run(on_, call_);
    co_return co_await run;
  }

 private:
  pool_executor on_;
  bound_call<F, Args...> call_;
};

} // namespace detail

} // namespace weir
