// SPDX-License-Identifier: MIT
/// \file
/// Memory for coroutine frames and control blocks, kept per thread by size class.
#pragma once

#include <weir/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::detail {

/// Free memory of one thread. Trivially destructible: a thread's end empties it explicitly.
struct frame_cache {
  /// Sizes up to 504 in steps of 32, then 1024, 2048 and 4096; larger ones are not cached.
  static constexpr std::size_t class_count = 19;
  static constexpr std::size_t largest = 4096;

  struct node {
    node* next;
  };
  struct free_list {
    node* head = nullptr;
    std::uint32_t count = 0;
  };

  std::array<free_list, class_count> lists{};
  /// False before the first use and after the thread's thread-local objects have died: then memory
  /// goes straight to and from the allocator.
  bool open = false;
};

/// Memory for `size` bytes, aligned like `operator new`.
/// Throws `std::bad_alloc`. Takes no lock; allocates only when this thread's cache and the shared
/// depot have nothing of that size class.
[[nodiscard]] WEIR_API void* allocate_frame(std::size_t size);

/// Gives memory of `allocate_frame(size)` back, on any thread. Takes no lock.
WEIR_API void deallocate_frame(void* memory, std::size_t size) noexcept;

} // namespace weir::detail
