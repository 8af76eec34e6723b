// SPDX-License-Identifier: MIT
// Timers in the order of their deadlines; equal ones in the order of their arming. Not
// synchronised.
//
// Far deadlines stand in a hierarchical timing wheel (Varghese and Lauck, 1987): nine levels of 64
// slots, the lowest 2^10 ns (about a microsecond) wide; a timer's level is given by the highest bit
// in which its slot number differs from the present one. Near deadlines stand in a pairing heap
// (Fredman et al., 1986), which gives the exact order. When the time reaches a slot, its timers are
// spread over the level below, or, if they are few and the slot is narrow, sorted and put into the
// heap as a chain, so that taking them costs constant time each. Each timer is touched once for
// each level it passes, and sorted only among a few neighbours, which then are in the CPU's cache.
//
// Q1  Timers whose slot number is at most `current_` are in the heap, all others in the wheel.
// Q2  Within the wheel each timer of a level is earlier than each one of a higher level.
#pragma once

#include <weir/detail/timer.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

namespace weir::detail {

class timer_queue {
 public:
  /// Orders like the time point, as an unsigned number.
  using key = std::uint64_t;
  static constexpr key never = std::numeric_limits<key>::max();

  explicit timer_queue(key now) noexcept : current_(now >> slot_bits) {}

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  void insert(timer& t, key deadline) noexcept {
    ++size_;
    t.key_ = deadline;
    t.sequence_ = next_sequence_++ & 0xffff'ffff'ffff; // 48 bits: nine years of a million a second
    place(t);
  }

  /// \return false if it is not in the queue.
  bool remove(timer& t) noexcept {
    if (t.place_ == nowhere)
      return false;
    --size_;
    if (t.place_ == in_heap)
      remove_from_heap(t);
    else
      remove_from_slot(t);
    t.place_ = nowhere;
    return true;
  }

  /// Takes the first timer whose deadline is at most `now`, or null. Moves the wheel on.
  timer* pop(key now) noexcept {
    if (root_ == nullptr) // otherwise its first is the first of all (Q1)
      advance(now >> slot_bits);
    if (root_ == nullptr || root_->key_ > now)
      return nullptr;
    timer* const first = root_;
    (void)remove(*first);
    return first;
  }

  /// A time at or before the first deadline, at most one slot of its level early; `never` if there
  /// is none.
  [[nodiscard]] key next_look() const noexcept {
    if (root_ != nullptr)
      return root_->key_;
    const auto first = first_slot();
    return first.level == levels ? never : first.start << slot_bits;
  }

  /// The first deadline; looks through one slot.
  [[nodiscard]] key next_deadline() const noexcept {
    if (root_ != nullptr)
      return root_->key_;
    const auto first = first_slot();
    key least = never;
    if (first.level != levels) {
      for (const timer* t = slots_[first.level][first.index].head; t != nullptr; t = t->next_)
        least = t->key_ < least ? t->key_ : least;
    }
    return least;
  }

 private:
  static constexpr unsigned slot_bits = 10;
  static constexpr unsigned level_bits = 6;
  static constexpr unsigned levels = 9;
  /// Slots of these levels, at most 4 ms wide, go to the heap at once if they hold only a few
  /// timers.
  static constexpr unsigned narrow_levels = 3;
  static constexpr unsigned few = 64;
  static_assert(slot_bits + levels * level_bits >= 64);

  static constexpr std::uint16_t nowhere = 0;
  static constexpr std::uint16_t in_heap = 1;
  static constexpr std::uint16_t first_place = 2; // + 64 * level + slot

  struct slot {
    timer* head = nullptr;
    timer* tail = nullptr;
  };
  struct found_slot {
    unsigned level = levels;
    unsigned index = 0;
    std::uint64_t start = 0;
  };

  static bool before(const timer& a, const timer& b) noexcept {
    return a.key_ != b.key_ ? a.key_ < b.key_ : a.sequence_ < b.sequence_;
  }

  void place(timer& t) noexcept {
    const std::uint64_t number = t.key_ >> slot_bits;
    if (number <= current_)
      insert_into_heap(t);
    else
      append_to_slot(t, number);
  }

  void append_to_slot(timer& t, std::uint64_t number) noexcept {
    const auto level =
        (63U - static_cast<unsigned>(std::countl_zero(number ^ current_))) / level_bits;
    const auto index = static_cast<unsigned>(number >> (level * level_bits)) & 63U;
    slot& at = slots_[level][index];
    t.place_ = static_cast<std::uint16_t>(first_place + 64 * level + index);
    t.next_ = nullptr;
    t.previous_ = at.tail;
    (at.tail == nullptr ? at.head : at.tail->next_) = &t;
    at.tail = &t;
    occupied_[level] |= std::uint64_t{1} << index;
  }

  void remove_from_slot(timer& t) noexcept {
    const unsigned place = t.place_;
    const unsigned level = (place - first_place) / 64U;
    const unsigned index = (place - first_place) % 64U;
    slot& at = slots_[level][index];
    (t.previous_ == nullptr ? at.head : t.previous_->next_) = t.next_;
    (t.next_ == nullptr ? at.tail : t.next_->previous_) = t.previous_;
    if (at.head == nullptr)
      occupied_[level] &= ~(std::uint64_t{1} << index);
  }

  /// The slot that comes first (Q2).
  [[nodiscard]] found_slot first_slot() const noexcept {
    for (unsigned level = 0; level < levels; ++level) {
      if (occupied_[level] == 0)
        continue;
      const auto index = static_cast<unsigned>(std::countr_zero(occupied_[level]));
      const unsigned shift = level * level_bits;
      const std::uint64_t above = current_ >> (shift + level_bits) << (shift + level_bits);
      return {level, index, above | std::uint64_t{index} << shift};
    }
    return {};
  }

  /// Moves timers of slots up to `number` to the empty heap, until it has some.
  void advance(std::uint64_t number) noexcept {
    while (root_ == nullptr && current_ < number) {
      const auto first = first_slot();
      if (first.level == levels || first.start > number) {
        current_ = number; // in the same slots of all levels, so that Q2 stays true
        return;
      }
      timer* const list = std::exchange(slots_[first.level][first.index], slot()).head;
      occupied_[first.level] &= ~(std::uint64_t{1} << first.index);
      if (first.level == 0 || (first.level < narrow_levels && is_short(list))) {
        // All of the slot, perhaps ahead of the time.
        current_ = first.start + (std::uint64_t{1} << (first.level * level_bits)) - 1;
        insert_sorted(sorted(list));
      } else {
        current_ = first.start;
        spread(list);
      }
    }
  }

  static bool is_short(const timer* list) noexcept {
    unsigned length = 0;
    for (; list != nullptr && length <= few; list = list->next_)
      ++length;
    return length <= few;
  }

  void spread(timer* list) noexcept {
    while (list != nullptr)
      place(*std::exchange(list, list->next_));
  }

  /// Merge sort of a list linked by `next_`; linear if it is in order already.
  static timer* sorted(timer* list) noexcept {
    const timer* t = list;
    while (t != nullptr && t->next_ != nullptr && before(*t, *t->next_))
      t = t->next_;
    if (t == nullptr || t->next_ == nullptr)
      return list;
    std::array<timer*, 48> runs{}; // runs[i]: a sorted list of 2^i timers
    std::size_t used = 0;
    while (list != nullptr) {
      timer* run = std::exchange(list, list->next_);
      run->next_ = nullptr;
      std::size_t i = 0;
      for (; i < used && runs[i] != nullptr; ++i)
        run = merged(std::exchange(runs[i], nullptr), run);
      if (i == used)
        ++used;
      runs[i] = run;
    }
    timer* all = nullptr;
    for (std::size_t i = 0; i < used; ++i)
      all = merged(runs[i], all);
    return all;
  }

  static timer* merged(timer* a, timer* b) noexcept {
    timer* first = nullptr;
    timer** end = &first;
    while (a != nullptr && b != nullptr) {
      timer*& least = before(*b, *a) ? b : a;
      *end = least;
      end = &least->next_;
      least = least->next_;
    }
    *end = a != nullptr ? a : b;
    return first;
  }

  /// Makes the empty heap a chain.
  void insert_sorted(timer* list) noexcept {
    root_ = list;
    for (timer* above = nullptr; list != nullptr; above = std::exchange(list, list->child_)) {
      list->place_ = in_heap;
      list->previous_ = above;
      list->child_ = std::exchange(list->next_, nullptr);
    }
  }

  void insert_into_heap(timer& t) noexcept {
    t.place_ = in_heap;
    t.next_ = t.previous_ = t.child_ = nullptr;
    root_ = melded(root_, &t);
  }

  /// Two heaps as one. A root has neither siblings nor a parent.
  static timer* melded(timer* a, timer* b) noexcept {
    if (a == nullptr)
      return b;
    if (b == nullptr)
      return a;
    if (before(*b, *a))
      std::swap(a, b);
    b->next_ = a->child_;
    if (b->next_ != nullptr)
      b->next_->previous_ = b;
    b->previous_ = a;
    a->child_ = b;
    return a;
  }

  /// The children of a removed root as one heap: pairs from the left, then all from the right.
  static timer* paired(timer* first) noexcept {
    timer* pairs = nullptr;
    while (first != nullptr) {
      timer* const a = first;
      timer* const b = a->next_;
      first = b == nullptr ? nullptr : b->next_;
      a->next_ = a->previous_ = nullptr;
      if (b != nullptr)
        b->next_ = b->previous_ = nullptr;
      timer* const pair = melded(a, b);
      pair->next_ = pairs;
      pairs = pair;
    }
    timer* all = nullptr;
    while (pairs != nullptr) {
      timer* const pair = std::exchange(pairs, pairs->next_);
      pair->next_ = nullptr;
      all = melded(all, pair);
    }
    return all;
  }

  void remove_from_heap(timer& t) noexcept {
    timer* const below = paired(t.child_);
    if (&t == root_) {
      root_ = below;
      return;
    }
    // `previous_` is the parent of a first child, else the sibling before it.
    (t.previous_->child_ == &t ? t.previous_->child_ : t.previous_->next_) = t.next_;
    if (t.next_ != nullptr)
      t.next_->previous_ = t.previous_;
    root_ = melded(root_, below);
  }

  std::uint64_t current_;
  std::uint64_t next_sequence_ = 0;
  std::size_t size_ = 0;
  timer* root_ = nullptr;
  std::array<std::uint64_t, levels> occupied_{};
  std::array<std::array<slot, 64>, levels> slots_{};
};

} // namespace weir::detail
