// SPDX-License-Identifier: MIT
/// \file
/// What can be awaited inside a `task`.
#pragma once

#include <weir/detail/awaiter_of.hpp>
#include <weir/task.hpp>

#include <coroutine>
#include <utility>

namespace weir {

/// Anything that `co_await` takes in a `task`.
template <class A>
concept awaitable = detail::gives_awaiter<A> || detail::forks_children<std::remove_cvref_t<A>> ||
                    requires(A&& a, std::coroutine_handle<> h) {
                      std::forward<A>(a).await_ready();
                      std::forward<A>(a).await_suspend(h);
                      std::forward<A>(a).await_resume();
                    };

namespace detail {

template <class A>
struct await_result {
  using type = decltype(awaiter_of(std::declval<A>()).await_resume());
};
template <class A>
  requires forks_children<std::remove_cvref_t<A>>
struct await_result<A> {
  using type = decltype(std::declval<A&>().await_in(std::declval<promise_base&>()).await_resume());
};
template <class A>
using await_result_t = typename await_result<A>::type;

template <class A, class T>
task<T> await_in_task(A awaited) {
  co_return co_await std::move(awaited);
}

template <class A, class T>
task<T> await_reference_in_task(A& awaited) {
  co_return co_await awaited;
}

} // namespace detail

} // namespace weir
