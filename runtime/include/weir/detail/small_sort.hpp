// SPDX-License-Identifier: MIT
/// \file
/// Serial sorts of few elements that lose none if the comparison throws.
#pragma once

#include <cstddef>
#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// Whether an element may be held outside of its range while others are compared: it can be put
/// back whatever happens.
template <class T>
inline constexpr bool may_be_held =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>;

/// An element that has left its place, and a place without an element.
template <class I>
class held_element {
 public:
  explicit held_element(I at) noexcept : value_(std::ranges::iter_move(at)), hole_(at) {}
  held_element(const held_element&) = delete;
  held_element& operator=(const held_element&) = delete;
  ~held_element() { *hole_ = std::move(value_); }

  [[nodiscard]] std::iter_value_t<I>& value() noexcept { return value_; }
  /// The element at `at` goes where the hole is, which is then there.
  void fill_from(I at) noexcept {
    *hole_ = std::ranges::iter_move(at);
    hole_ = at;
  }

 private:
  std::iter_value_t<I> value_;
  I hole_;
};

/// Moves the element at `at` down among the sorted ones before it. `Bounded`: not below `first`;
/// otherwise an element that is not greater is known to be there.
template <bool Bounded, class I, class Less>
void insert_last(I first, I at, Less& less) {
  if ((Bounded && at == first) || !std::invoke(less, *at, *(at - 1)))
    return;
  if constexpr (may_be_held<std::iter_value_t<I>>) {
    held_element<I> held(at);
    do {
      --at;
      held.fill_from(at);
    } while ((!Bounded || at != first) && std::invoke(less, held.value(), *(at - 1)));
  } else {
    do {
      std::ranges::iter_swap(at - 1, at);
      --at;
    } while ((!Bounded || at != first) && std::invoke(less, *at, *(at - 1)));
  }
}

/// Stable.
template <bool Bounded = true, class I, class Less>
void insertion_sort(I first, I last, Less& less) {
  if (first == last)
    return;
  for (I at = first + 1; at != last; ++at)
    insert_last<Bounded>(first, at, less);
}

template <class I, class Less>
void sift_down(I first, std::iter_difference_t<I> at, std::iter_difference_t<I> size, Less& less) {
  for (auto child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && std::invoke(less, first[child], first[child + 1]))
      ++child;
    if (!std::invoke(less, first[at], first[child]))
      return;
    std::ranges::iter_swap(first + at, first + child);
    at = child;
  }
}

template <class I, class Less>
void heap_sort(I first, I last, Less& less) {
  const auto size = last - first;
  for (auto at = size / 2; at-- > 0;)
    sift_down(first, at, size, less);
  for (auto left = size - 1; left > 0; --left) {
    std::ranges::iter_swap(first, first + left);
    sift_down(first, std::iter_difference_t<I>{0}, left, less);
  }
}

} // namespace weir::detail
