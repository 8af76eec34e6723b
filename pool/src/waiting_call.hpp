// SPDX-License-Identifier: MIT
// What moodycamel's queue keeps for a pool.
#pragma once

#include "concurrent_queue.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace weir::detail {

/// Allocation through `operator new`, so that programs (and tests) that replace it see everything.
struct queue_traits : moodycamel::ConcurrentQueueDefaultTraits {
  static void*(malloc)(std::size_t size) { return ::operator new(size, std::nothrow); }
  static void(free)(void* memory) { ::operator delete(memory); }
};

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
    if (pool_item* const one = item())
      return taken_call(one);
    word_call word;
    word.run = reinterpret_cast<word_call::function>(first);
    word.word = second;
    word.weight = weight;
    return taken_call(word);
  }

  std::uintptr_t first;
  std::uintptr_t second;
};

/// A call in a slot of moodycamel's queue.
template <class Call>
struct queued : queue_slot, Call {
  explicit queued(const Call& call) noexcept : queue_slot(), Call(call) {}
  queued(queued&& other) noexcept : queue_slot(), Call(other) {}
  queued& operator=(queued&&) = delete;
  ~queued() = default;
};

/// In the memory of who takes it out.
template <class Call>
struct fetched : Call {
  fetched() noexcept {}
  fetched(const fetched&) noexcept = default;
  fetched& operator=(const fetched&) noexcept = default;
  fetched& operator=(queued<Call>&& from) noexcept {
    static_cast<Call&>(*this) = from;
    sync::tell_tsan_released(&from);
    return *this;
  }
};

} // namespace weir::detail
