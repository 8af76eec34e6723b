// SPDX-License-Identifier: MIT
/// \file
/// weir's stop tokens and the standard library's, by one name.
#pragma once

#include <weir/stop_token.hpp>

#include <concepts>
#include <stop_token>

namespace weir {

namespace detail {

struct any_stop_callback {
  void operator()() const noexcept {}
};

template <class Token, class Callback>
struct stop_callback_for {};
template <class Token, class Callback>
  requires requires { typename Token::template callback_type<Callback>; }
struct stop_callback_for<Token, Callback> {
  using type = typename Token::template callback_type<Callback>;
};
template <class Callback>
struct stop_callback_for<std::stop_token, Callback> {
  using type = std::stop_callback<Callback>;
};

} // namespace detail

/// The callback type of a stop token, as in C++26: `inplace_stop_callback<Callback>` or
/// `std::stop_callback<Callback>`.
template <class Token, class Callback>
using stop_callback_for_t = typename detail::stop_callback_for<Token, Callback>::type;

/// `inplace_stop_token`, `std::stop_token`, and what looks like C++26's `stoppable_token`.
template <class Token>
concept stoppable_token =
    std::copyable<Token> && std::equality_comparable<Token> && requires(const Token& token) {
      { token.stop_requested() } -> std::convertible_to<bool>;
      { token.stop_possible() } -> std::convertible_to<bool>;
      typename stop_callback_for_t<Token, detail::any_stop_callback>;
    };

} // namespace weir
