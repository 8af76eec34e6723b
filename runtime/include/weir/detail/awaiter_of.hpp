// SPDX-License-Identifier: MIT
/// \file
/// What `co_await` makes of an awaitable.
#pragma once

#include <utility>

namespace weir::detail {

/// Whether `co_await` asks it for its awaiter; else it is one itself.
template <class A>
concept gives_awaiter = requires(A&& a) { std::forward<A>(a).operator co_await(); } ||
                        requires(A&& a) { operator co_await(std::forward<A>(a)); };

template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); })
    return std::forward<A>(a).operator co_await();
  else if constexpr (requires { operator co_await(std::forward<A>(a)); })
    return operator co_await(std::forward<A>(a));
  else
    return std::forward<A>(a);
}

} // namespace weir::detail
