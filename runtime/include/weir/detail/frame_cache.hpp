// SPDX-License-Identifier: MIT
/// \file
/// Memory for coroutine frames and control blocks, kept per thread by size class.
#pragma once

#include <weir/version.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::detail {

/// Free memory of one thread. Trivially destructible: a thread's end empties it explicitly.
struct frame_cache {
  /// Sizes up to 504 in steps of 32, then 1024, 2048 and 4096; larger ones are not cached.
  static constexpr std::size_t class_count = 19;
  static constexpr std::size_t largest = 4096;
  /// Small classes are 32 bytes apart and leave the allocator the word that it keeps before each
  /// block, so that none of them spills into the next of its own classes.
  static constexpr std::size_t small_classes = 16;
  static constexpr std::size_t largest_small = 32 * small_classes - sizeof(void*);

  static constexpr std::size_t class_of(std::size_t size) noexcept {
    if (size <= largest_small)
      return size <= 24 ? 0 : (size - 25) / 32 + 1;
    return size <= 1024 ? small_classes : size <= 2048 ? small_classes + 1 : small_classes + 2;
  }
  static constexpr std::size_t class_size(std::size_t index) noexcept {
    return index < small_classes ? 32 * (index + 1) - sizeof(void*)
                                 : std::size_t{1024} << (index - small_classes);
  }

  /// Frames in a batch: 8 KiB worth, but neither too few to be worth a trade nor too many to hoard.
  static constexpr std::uint32_t batch_of(std::size_t index) noexcept {
    return static_cast<std::uint32_t>(std::clamp<std::size_t>(8192 / class_size(index), 4, 32));
  }
  /// How many frames of a class are kept.
  static constexpr std::uint32_t limit_of(std::size_t index) noexcept {
    return 2 * batch_of(index) - 1;
  }

  struct node {
    node* next;
  };
  struct free_list {
    node* head = nullptr;
    /// How many more it may take. None before the first use, and after the thread's thread-local
    /// objects have died: then memory goes straight to and from the allocator.
    std::uint32_t room = 0;
  };
  /// The room after a decrement too many, which deallocate_frame_slow makes up for: one instruction
  /// counts and compares.
  static constexpr std::uint32_t no_room = 1U << 31;

  std::array<free_list, class_count> lists{};
  bool open = false;
};

// The rare part of the two functions below, see frame_cache.cpp. The second one finds the room
// decremented.
[[nodiscard]] WEIR_API void* allocate_frame_slow(std::size_t size);
WEIR_API void deallocate_frame_slow(void* memory, std::size_t size) noexcept;

/// Memory for `size` bytes, aligned like `operator new`.
/// Throws `std::bad_alloc`. Takes no lock; allocates only when this thread's cache and the shared
/// depot have nothing of that size class.
[[nodiscard]] inline void* allocate_frame(std::size_t size);

/// Gives memory of `allocate_frame(size)` back, on any thread. Takes no lock.
inline void deallocate_frame(void* memory, std::size_t size) noexcept;

} // namespace weir::detail
