// SPDX-License-Identifier: MIT
/// \file
/// Tasks of a pool with their callable and result, and where they come from: a number of equal
/// ones, or a range of arguments.
#pragma once

#include <weir/awaitable.hpp>
#include <weir/detail/submit.hpp>
#include <weir/handle.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>
#include <weir/this_task.hpp>
#include <weir/with_timeout.hpp>

#include <concepts>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <sstream>
#include <string>
#include <tuple>
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

/// An argument as log lines show it.
template <class A>
std::string shown(const A& argument) {
  if constexpr (std::convertible_to<const A&, std::string_view>) {
    return "'" + std::string(std::string_view(argument)) + "'";
  } else if constexpr (std::same_as<A, bool>) {
    return argument ? "True" : "False";
  } else if constexpr (requires(std::ostream& to) { to << argument; }) {
    std::ostringstream to;
    to << argument;
    return to.str();
  } else {
    return "...";
  }
}

template <class... As>
std::string shown_tuple(const std::tuple<As...>& arguments) {
  std::string text = "(";
  std::apply(
      [&](const As&... each) {
        std::size_t i = 0;
        ((text += (i++ == 0 ? "" : ", ") + shown(each)), ...);
      },
      arguments);
  return text + (sizeof...(As) == 1 ? ",)" : ")");
}

/// The common part of sources: a callable, and a slot for each argument.
template <class T, class F>
class call_source : public task_source {
 protected:
  call_source(F f, std::string name, typed_results<T>& results)
      : f_(std::move(f)), name_(std::move(name)), results_(&results) {}

  /// The task that `make(slot)` gives, or what becomes of an argument that cannot be made one.
  template <class Make, class Show>
  step make_or_skip(task_pool_core& core, pool_group& group, pool_task*& made, result_slot*& slot,
                    Make&& make, Show&& show) {
    typed_slot<T>* typed = group.wanted() ? &results_->add() : nullptr;
    try {
      made = make(typed);
    } catch (const std::bad_alloc&) {
      if (group.settings().policy != bad_args::report)
        throw; // G5
      return skip(core, group, typed, slot, show);
    } catch (...) {
      return skip(core, group, typed, slot, show);
    }
    slot = typed;
    return step::made;
  }

  F f_;
  const std::string name_;

 private:
  /// After the exception that is being handled.
  template <class Show>
  step skip(task_pool_core& core, pool_group& group, typed_slot<T>* typed, result_slot*& slot,
            Show& show) {
    if (core.log().takes(log_level::error)) {
      try {
        core.log_bad_args(group, name_ + show());
      } catch (...) { // a line that cannot be written changes nothing
      }
    }
    if (group.settings().policy == bad_args::stop_group) {
      this->stopped_by = std::current_exception();
      return step::stopped;
    }
    if (group.settings().policy == bad_args::report) {
      if (typed != nullptr)
        typed->value.result().set_error(std::current_exception());
      slot = typed;
    }
    return step::skipped;
  }

  typed_results<T>* results_;
};

/// `count` calls with equal arguments.
template <class T, class F, class... Args>
class repeat_source final : public call_source<T, F> {
 public:
  repeat_source(F f, std::string name, typed_results<T>& results, std::tuple<Args...> args,
                std::size_t count)
      : call_source<T, F>(std::move(f), std::move(name), results), args_(std::move(args)),
        left_(count) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*& made,
                            result_slot*& slot) override {
    if (left_ == 0)
      return task_source::step::exhausted;
    --left_;
    return this->make_or_skip(
        core, group, made, slot,
        [&](typed_slot<T>* typed) {
          return std::apply([&](Args&... args) { return make(core, group, typed, args...); },
                            args_);
        },
        [&] { return "(*" + shown_tuple(args_) + ", **{})"; });
  }

 private:
  pool_task* make(task_pool_core& core, pool_group& group, typed_slot<T>* typed, Args&... args) {
    using call = pool_call<T, F, Args...>;
    // What cannot be copied is for one task.
    if constexpr ((std::copy_constructible<F> && ... && std::copy_constructible<Args>))
      return new call(core, group, typed, std::as_const(this->f_), std::as_const(args)...);
    else
      return new call(core, group, typed, std::move(this->f_), std::move(args)...);
  }

  std::tuple<Args...> args_;
  std::size_t left_;
};

/// Whether an element is one argument (0), a tuple of them (1) or a structure (2).
enum class stars : unsigned char { none, one, two };

template <class R>
struct range_keeper {
  explicit range_keeper(R kept) : range(std::move(kept)) {}
  [[nodiscard]] R& get() noexcept { return range; }
  static constexpr bool owns = !std::ranges::view<R>;
  R range;
};
template <class R>
struct range_keeper<std::reference_wrapper<R>> {
  explicit range_keeper(std::reference_wrapper<R> kept) : range(kept) {}
  [[nodiscard]] R& get() noexcept { return range.get(); }
  static constexpr bool owns = false;
  std::reference_wrapper<R> range;
};

/// What a group reads its arguments from: the range itself, or the one that is referred to.
template <class R>
using kept_range_t = std::remove_reference_t<decltype(std::declval<range_keeper<R>&>().get())>;

/// Common to sources of arguments: how an argument becomes a task.
template <class T, stars Stars, class F, class Element>
class argument_source : public call_source<T, F> {
 protected:
  using call_source<T, F>::call_source;

  template <class A>
  task_source::step take(task_pool_core& core, pool_group& group, pool_task*& made,
                         result_slot*& slot, A&& argument) {
    return this->make_or_skip(
        core, group, made, slot,
        [&](typed_slot<T>* typed) { return make(core, group, typed, std::forward<A>(argument)); },
        [&] {
          if constexpr (Stars == stars::one)
            return "(*" + show_elements(argument) + ")";
          else
            return std::string(Stars == stars::two ? "(**" : "(") + shown(argument) + ")";
        });
  }

 private:
  template <class A>
  static std::string show_elements(const A& argument) {
    return std::apply([](const auto&... each) { return shown_tuple(std::tie(each...)); }, argument);
  }

  template <class A>
  pool_task* make(task_pool_core& core, pool_group& group, typed_slot<T>* typed, A&& argument) {
    if constexpr (Stars == stars::one)
      return std::apply(
          [&]<class... As>(As&&... each) -> pool_task* {
            return new pool_call<T, F, std::decay_t<As>...>(
                core, group, typed, std::as_const(this->f_), std::forward<As>(each)...);
          },
          std::forward<A>(argument));
    else
      return new pool_call<T, F, Element>(core, group, typed, std::as_const(this->f_),
                                          std::forward<A>(argument));
  }
};

template <class T, stars Stars, class F, class R>
class range_source final
    : public argument_source<T, Stars, F, std::ranges::range_value_t<kept_range_t<R>>> {
  using range = kept_range_t<R>;
  using base = argument_source<T, Stars, F, std::ranges::range_value_t<range>>;

 public:
  range_source(F f, std::string name, typed_results<T>& results, R from)
      : base(std::move(f), std::move(name), results), range_(std::move(from)) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*& made,
                            result_slot*& slot) override {
    if (!at_)
      at_.emplace(std::ranges::begin(range_.get()));
    else
      ++*at_;
    if (*at_ == std::ranges::end(range_.get()))
      return task_source::step::exhausted;
    decltype(auto) argument = **at_;
    if constexpr (range_keeper<R>::owns && std::is_lvalue_reference_v<decltype(argument)> &&
                  !std::is_const_v<std::remove_reference_t<decltype(argument)>>)
      return this->take(core, group, made, slot, std::move(argument));
    else
      return this->take(core, group, made, slot, std::forward<decltype(argument)>(argument));
  }

 private:
  range_keeper<R> range_;
  std::optional<std::ranges::iterator_t<range>> at_;
};

template <class S>
struct source_keeper {
  explicit source_keeper(S kept) : source(std::move(kept)) {}
  [[nodiscard]] S& get() noexcept { return source; }
  S source;
};
template <class S>
struct source_keeper<std::reference_wrapper<S>> {
  explicit source_keeper(std::reference_wrapper<S> kept) : source(kept) {}
  [[nodiscard]] S& get() noexcept { return source.get(); }
  std::reference_wrapper<S> source;
};
template <class S>
using kept_source_t = std::remove_reference_t<decltype(std::declval<source_keeper<S>&>().get())>;

/// One wait for the next argument: a root task of its own, so that it can be stopped.
class WEIR_API argument_wait {
 public:
  argument_wait() noexcept {}
  argument_wait(const argument_wait&) = delete;
  argument_wait& operator=(const argument_wait&) = delete;
  ~argument_wait();

  /// If it does not begin, `failed` says why before `waits` is destroyed.
  void begin(scheduler& home, task<> waits) noexcept;
  void interrupt(const stop_reason& reason) noexcept;

  std::exception_ptr failed; // for want of memory, not because the runtime has ended

 private:
  void begin_or_throw(scheduler& home, task<>& waits);

  sync::mutex mutex_;
  handle<void> waits_;
  bool interrupted_ = false;
};

/// Tells the pool what has become of an argument, at the end of the coroutine that waits for it,
/// also if that never started. The one that has been moved into a coroutine tells, so that nothing
/// is told if there was no memory for the coroutine.
class WEIR_API argument_promise {
 public:
  argument_promise(task_pool_core& core, pool_group& group, const argument_wait& wait) noexcept;
  argument_promise(argument_promise&& other) noexcept;
  argument_promise& operator=(argument_promise&&) = delete;
  ~argument_promise();

  [[nodiscard]] task_pool_core& core() const noexcept { return *core_; }
  [[nodiscard]] pool_group& group() const noexcept { return *group_; }

  task_source::step how = task_source::step::interrupted;
  pool_task* made = nullptr;
  result_slot* slot = nullptr;
  std::exception_ptr error;

 private:
  std::shared_ptr<task_pool_core> core_;
  pool_group* group_;         // which lives as long as it prepares
  const argument_wait* wait_; // likewise
  bool tells_ = false;
};

/// An awaitable for the next argument: an optional, empty at the end.
template <class S>
[[nodiscard]] auto next_argument(S& source) {
  if constexpr (requires { source.next(); })
    return source.next();
  else
    return source.pop();
}

template <class S>
concept async_arguments =
    !std::ranges::range<S> && (requires(S& s) { s.next(); } || requires(S& s) { s.pop(); });

template <class S>
using async_element_t =
    std::remove_cvref_t<decltype(*std::declval<await_result_t<decltype(next_argument(
                                     std::declval<kept_source_t<S>&>()))>&>())>;

template <class T, stars Stars, class F, class S>
class async_source final : public argument_source<T, Stars, F, async_element_t<S>> {
  using base = argument_source<T, Stars, F, async_element_t<S>>;

 public:
  async_source(F f, std::string name, typed_results<T>& results, S from)
      : base(std::move(f), std::move(name), results), source_(std::move(from)) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*&,
                            result_slot*&) override {
    wait_.begin(core.home(), pull(*this, argument_promise(core, group, wait_)));
    return task_source::step::later;
  }
  void interrupt(const stop_reason& reason) noexcept override { wait_.interrupt(reason); }

 private:
  static task<> pull(async_source& self, argument_promise promise) {
    try {
      auto next = co_await next_argument(self.source_.get());
      if (!next)
        promise.how = task_source::step::exhausted;
      else
        promise.how = self.take(promise.core(), promise.group(), promise.made, promise.slot,
                                std::move(*next));
      if (promise.how == task_source::step::stopped)
        promise.error = self.stopped_by;
    } catch (const task_cancelled&) { // interrupted
    } catch (...) {
      promise.how = task_source::step::exhausted;
      promise.error = std::current_exception();
    }
  }

  source_keeper<S> source_;
  argument_wait wait_;
};

} // namespace weir::detail
