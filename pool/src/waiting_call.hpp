// SPDX-License-Identifier: MIT
// What waits in a queue with an order of its own.
#pragma once

#include <weir/pool/detail/front_queue.hpp>
#include <weir/pool/detail/pool_item.hpp>

#include <cstdint>

namespace weir::detail {

/// An item, or a word with the function that takes it.
struct waiting_call {
  waiting_call() noexcept {} // to be filled
  explicit waiting_call(pool_item& which) noexcept
      : first(0), second(reinterpret_cast<std::uintptr_t>(&which)) {}
  explicit waiting_call(const word_call& call) noexcept
      : first(reinterpret_cast<std::uintptr_t>(call.run)), second(call.word) {}

  [[nodiscard]] pool_item* item() const noexcept {
    return first == 0 ? reinterpret_cast<pool_item*>(second) : nullptr;
  }
  [[nodiscard]] bool is_husk() const noexcept {
    const pool_item* const one = item();
    return one != nullptr && one->is_husk();
  }
  /// Adds it to a list of husks.
  void join(pool_item*& husks) const noexcept {
    item()->set_next(husks);
    husks = item();
  }
  /// What it was made of; a word with that weight.
  [[nodiscard]] taken_call call(int weight) const noexcept {
    // A member at a time: what is copied as a whole waits for what was just stored in parts.
    taken_call made;
    if (first == 0) {
      made.item = reinterpret_cast<pool_item*>(second);
    } else {
      made.word.run = reinterpret_cast<word_call::function>(first);
      made.word.word = second;
      made.word.weight = weight;
    }
    return made;
  }

  std::uintptr_t first;
  std::uintptr_t second;
};

/// One with all that an order may want to know.
struct timed_call : waiting_call {
  timed_call() noexcept {}

  std::uint64_t time;
  int weight;
};

/// What an order keeps, if it needs no weight.
struct placed_call : waiting_call {
  explicit placed_call(const timed_call& call) noexcept : waiting_call(call), time(call.time) {}
  std::uint64_t time;
};

} // namespace weir::detail
