// SPDX-License-Identifier: MIT
/// \file
/// Functions that know their names: pools put them into the names of groups and into log lines.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

/// The last part of the function's name, out of the compiler's signature of a template.
[[nodiscard]] constexpr std::string_view plain_name(std::string_view signature) noexcept {
  constexpr std::string_view mark = "Function = ";
  signature.remove_prefix(signature.find(mark) + mark.size());
  signature = signature.substr(0, signature.find_first_of(";]"));
  if (const auto colon = signature.rfind("::"); colon != std::string_view::npos)
    signature.remove_prefix(colon + 2);
  const auto first = signature.find_first_not_of("(& ");
  signature.remove_prefix(first == std::string_view::npos ? 0 : first);
  return signature.substr(0, signature.find_first_of("()<"));
}

template <auto Function>
[[nodiscard]] constexpr std::string_view name_of() noexcept {
  return plain_name(__PRETTY_FUNCTION__);
}

} // namespace detail

/// The type of `fn<&f>`.
template <auto Function>
struct named_function {
  using called_function = decltype(Function);

  [[nodiscard]] static constexpr std::string_view name() noexcept {
    return detail::name_of<Function>();
  }
  template <class... Args>
    requires std::invocable<decltype(Function), Args...>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(Function, std::forward<Args>(args)...);
  }
};

/// `fn<&work>` calls `work` and is called "work": its name without namespaces, known when compiled.
template <auto Function>
inline constexpr named_function<Function> fn{};

/// What `named` gives.
template <class F>
class named_callable {
 public:
  named_callable(std::string name, F f) : name_(std::move(name)), f_(std::move(f)) {}
  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  /// For the library: the callable alone.
  [[nodiscard]] F& callable() noexcept { return f_; }

 private:
  std::string name_;
  F f_;
};

/// `named("work", f)` gives any callable a name.
template <class F>
[[nodiscard]] named_callable<std::decay_t<F>> named(std::string name, F&& f) {
  return {std::move(name), std::forward<F>(f)};
}

namespace detail {

template <class F>
inline constexpr bool is_named = false;
template <class F>
inline constexpr bool is_named<named_callable<F>> = true;

template <class F>
struct without_name_type {
  using type = F;
};
template <class F>
struct without_name_type<named_callable<F>> {
  using type = F;
};
/// What is called in the end.
template <class F>
using without_name_t = typename without_name_type<std::decay_t<F>>::type;

/// "task" if the callable has no name.
template <class F>
[[nodiscard]] std::string name_of_callable(const F& f) {
  if constexpr (requires { std::string_view(f.name()); })
    return std::string(f.name());
  else
    return "task";
}

/// The callable alone, moved out or copied.
template <class F>
[[nodiscard]] without_name_t<F> without_name(F&& f) {
  if constexpr (is_named<std::decay_t<F>>) {
    std::decay_t<F> owned(std::forward<F>(f));
    return std::move(owned.callable());
  } else {
    return std::forward<F>(f);
  }
}

} // namespace detail

} // namespace weir
