// SPDX-License-Identifier: MIT
/// \file
/// Ranges of tasks as children.
#pragma once

#include <weir/detail/child.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

/// A range whose elements are tasks, given away: an rvalue container, or a view that makes them.
template <class Range>
concept task_range =
    std::ranges::input_range<Range> && detail::is_task<std::ranges::range_value_t<Range>>;

namespace detail {

template <class Range>
using range_task_t = typename std::ranges::range_value_t<Range>::value_type;

template <class T, task_range Range>
std::vector<task<T>> tasks_of(Range&& tasks) {
  using element = std::ranges::range_reference_t<Range>;
  constexpr bool owned =
      !std::is_lvalue_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>>;
  static_assert(owned || std::constructible_from<task<T>, element>,
                "tasks cannot be copied: give the range away with std::move");
  if constexpr (std::same_as<Range, std::vector<task<T>>>) {
    return std::forward<Range>(tasks);
  } else {
    std::vector<task<T>> all;
    if constexpr (std::ranges::sized_range<Range>)
      all.reserve(static_cast<std::size_t>(std::ranges::size(tasks)));
    for (auto&& t : tasks) {
      if constexpr (owned)
        all.push_back(std::move(t));
      else
        all.push_back(std::forward<decltype(t)>(t));
    }
    return all;
  }
}

/// The children of a range: one array.
template <class T>
class child_array {
 public:
  explicit child_array(std::vector<task<T>>&& tasks)
      : children_(std::make_unique<task_child<T>[]>(tasks.size())), size_(tasks.size()) {
    for (std::size_t i = 0; i < size_; ++i)
      children_[i].assign(std::move(tasks[i]));
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] task_child<T>& operator[](std::size_t i) noexcept { return children_[i]; }
  /// The index of one of the array's children.
  [[nodiscard]] std::size_t index_of(const child& c) const noexcept {
    return static_cast<std::size_t>(static_cast<const task_child<T>*>(&c) - children_.get());
  }

 private:
  std::unique_ptr<task_child<T>[]> children_;
  std::size_t size_;
};

} // namespace detail

} // namespace weir
