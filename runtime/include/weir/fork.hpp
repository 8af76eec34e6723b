// SPDX-License-Identifier: MIT
/// \file
/// `fork` and `join`: coroutines that are called when their turn comes.
#pragma once

#include <weir/detail/forked_awaiter.hpp>

#include <concepts>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

/// A callable that is known when the program is compiled.
template <auto F>
struct constant_callable {
  template <class... Args>
    requires std::invocable<decltype((F)), Args...>
  [[gnu::always_inline]] decltype(auto) operator()(Args&&... args) const {
    return std::invoke(F, std::forward<Args>(args)...);
  }
};

template <class F, class... Args>
using called_t = std::remove_cvref_t<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>;

} // namespace detail

/// A function and arguments that give a `weir::task`. What gives anything else is for `fork_join`.
template <class F, class... Args>
concept makes_task = std::invocable<std::decay_t<F>, std::decay_t<Args>...> &&
                     detail::is_task<detail::called_t<F, Args...>>;

/// What `fork` gives: a child that has not been called yet. `F` and `Args` are its own.
template <class F, class... Args>
class [[nodiscard("nothing is called until this is awaited or joined")]] deferred_fork {
 public:
  using function_type = F;
  using value_type = typename detail::called_t<F, Args...>::value_type;
  using forks_children = void;

  template <class G, class... As>
  [[gnu::always_inline]] explicit deferred_fork(std::in_place_t, G&& f, As&&... args)
      : f_(std::forward<G>(f)), args_(std::forward<As>(args)...) {}

  /// For the library.
  [[nodiscard, gnu::always_inline]] auto await_in(detail::promise_base& parent) {
    return detail::called_awaiter<deferred_fork>(parent, *this);
  }
  /// For the library: the call, once.
  [[gnu::always_inline]] task<value_type> operator()() {
    return call(std::index_sequence_for<Args...>());
  }

 private:
  template <std::size_t... Is>
  [[gnu::always_inline]] task<value_type> call(std::index_sequence<Is...>) {
    return std::invoke(std::move(f_), std::get<Is>(std::move(args_))...);
  }

  [[no_unique_address]] F f_;
  [[no_unique_address]] std::tuple<Args...> args_;
};

namespace detail {

template <class T>
inline constexpr bool is_deferred_fork = false;
template <class F, class... Args>
inline constexpr bool is_deferred_fork<deferred_fork<F, Args...>> = true;

} // namespace detail

/// What `join` gives: await it, once.
template <class... Calls>
class [[nodiscard("await this: nothing has been called yet")]] joined_calls final
    : public detail::forked_awaitable<Calls...> {
 public:
  using detail::forked_awaitable<Calls...>::forked_awaitable;
};

/// `co_await fork(f, args...)` calls `f(args...)`, which gives a `weir::task`, awaits the task and
/// gives its result. Several at once: `co_await join(fork(f, a), fork(g, b))`.
///
/// `f` and the arguments are copied or moved in, now. `f` is called when the child starts, on the
/// thread where it does, and what it throws is the child's exception. It and the arguments live
/// until the end of the `co_await` expression; so `f` may be a lambda coroutine with captures. What
/// `fork` gives is moved from when it is awaited or joined, also if that throws `task_cancelled`.
template <class F, class... Args>
  requires makes_task<F, Args...>
[[nodiscard, gnu::always_inline]] inline auto fork(F&& f, Args&&... args) {
  return deferred_fork<std::decay_t<F>, std::decay_t<Args>...>(std::in_place, std::forward<F>(f),
                                                               std::forward<Args>(args)...);
}

/// `co_await fork<f>(args...)`: as `fork(f, args...)`, with `f` a constant: a function, a pointer
/// to a member or a lambda without captures. Compilers see what is called then, where a function
/// that is given as an argument is just a pointer: a recursion takes up to a sixth less time.
template <auto F, class... Args>
  requires makes_task<detail::constant_callable<F>, Args...>
[[nodiscard, gnu::always_inline]] inline auto fork(Args&&... args) {
  return fork(detail::constant_callable<F>(), std::forward<Args>(args)...);
}

/// `auto [a, b] = co_await join(fork(f, x), fork(g, y));` runs the children beside each other, each
/// where a worker is free, and goes on when all have ended: as `when_all`, whose description of
/// results, exceptions and cancellation holds here too. It costs less: a child that nobody takes is
/// called like a function when its turn comes, and those that wait have no frame yet.
/// Allocates nothing but the children's frames.
// By value: GCC 12 has a copy of each argument in the coroutine's frame even so, but would copy
// that one by loads that have to wait for its stores.
template <class... Calls>
  requires(... && detail::is_deferred_fork<Calls>)
[[nodiscard, gnu::always_inline]] inline auto join(Calls... calls) {
  return joined_calls<Calls...>(std::move(calls)...);
}

} // namespace weir
