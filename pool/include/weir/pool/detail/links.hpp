// SPDX-License-Identifier: MIT
/// \file
/// Lists with two ends through their elements, whose owner guards them.
#pragma once

namespace weir::detail {

/// An element's place in one list.
template <class T>
struct links {
  T* next = nullptr;
  T* previous = nullptr;
};

/// Puts `t` behind `last`.
template <class T>
void append_to(T*& first, T*& last, T& t, links<T> T::* place) noexcept {
  t.*place = {nullptr, last};
  (last == nullptr ? first : (last->*place).next) = &t;
  last = &t;
}

/// Takes `t` out of the list that it is in. Its own links stay as they are.
template <class T>
void unlink_from(T*& first, T*& last, T& t, links<T> T::* place) noexcept {
  const links<T>& own = t.*place;
  (own.previous == nullptr ? first : (own.previous->*place).next) = own.next;
  (own.next == nullptr ? last : (own.next->*place).previous) = own.previous;
}

} // namespace weir::detail
