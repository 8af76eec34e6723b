// SPDX-License-Identifier: MIT
/// \file
/// Quicksort whose parts are forked.
///
/// After Peters, "Pattern-defeating Quicksort" (2021), and Edelkamp and Weiß, "BlockQuicksort"
/// (2016): pivots that patterns do not lead astray, heap sort if they do nevertheless, linear time
/// for few different elements, and for small elements a partition without branches that depend on
/// comparisons. No element is outside of the range while others are compared, except in
/// `held_element`.
#pragma once

#include <weir/detail/small_sort.hpp>
#include <weir/fork_join.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <iterator>
#include <type_traits>
#include <utility>

namespace weir::detail {

template <class I, class Less>
class quick_sort {
  using difference = std::iter_difference_t<I>;
  using value = std::iter_value_t<I>;

 public:
  explicit quick_sort(Less& less) noexcept : less_(less) {}

  void run(I first, I last) const {
    if (last - first > 1)
      part(first, last, static_cast<int>(std::bit_width(static_cast<std::size_t>(last - first))),
           true);
  }

 private:
  // Below: insertion sort.
  static constexpr difference small = 24;
  // Above: the pivot is the median of three medians.
  static constexpr difference large = 128;
  // Above: worth a fork, which costs about as much as one comparison.
  static constexpr difference forked = 256;
  // Elements that are moved until a part which looks sorted is given up.
  static constexpr int hopeful_moves = 8;

  // Copies of a small element cost nothing; then compare first and branch later.
  static constexpr bool by_blocks =
      std::is_trivially_copyable_v<value> && sizeof(value) <= 4 * sizeof(void*);

  template <class A, class B>
  bool less(A&& a, B&& b) const {
    return static_cast<bool>(std::invoke(less_, std::forward<A>(a), std::forward<B>(b)));
  }

  /// \param bad_left how many more bad pivots are put up with.
  /// \param leftmost otherwise the element before `first` is not greater than any here.
  void part(I first, I last, int bad_left, bool leftmost) const {
    for (;;) {
      const difference size = last - first;
      if (size < small) {
        if (leftmost)
          insertion_sort<true>(first, last, less_);
        else
          insertion_sort<false>(first, last, less_);
        return;
      }
      choose_pivot(first, last);
      if (!leftmost && !less(*(first - 1), *first)) {
        first = skip_equal(first, last);
        continue;
      }
      const auto [pivot, was_partitioned] = partition(first, last);
      const difference left = pivot - first;
      const difference right = last - (pivot + 1);
      if (left < size / 8 || right < size / 8) {
        if (--bad_left == 0) {
          heap_sort(first, last, less_);
          return;
        }
        disturb(first, pivot);
        disturb(pivot + 1, last);
      } else if (was_partitioned && sort_if_nearly_sorted(first, pivot) &&
                 sort_if_nearly_sorted(pivot + 1, last)) {
        return;
      }
      if (left > forked && right > forked) {
        const I middle = pivot;
        weir::fork_join([=, this] { part(first, middle, bad_left, leftmost); },
                        [=, this] { part(middle + 1, last, bad_left, false); });
        return;
      }
      part(first, pivot, bad_left, leftmost);
      first = pivot + 1;
      leftmost = false;
    }
  }

  void sort_two(I a, I b) const {
    if (less(*b, *a))
      std::ranges::iter_swap(a, b);
  }
  /// The median of three goes to `b`.
  void sort_three(I a, I b, I c) const {
    sort_two(a, b);
    sort_two(b, c);
    sort_two(a, b);
  }

  /// A median goes to `first`, and something that is not less is behind it.
  void choose_pivot(I first, I last) const {
    const difference half = (last - first) / 2;
    if (last - first > large) {
      sort_three(first, first + half, last - 1);
      sort_three(first + 1, first + (half - 1), last - 2);
      sort_three(first + 2, first + (half + 1), last - 3);
      sort_three(first + (half - 1), first + half, first + (half + 1));
      std::ranges::iter_swap(first, first + half);
    } else {
      sort_three(first + half, first, last - 1);
    }
  }

  /// Breaks a pattern that has made for a bad pivot.
  static void disturb(I first, I last) {
    const difference size = last - first;
    if (size < small)
      return;
    const difference quarter = size / 4;
    const difference swaps = size > large ? 3 : 1;
    for (difference i = 0; i < swaps; ++i) {
      std::ranges::iter_swap(first + i, first + (quarter + i));
      std::ranges::iter_swap(last - (1 + i), last - (quarter + i));
    }
  }

  /// \return false if it has given up.
  bool sort_if_nearly_sorted(I first, I last) const {
    if (first == last)
      return true;
    difference moved = 0;
    for (I at = first + 1; at != last; ++at) {
      if (!less(*at, *(at - 1)))
        continue;
      I slot = at;
      while (slot != first && less(*at, *(slot - 1)))
        --slot;
      moved += at - slot;
      for (I from = at; from != slot; --from)
        std::ranges::iter_swap(from, from - 1);
      if (moved > hopeful_moves)
        return false;
    }
    return true;
  }

  /// The pivot at `first` equals the element before it, so that nothing is less. \return the first
  /// element that is greater.
  I skip_equal(I first, I last) const {
    I front = first;
    I back = last;
    while (less(*first, *--back)) {
    }
    if (back + 1 == last) {
      while (front < back && !less(*first, *++front)) {
      }
    } else {
      while (!less(*first, *++front)) {
      }
    }
    while (front < back) {
      std::ranges::iter_swap(front, back);
      while (less(*first, *--back)) {
      }
      while (!less(*first, *++front)) {
      }
    }
    std::ranges::iter_swap(first, back);
    return back + 1;
  }

  /// Puts what is less than the pivot at `first` before it and the others behind it. \return where
  /// the pivot is then, and whether there was nothing to do.
  std::pair<I, bool> partition(I first, I last) const {
    if constexpr (by_blocks) {
      const value pivot = *first;
      return partition_around(first, last, pivot);
    } else {
      return partition_around(first, last, *first);
    }
  }

  template <class Pivot>
  std::pair<I, bool> partition_around(I first, I last, const Pivot& pivot) const {
    I front = first;
    I back = last;
    while (less(*++front, pivot)) {
    }
    if (front - 1 == first) {
      while (front < back && !less(*--back, pivot)) {
      }
    } else {
      while (!less(*--back, pivot)) {
      }
    }
    const bool was_partitioned = !(front < back);
    if (!was_partitioned) {
      std::ranges::iter_swap(front, back);
      ++front;
      if constexpr (by_blocks) {
        front = partition_blocks(front, back, pivot);
      } else {
        for (;;) {
          while (less(*front, pivot))
            ++front;
          while (!less(*--back, pivot)) {
          }
          if (!(front < back))
            break;
          std::ranges::iter_swap(front, back);
          ++front;
        }
      }
    }
    std::ranges::iter_swap(first, front - 1);
    return {front - 1, was_partitioned};
  }

  /// Looks at a block from each end, writes down which elements are on the wrong side, and swaps
  /// these. \return the first element that is not less.
  I partition_blocks(I front, I back, const value& pivot) const {
    constexpr difference block = 64;
    alignas(64) unsigned char from_front[block];
    alignas(64) unsigned char from_back[block];
    I front_base = front;
    I back_base = back;
    difference front_count = 0;
    difference back_count = 0;
    difference front_start = 0;
    difference back_start = 0;
    while (front < back) {
      // How much is looked at: a block of each side whose last one is used up; what is left at
      // last.
      const difference unknown = back - front;
      difference at_front = 0;
      difference at_back = 0;
      if (unknown >= 2 * block) {
        at_front = front_count == 0 ? block : 0;
        at_back = back_count == 0 ? block : 0;
      } else {
        at_front = front_count == 0 ? (back_count == 0 ? unknown / 2 : unknown) : 0;
        at_back = back_count == 0 ? unknown - at_front : 0;
        at_front = std::min(at_front, block);
        at_back = std::min(at_back, block);
      }
      if (at_front != 0) {
        front_start = 0;
        front_base = front;
        for (difference i = 0; i < at_front; ++i, ++front) {
          from_front[front_count] = static_cast<unsigned char>(i);
          front_count += !less(*front, pivot);
        }
      }
      if (at_back != 0) {
        back_start = 0;
        back_base = back;
        for (difference i = 1; i <= at_back; ++i) {
          from_back[back_count] = static_cast<unsigned char>(i);
          back_count += less(*--back, pivot);
        }
      }
      const difference swaps = std::min(front_count, back_count);
      exchange(front_base, from_front + front_start, back_base, from_back + back_start, swaps,
               front_count == back_count);
      front_count -= swaps;
      back_count -= swaps;
      front_start += swaps;
      back_start += swaps;
      if (front_count == 0)
        front_base = front;
      if (back_count == 0)
        back_base = back;
    }
    // What is left over of one side goes to the border.
    if (front_count != 0) {
      while (front_count-- != 0)
        std::ranges::iter_swap(front_base + from_front[front_start + front_count], --back);
      front = back;
    }
    if (back_count != 0) {
      while (back_count-- != 0) {
        std::ranges::iter_swap(back_base - from_back[back_start + back_count], front);
        ++front;
      }
    }
    return front;
  }

  /// \param swap whether to swap pair by pair, which keeps descending sequences intact, instead of
  /// going round through all of them, which takes less moves.
  static void exchange(I front_base, const unsigned char* from_front, I back_base,
                       const unsigned char* from_back, difference count, bool swap) {
    if (swap) {
      for (difference i = 0; i < count; ++i)
        std::ranges::iter_swap(front_base + from_front[i], back_base - from_back[i]);
    } else if (count > 0) {
      I left = front_base + from_front[0];
      I right = back_base - from_back[0];
      const value held = *left;
      *left = *right;
      for (difference i = 1; i < count; ++i) {
        left = front_base + from_front[i];
        *right = *left;
        right = back_base - from_back[i];
        *left = *right;
      }
      *right = held;
    }
  }

  Less& less_;
};

} // namespace weir::detail
