// SPDX-License-Identifier: MIT
/// \file
/// A task of a pool, with its callable and the place for its result.
#pragma once

#include <weir/detail/submit.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>
#include <weir/this_task.hpp>
#include <weir/with_timeout.hpp>

#include <concepts>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::detail {

template <class T>
struct typed_slot : result_slot {
  outcome<T> value;
};

template <class T>
class typed_results final : public group_results {
 public:
  /// By the group's source only.
  [[nodiscard]] typed_slot<T>& add() { return slots_.emplace_back(); }

 private:
  std::deque<typed_slot<T>> slots_; // which do not move
};

template <class T>
task<T> with_limit(task<T> limited, clock_source::duration limit) {
  co_return co_await with_timeout(std::move(limited), limit);
}

/// One call of `F` with `Args`.
template <class T, class F, class... Args>
class pool_call final : public pool_task {
  static constexpr bool is_coroutine =
      is_task<std::remove_cvref_t<typename raw_result<F, Args...>::type>>;
  static constexpr bool is_copyable =
      (std::copy_constructible<F> && ... && std::copy_constructible<Args>);

 public:
  template <class G, class... As>
  pool_call(task_pool_core& core, pool_group& group, typed_slot<T>* slot, G&& f, As&&... args)
      : pool_task(core, group, &run_first),
        call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {
    set_slot(slot);
  }

 private:
  static void run_first(job& job, thread_state& thread) noexcept {
    auto& self = static_cast<pool_call&>(job);
    if (!self.begin_run(thread))
      return;
    try {
      if (self.group().settings().retry) {
        if constexpr (is_copyable)
          self.set_task(attempts(self));
      } else if constexpr (is_coroutine) {
        self.set_task(self.call_(self.scope()));
      } else if constexpr (std::is_void_v<T>) {
        self.call_(self.scope());
        self.outcome_.emplace();
      } else {
        self.outcome_.emplace(self.call_(self.scope()));
      }
    } catch (...) {
      self.outcome_.set_error(std::current_exception());
      self.task_ = {};
    }
    if (self.task_) {
      self.run = &run_ended;
      auto* const coroutine = self.task_.begin(self.outcome_);
      if (coroutine != nullptr && !coroutine->start(self, self.scope()))
        return;
    }
    self.ended(thread);
  }

  /// Runs it with the call's time limit, if it has one.
  void set_task(task<T> made) {
    if (!made.startable())
      throw_error(errc::no_state, "the pool's callable returned an empty task");
    const auto& limit = group().settings().timeout;
    task_ = limit ? with_limit(std::move(made), *limit) : std::move(made);
  }

  /// One attempt with copies of callable and arguments.
  static task<T> attempt(pool_call& self) {
    auto call = self.call_.copy();
    if constexpr (is_coroutine) {
      task<T> made = call(self.scope());
      if (!made)
        throw_error(errc::no_state, "the pool's callable returned an empty task");
      co_return co_await std::move(made);
    } else {
      co_return call(self.scope());
    }
  }

  /// The task of a call with `retry`.
  static task<T> attempts(pool_call& self) {
    const retry_options& retry = *self.group().settings().retry;
    auto delay = retry.delay;
    for (std::size_t number = 1;; ++number) {
      std::exception_ptr error;
      try {
        if (retry.attempt_timeout)
          co_return co_await with_timeout(attempt(self), *retry.attempt_timeout);
        else
          co_return co_await attempt(self);
      } catch (const task_cancelled&) {
        throw;
      } catch (...) {
        error = std::current_exception();
      }
      if (number == retry.attempts || (retry.when && !retry.when(error)))
        std::rethrow_exception(error);
      self.count_retry(number, error);
      if (delay > clock_source::duration::zero())
        co_await sleep_for(delay);
      else
        co_await yield();
      delay = grown_delay(delay, retry);
    }
  }

  static void run_ended(job& job, thread_state& thread) noexcept {
    auto& self = static_cast<pool_call&>(job);
    if (self.scope().visits()) [[unlikely]] {
      self.scope().end_visit(thread);
      self.scope().set_home(self.home());
      schedule(self.home(), thread, self);
      return;
    }
    self.ended(thread);
  }

  void ended(thread_state& thread) noexcept {
    task_ = {};
    if (outcome_.failed())
      outcome_.set_error_or_cancelled(std::move(outcome_.error()));
    call_.reset();
    settle(thread,
           outcome_.failed()      ? task_end::failed
           : outcome_.cancelled() ? task_end::cancelled
                                  : task_end::finished,
           outcome_.failed() ? outcome_.error() : nullptr);
  }

  void discard(stop_reason reason) noexcept override {
    call_.reset();
    outcome_.set_cancelled(std::move(reason));
  }

  void deliver(const std::exception_ptr& error) noexcept override {
    auto& to = static_cast<typed_slot<T>*>(slot())->value;
    to.set_id(id());
    if (error != nullptr)
      to.result().set_error(error);
    else
      to.result().take_over(outcome_);
  }

  bound_call<F, Args...> call_;
  result<T> outcome_;
  task<T> task_; // empty for a plain callable
};

} // namespace weir::detail
