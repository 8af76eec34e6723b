// SPDX-License-Identifier: MIT
/// \file
/// `fork_join`, `parallel_invoke`, and by fork_scope.hpp `with_fork_scope`: plain functions beside
/// each other.
///
/// A fork costs about as much as a call: the calling thread does all of it itself, in order, unless
/// another worker comes and takes the oldest fork. Nobody suspends here: whoever joins a fork that
/// was taken runs other forks meanwhile, or blocks. docs/fork-join.md says which form fits when.
#pragma once

#include <weir/detail/fork_stack.hpp>
#include <weir/detail/result.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/fork_scope.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>
#include <weir/this_task.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace weir {

namespace detail {

/// How a forked callable's result is kept together with others.
template <class F>
using forked_value_t = element_t<
    std::conditional_t<std::is_rvalue_reference_v<std::invoke_result_t<F>>,
                       std::remove_cvref_t<std::invoke_result_t<F>>, std::invoke_result_t<F>>>;

template <class F>
using stored_callable =
    std::conditional_t<std::is_lvalue_reference_v<F>, F, std::remove_reference_t<F>>;

template <class F>
[[gnu::always_inline]] inline forked_value_t<F> call_fork(F&& f) {
  static_assert(!gives_task<F>,
                "what returns a weir::task is forked by co_await join(fork(f), fork(g)) in a "
                "coroutine; fork_join and parallel_invoke are for plain functions");
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    std::invoke(std::forward<F>(f));
    return {};
  } else {
    return std::invoke(std::forward<F>(f));
  }
}

/// A callable that its parent has forked and will join. On the parent's stack; an rvalue is moved
/// in, an lvalue referred to.
template <class F>
class forked_call {
 public:
  using value = forked_value_t<F>;

  [[gnu::always_inline]] explicit forked_call(F&& f) noexcept(
      std::is_nothrow_constructible_v<stored_callable<F>, F>)
      : f_(std::forward<F>(f)) {}
  forked_call(const forked_call&) = delete;
  forked_call& operator=(const forked_call&) = delete;
  [[gnu::always_inline]] ~forked_call() {}

  /// By the parent, if nobody else does.
  [[gnu::always_inline]] value run_here() { return call_fork(std::forward<F>(f_)); }

  /// By the thief.
  static void run(void* self, thread_state&) noexcept {
    auto& call = *static_cast<forked_call*>(self);
    std::construct_at(&call.outcome_);
    try {
      call.outcome_.emplace(call.run_here());
    } catch (...) {
      call.outcome_.set_error(std::current_exception());
    }
  }

  /// By the parent, if it does not find the fork where it was.
  [[gnu::noinline, gnu::cold]] value take_back(fork_stack& forks) {
    switch (forks.pop_slow()) {
    case fork_end::untouched:
      return run_here();
    case fork_end::stolen: {
      struct destroy {
        ~destroy() { std::destroy_at(outcome); }
        result<value>* outcome;
      } const at_exit{&outcome_};
      return outcome_.take();
    }
    case fork_end::dropped:
      break;
    }
    throw_fork_cancelled();
  }

  /// Both here, without a fork.
  template <class First>
  std::tuple<forked_value_t<First>, value> run_after(First&& f) {
    const auto run_first = [&]() -> forked_value_t<First> {
      try {
        return call_fork(std::forward<First>(f));
      } catch (...) {
        try {
          (void)run_unless_stopped();
        } catch (...) {
          suppress_fork_error();
        }
        throw;
      }
    };
    // Braces: in this order.
    return std::tuple<forked_value_t<First>, value>{run_first(), run_unless_stopped()};
  }

  /// Ends the fork while another exception is on its way.
  [[gnu::noinline, gnu::cold]] void end(fork_stack& forks) noexcept {
    try {
      if (forks.pop())
        (void)run_here();
      else
        (void)take_back(forks);
    } catch (...) {
      suppress_fork_error();
    }
  }

 private:
  value run_unless_stopped() {
    this_task::check_stop();
    return run_here();
  }

  stored_callable<F> f_;
  union {
    result<value> outcome_; // constructed by the thief
  };
};

/// The first of two, while the second is forked.
template <class F, class G>
[[gnu::always_inline]] inline forked_value_t<F> run_before(F&& f, fork_stack& forks,
                                                           forked_call<G>& second) {
  try {
    return call_fork(std::forward<F>(f));
  } catch (...) {
    second.end(forks);
    throw;
  }
}

/// `fork_join` when the fork has to be offered to thieves, or cannot be made.
template <class F, class G>
[[gnu::noinline, gnu::cold]] auto fork_join_slow(fork_stack& forks, F&& f, forked_call<G>& second) {
  using values = std::tuple<forked_value_t<F>, forked_value_t<G>>;
  switch (forks.push_slow(&forked_call<G>::run, &second)) {
  case fork_start::forked: {
    forked_value_t<F> first = run_before<F>(std::forward<F>(f), forks, second);
    return values(std::move(first), forks.pop() ? second.run_here() : second.take_back(forks));
  }
  case fork_start::full:
    return second.run_after(std::forward<F>(f));
  case fork_start::stopped:
    break;
  }
  throw_fork_cancelled();
}

/// What a parent keeps while it runs the first of two. Thieves know where the second is; so the
/// compiler leaves the first result, which is beside it, in memory, which costs less than the
/// callee-saved register that it would take in each call.
template <class F, class G>
struct fork_frame {
  [[gnu::always_inline]] explicit fork_frame(G&& g) : second(std::forward<G>(g)) {}
  fork_frame(const fork_frame&) = delete;
  fork_frame& operator=(const fork_frame&) = delete;
  [[gnu::always_inline]] ~fork_frame() {}

  forked_call<G> second;
  union {
    forked_value_t<F> first;
  };
};

/// Both results. The slow ways have objects of their own, so that those of the fast way stay in
/// registers.
template <class F, class G>
[[gnu::always_inline]] inline std::tuple<forked_value_t<F>, forked_value_t<G>>
fork_join_pair(F&& f, G&& g) {
  using first_value = forked_value_t<F>;
  fork_stack& forks = *this_forks;
  fork_frame<F, G> frame(std::forward<G>(g));
  forked_call<G>& second = frame.second;
  fork_slot* const slot = forks.top();
  if (!forks.push(&forked_call<G>::run, &second)) [[unlikely]] {
    stored_callable<F> own(std::forward<F>(f));
    auto both = fork_join_slow<F, G>(forks, std::forward<F>(own), second);
    return {std::get<0>(std::move(both)), std::get<1>(std::move(both))};
  }
  if constexpr (std::is_trivially_copyable_v<first_value>) {
    ::new (static_cast<void*>(&frame.first))
        first_value(run_before<F>(std::forward<F>(f), forks, second));
    if (!forks.pop(slot)) [[unlikely]] {
      forked_value_t<G> taken = second.take_back(forks);
      return {frame.first, std::move(taken)};
    }
    forked_value_t<G> other = second.run_here();
    return {frame.first, std::move(other)};
  } else {
    first_value first = run_before<F>(std::forward<F>(f), forks, second);
    return {std::move(first), forks.pop(slot) ? second.run_here() : second.take_back(forks)};
  }
}

/// The result of one of several callables, until all have ended.
template <class T>
struct invoked_value {
  [[gnu::always_inline]] T take() { return *std::move(value); }
  template <class F>
  [[gnu::always_inline]] void set(F&& f) {
    value.emplace(call_fork(std::forward<F>(f)));
  }
  std::optional<T> value;
};
/// Whether there is one need not be known if it needs no destruction.
template <class T>
  requires std::is_trivially_copyable_v<T>
struct invoked_value<T> {
  [[gnu::always_inline]] invoked_value() noexcept {}
  [[gnu::always_inline]] T take() { return value; }
  template <class F>
  [[gnu::always_inline]] void set(F&& f) {
    std::construct_at(&value, call_fork(std::forward<F>(f)));
  }
  union {
    T value;
  };
};

/// Several callables and what they give.
template <class... Fs>
struct invoked {
  [[gnu::always_inline]] explicit invoked(Fs&&... fs) noexcept
      : callables(std::forward<Fs>(fs)...) {}
  std::tuple<Fs&&...> callables;
  std::tuple<invoked_value<forked_value_t<Fs>>...> values;
};

/// Runs `Count` callables from number `First` on: half of them here, while the others are forked.
template <std::size_t First, std::size_t Count, class... Fs>
[[gnu::always_inline]] inline void invoke_forked(invoked<Fs...>& all) {
  if constexpr (Count == 1) {
    using callable = std::tuple_element_t<First, std::tuple<Fs...>>;
    std::get<First>(all.values).set(std::forward<callable>(std::get<First>(all.callables)));
  } else {
    constexpr std::size_t half = Count / 2;
    (void)fork_join_pair([&all] { invoke_forked<First, half>(all); },
                         [&all] { invoke_forked<First + half, Count - half>(all); });
  }
}

template <class... Fs>
inline constexpr bool all_void = (std::is_void_v<std::invoke_result_t<Fs>> && ...);

} // namespace detail

/// Runs `f()` and `g()`, on two workers if one has time for the second, and returns when both have
/// ended: `auto [a, b] = weir::fork_join(f, g);`
///
/// Gives a `std::tuple` of the results, with `std::monostate` for `void` and
/// `std::reference_wrapper` for references; nothing if both are `void`. Move-only results are fine.
/// The callables are called where they are, as rvalues if they were given as such.
///
/// If `f` throws, its exception is thrown once `g` has ended too; if both throw, that of `g` is
/// counted in `runtime_stats::suppressed_exceptions`. If stop is requested of the running task,
/// what has not started does not, and `task_cancelled` is thrown. On a thread that is no worker
/// `errc::not_on_worker`.
///
/// Inside `f` and `g` `this_task` refers to the task that forked. They must not hold a lock over a
/// fork that the other one takes: the joining thread may run other forks meanwhile.
///
/// Costs a few plain instructions more than the two calls unless `g` is stolen: no allocation, no
/// atomic read-modify-write, no indirect call. The first fork of a region is offered to the other
/// workers, which takes two exchanges and, if one of them sleeps and none searches, a system call.
template <std::invocable F, std::invocable G>
[[gnu::always_inline]] inline auto fork_join(F&& f, G&& g) {
  if constexpr (detail::all_void<F, G>)
    (void)detail::fork_join_pair<F, G>(std::forward<F>(f), std::forward<G>(g));
  else
    return detail::fork_join_pair<F, G>(std::forward<F>(f), std::forward<G>(g));
}

/// `fork_join` on any thread: one that is no worker of `on` takes part in that runtime's forks
/// until this returns, and counts as a task: draining and stopping wait for it, without stopping
/// it. Throws also `errc::stopped`, `errc::forked`, `std::bad_alloc`. Takes two short locks more.
template <std::invocable F, std::invocable G>
auto fork_join(runtime& on, F&& f, G&& g) {
  const detail::fork_guest here(on.scheduler());
  return fork_join(std::forward<F>(f), std::forward<G>(g));
}

/// `fork_join` of two callables or more. The calling thread runs them in their order; thieves take
/// the last ones first, half of what there is.
template <std::invocable... Fs>
  requires(sizeof...(Fs) >= 2)
[[gnu::always_inline]] inline auto parallel_invoke(Fs&&... fs) {
  detail::invoked<Fs...> all(std::forward<Fs>(fs)...);
  detail::invoke_forked<0, sizeof...(Fs)>(all);
  if constexpr (!detail::all_void<Fs...>) {
    return std::apply(
        [](auto&... each) { return std::tuple<detail::forked_value_t<Fs>...>(each.take()...); },
        all.values);
  }
}

/// As above on any thread, see `fork_join`.
template <std::invocable... Fs>
  requires(sizeof...(Fs) >= 2)
auto parallel_invoke(runtime& on, Fs&&... fs) {
  const detail::fork_guest here(on.scheduler());
  return parallel_invoke(std::forward<Fs>(fs)...);
}

} // namespace weir
