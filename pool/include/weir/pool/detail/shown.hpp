// SPDX-License-Identifier: MIT
/// \file
/// Arguments as log lines show them.
#pragma once

#include <concepts>
#include <cstddef>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>

namespace weir::detail {

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

/// As `shown`, but text without quotes: what Python's `str` gives, not its `repr`.
template <class A>
std::string shown_plain(const A& argument) {
  if constexpr (std::convertible_to<const A&, std::string_view>)
    return std::string(std::string_view(argument));
  else
    return shown(argument);
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

} // namespace weir::detail
