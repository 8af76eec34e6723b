// SPDX-License-Identifier: MIT
/// \file
/// Finds coroutines that would keep a reference to a temporary: one with a parameter
/// `const std::string&`, submitted with a literal, refers to a string that exists only while the
/// coroutine is called, not while it runs.
#pragma once

#include <weir/stop_token.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

template <class T>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;

/// Whether a parameter of type `P` refers to something that is made of a kept argument `A` for the
/// call, in place of the argument itself.
template <class P, class A>
concept refers_to_temporary =
    std::is_reference_v<P> &&
    !std::convertible_to<std::remove_reference_t<A>*, std::remove_reference_t<P>*> &&
    !is_reference_wrapper<std::remove_cv_t<A>> &&
    !requires(A a) { std::move(a).operator std::add_lvalue_reference_t<P>(); } &&
    !requires(A a) { std::move(a).operator std::add_rvalue_reference_t<P>(); } &&
    !requires(A a) { std::move(a).operator std::remove_cvref_t<P>&(); };

template <class T>
inline constexpr bool is_stop_token =
    std::same_as<T, inplace_stop_token> || std::same_as<T, std::stop_token>;

/// For parameters, of which the last may be default ones, and arguments.
template <class Parameters, class Arguments>
inline constexpr bool any_refers_to_temporary = false;
template <class P, class... Ps, class A, class... As>
inline constexpr bool any_refers_to_temporary<std::tuple<P, Ps...>, std::tuple<A, As...>> =
    refers_to_temporary<P, A> || any_refers_to_temporary<std::tuple<Ps...>, std::tuple<As...>>;
/// A stop token comes first if there is one parameter more.
template <class P, class... Ps, class A, class... As>
  requires(is_stop_token<std::remove_cvref_t<P>> && sizeof...(Ps) > sizeof...(As))
inline constexpr bool any_refers_to_temporary<std::tuple<P, Ps...>, std::tuple<A, As...>> =
    any_refers_to_temporary<std::tuple<Ps...>, std::tuple<A, As...>>;

/// The parameters of a function; nothing of what is overloaded or a template.
template <class F>
struct parameters_of {
  using type = void;
};
template <class R, class... Ps>
struct parameters_of<R (*)(Ps...)> {
  using type = std::tuple<Ps...>;
};
template <class R, class... Ps>
struct parameters_of<R (*)(Ps...) noexcept> : parameters_of<R (*)(Ps...)> {};
template <class R, class C, class... Ps>
struct parameters_of<R (C::*)(Ps...)> : parameters_of<R (*)(Ps...)> {};
template <class R, class C, class... Ps>
struct parameters_of<R (C::*)(Ps...) const> : parameters_of<R (*)(Ps...)> {};
template <class R, class C, class... Ps>
struct parameters_of<R (C::*)(Ps...) noexcept> : parameters_of<R (*)(Ps...)> {};
template <class R, class C, class... Ps>
struct parameters_of<R (C::*)(Ps...) const noexcept> : parameters_of<R (*)(Ps...)> {};

template <class F>
struct parameters_of_callable : parameters_of<F> {};
template <class F>
  requires requires { &F::operator(); }
struct parameters_of_callable<F> : parameters_of<decltype(&F::operator())> {};
/// A callable that hands its arguments on to a function.
template <class F>
  requires requires { typename F::called_function; }
struct parameters_of_callable<F> : parameters_of<typename F::called_function> {};

/// Whether a coroutine `F`, called with kept arguments that are handed over as rvalues, would keep
/// a reference to a temporary.
template <class F, class... Args>
inline constexpr bool keeps_temporary =
    any_refers_to_temporary<typename parameters_of_callable<F>::type, std::tuple<Args...>>;

} // namespace weir::detail
