// SPDX-License-Identifier: MIT
/// \file
/// Stable merge sort whose parts and merges are forked.
///
/// A buffer of the range's size is used in turn with the range. All objects of both live all the
/// time, moved from or not, and there is one promise that whatever runs keeps: when a function
/// ends, be it by an exception, all elements of its part are where it was to put them. So none is
/// lost if a comparison throws or a fork is cancelled.
#pragma once

#include <weir/detail/small_sort.hpp>
#include <weir/fork_join.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// `count` objects beside a range. They are made out of its first element, one of the other, which
/// then gets its value back.
template <class T>
class sort_buffer {
  static constexpr bool trivial = std::is_trivially_copyable_v<T>;

 public:
  /// Throws `std::bad_alloc`, and what moving throws.
  template <class I>
  sort_buffer(I first, std::size_t count) : memory_(allocate(count)), count_(count) {
    if constexpr (!trivial) {
      T* made = memory_;
      try {
        std::construct_at(made, std::ranges::iter_move(first));
        for (T* const last = memory_ + count - 1; made != last; ++made)
          std::construct_at(made + 1, std::move(*made));
        *first = std::move(*made);
      } catch (...) {
        std::destroy(memory_, made);
        deallocate();
        throw;
      }
    }
  }
  sort_buffer(const sort_buffer&) = delete;
  sort_buffer& operator=(const sort_buffer&) = delete;
  ~sort_buffer() {
    if constexpr (!trivial)
      std::destroy_n(memory_, count_);
    deallocate();
  }

  [[nodiscard]] T* begin() const noexcept { return memory_; }

 private:
  static T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(alignof(T))));
  }
  void deallocate() noexcept { ::operator delete(memory_, std::align_val_t(alignof(T))); }

  T* memory_;
  std::size_t count_;
};

/// Stable. [a, a_last) comes before [b, b_last) among equal elements; both go to `out` on.
template <class From, class To, class Less>
void merge_here(From a, From a_last, From b, From b_last, To out, Less& less) {
  const auto rest = [&] { std::ranges::move(b, b_last, std::ranges::move(a, a_last, out).out); };
  try {
    if (a != a_last && b != b_last && std::invoke(less, *b, *(a_last - 1))) {
      do {
        const bool second = std::invoke(less, *b, *a);
        if constexpr (std::is_trivially_copyable_v<std::iter_value_t<From>>) {
          *out = second ? *b : *a; // without a branch
          b += second;
          a += !second;
        } else {
          *out = second ? std::ranges::iter_move(b++) : std::ranges::iter_move(a++);
        }
        ++out;
      } while (a != a_last && b != b_last);
    }
  } catch (...) {
    rest();
    throw;
  }
  rest();
}

/// The same by halves. `out` has no elements beforehand.
template <class From, class To, class Less>
void merge_parts(From a, From a_last, From b, From b_last, To out, Less& less) {
  constexpr std::iter_difference_t<From> worth_a_fork = 2048;
  const auto a_size = a_last - a;
  const auto b_size = b_last - b;
  if (a_size + b_size <= worth_a_fork) {
    merge_here(a, a_last, b, b_last, out, less);
    return;
  }
  bool front_done = false;
  bool back_done = false;
  From a_middle = a;
  From b_middle = b;
  const auto out_middle = [&] {
    return out + static_cast<std::iter_difference_t<To>>((a_middle - a) + (b_middle - b));
  };
  try {
    if (a_size >= b_size) {
      const From half = a + a_size / 2;
      b_middle = std::ranges::lower_bound(b, b_last, *half, std::ref(less));
      a_middle = half;
    } else {
      const From half = b + b_size / 2;
      a_middle = std::ranges::upper_bound(a, a_last, *half, std::ref(less));
      b_middle = half;
    }
    weir::fork_join(
        [&] {
          front_done = true;
          merge_parts(a, a_middle, b, b_middle, out, less);
        },
        [&] {
          back_done = true;
          merge_parts(a_middle, a_last, b_middle, b_last, out_middle(), less);
        });
  } catch (...) {
    if (!front_done)
      std::ranges::move(b, b_middle, std::ranges::move(a, a_middle, out).out);
    if (!back_done)
      std::ranges::move(b_middle, b_last, std::ranges::move(a_middle, a_last, out_middle()).out);
    throw;
  }
}

template <class I, class Less>
class merge_sort {
  using difference = std::iter_difference_t<I>;
  using value = std::iter_value_t<I>;

 public:
  /// Of `count` elements, at least one, from `range` on.
  merge_sort(I range, std::size_t count, Less& less)
      : range_(range), buffer_(range, count), less_(less), count_(static_cast<difference>(count)) {}

  void run() const { part(0, count_, false); }

 private:
  // Up to here: insertion sort.
  static constexpr difference small = 24;
  // Above: worth a fork.
  static constexpr difference forked = 256;

  /// Sorts what the range has in [first, last), in the range or into the buffer.
  void part(difference first, difference last, bool into_buffer) const {
    if (last - first <= small) {
      leaf(first, last, into_buffer);
      return;
    }
    const difference middle = first + (last - first) / 2;
    halves(first, middle, last, into_buffer);
    const auto merge = [&](auto from, auto to) {
      merge_parts(from + first, from + middle, from + middle, from + last, to + first, less_);
    };
    if (into_buffer)
      merge(range_, buffer_.begin());
    else
      merge(buffer_.begin(), range_);
  }

  void leaf(difference first, difference last, bool into_buffer) const {
    try {
      insertion_sort(range_ + first, range_ + last, less_);
    } catch (...) {
      deliver(first, last, false, into_buffer);
      throw;
    }
    deliver(first, last, false, into_buffer);
  }

  /// Sorts both halves, each to where the merge takes it from. If that fails, both are moved to
  /// where the merge would have put them.
  void halves(difference first, difference middle, difference last, bool into_buffer) const {
    bool front_begun = false;
    bool back_begun = false;
    const auto front = [&] {
      front_begun = true;
      part(first, middle, !into_buffer);
    };
    const auto back = [&] {
      back_begun = true;
      part(middle, last, !into_buffer);
    };
    try {
      if (last - first > forked) {
        weir::fork_join(front, back);
      } else {
        front();
        back();
      }
    } catch (...) {
      deliver(first, middle, front_begun && !into_buffer, into_buffer);
      deliver(middle, last, back_begun && !into_buffer, into_buffer);
      throw;
    }
  }

  void deliver(difference first, difference last, bool in_buffer, bool into_buffer) const {
    value* const buffer = buffer_.begin();
    if (in_buffer && !into_buffer)
      std::ranges::move(buffer + first, buffer + last, range_ + first);
    else if (!in_buffer && into_buffer)
      std::ranges::move(range_ + first, range_ + last, buffer + first);
  }

  I range_;
  sort_buffer<value> buffer_;
  Less& less_;
  difference count_;
};

} // namespace weir::detail
