// SPDX-License-Identifier: MIT
/// \file
/// Memory for coroutine frames that end before what is below them on the native stack does.
///
/// The address of what a free list gives comes from memory which the frame before has written just
/// now, and a recursion of coroutines runs at the pace of that chain of stores and loads, whatever
/// else it saves (docs/fork-join.md). So each worker has cells above its native stack, and the
/// stack pointer alone tells where they are and which one is to be looked at: the deeper, the
/// lower.
///
/// C1  Only the thread whose block they are in takes cells, and only while it runs on the stack of
///     that block. So nobody takes a cell at the same time as somebody else. One that is taken is
///     not waited for: a second one is looked at, then the frame goes to the frame cache.
/// C2  A frame of any thread's may end on any thread, which frees its cell. Cells outlive their
///     thread: the next one gets those that are still taken too.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <cstddef>
#include <cstdint>

namespace weir::detail {

/// What precedes each coroutine's frame, in a cell or not.
struct alignas(__STDCPP_DEFAULT_NEW_ALIGNMENT__) frame_head {
  // What `place` says. Memory of zeros is free cells.
  static constexpr std::uint8_t free_cell = 0;
  static constexpr std::uint8_t taken_cell = 1;
  static constexpr std::uint8_t no_cell = 2;

  [[nodiscard]] void* frame() noexcept { return this + 1; }
  [[nodiscard]] static frame_head& of(void* frame) noexcept {
    return *(static_cast<frame_head*>(frame) - 1);
  }
  [[nodiscard]] sync::atomic_ref<std::uint8_t> place() noexcept {
    return sync::atomic_ref<std::uint8_t>(place_);
  }

 private:
  std::uint8_t place_;
};

/// Where cells are.
struct frame_cells {
  /// A native stack ends, and its cells begin, at a multiple of this. What is deeper than that has
  /// no cells.
  static constexpr std::uintptr_t reach = std::uintptr_t{1} << 20;
  /// Nested coroutines need more native stack than this each.
  static constexpr std::uintptr_t granule = 32;
  /// What is deeper by this much has the same cell.
  static constexpr std::uintptr_t window = std::uintptr_t{16} << 10;
  /// Frames begin at multiples of this, so that the beginning, which is used most, is in one page:
  /// accesses across two cost so much that a recursion whose leaves were at such a place took a
  /// third longer.
  static constexpr std::size_t unit = 4 * std::size_t{64};
  /// Bytes of a cell: an odd number of units, so that frames use all sets of a cache alike.
  static constexpr std::size_t stride = 9 * unit;
  static constexpr std::size_t largest_frame = stride - sizeof(frame_head);
  /// Bytes of a thread's cells, and where the first one begins: its frame at a unit.
  static constexpr std::size_t size = window / granule * stride;
  static constexpr std::size_t first = unit - sizeof(frame_head);
  static_assert(stride % granule == 0 && stride / unit % 2 == 1 && 4096 % unit == 0);
};

/// The cell for the present depth, or for what is deeper by `further`; null if the thread has none,
/// or runs on another stack.
[[nodiscard, gnu::always_inline]] inline frame_head*
cell_here(std::uintptr_t further = 0) noexcept {
#if defined(__x86_64__)
  std::uintptr_t stack;
  std::uintptr_t base;
  std::uintptr_t state;
  bool own;
  static_assert(frame_cells::reach == 0x100000);
  // By hand, for the same reason as this_thread(). Nothing that is loaded becomes part of the
  // address.
  asm volatile("movq %%rsp, %0\n\t"
               "movq weir_detail_this_thread_state@gottpoff(%%rip), %2\n\t"
               "movq %0, %1\n\t"
               "andq $-0x100000, %1\n\t"
               "cmpq %%fs:%c4(%2), %1"
               : "=r"(stack), "=r"(base), "=r"(state), "=@cce"(own)
               : "i"(offsetof(thread_state, cells)));
  if (!own) [[unlikely]]
    return nullptr;
  std::uintptr_t place;
  // One instruction, where compilers take three or four.
  asm("imulq %2, %1, %0"
      : "=r"(place)
      : "r"((stack - further) & (frame_cells::window - frame_cells::granule)),
        "i"(frame_cells::stride / frame_cells::granule)
      : "cc");
  auto* const cell =
      reinterpret_cast<frame_head*>(base + frame_cells::reach + frame_cells::first + place);
  if (cell == nullptr)
    __builtin_unreachable(); // who has inlined this need not look
  return cell;
#else
  (void)further;
  return nullptr;
#endif
}

/// Takes `cell`, if there is one and it is free.
[[nodiscard, gnu::always_inline]] inline bool take_cell(frame_head* cell) noexcept {
  // Acquire: pairs with the release in deallocate_coroutine.
  if (cell == nullptr || cell->place().load(std::memory_order_acquire) != frame_head::free_cell)
      [[unlikely]]
    return false;
  cell->place().store(frame_head::taken_cell, std::memory_order_relaxed); // C1
  return true;
}

// Where the cell is taken, or there is none.
[[nodiscard]] WEIR_API void* allocate_coroutine_slow(std::size_t size);
WEIR_API void deallocate_coroutine_slow(void* frame, std::size_t size) noexcept;

/// Memory for a coroutine's frame. Throws `std::bad_alloc`. Takes no lock; where there is no cell
/// for it, costs what `allocate_frame` does.
[[nodiscard, gnu::always_inline]] inline void* allocate_coroutine(std::size_t size) {
  if (size <= frame_cells::largest_frame) {
    if (frame_head* const cell = cell_here(); take_cell(cell)) [[likely]]
      return cell->frame();
  }
  return allocate_coroutine_slow(size);
}

/// Gives memory of `allocate_coroutine(size)` back, on any thread. Takes no lock.
[[gnu::always_inline]] inline void deallocate_coroutine(void* frame, std::size_t size) noexcept {
  frame_head& head = frame_head::of(frame);
  // Relaxed: as whoever allocated it has left it.
  if (head.place().load(std::memory_order_relaxed) == frame_head::no_cell) [[unlikely]] {
    deallocate_coroutine_slow(frame, size);
    return;
  }
  // Release: pairs with the acquire in take_cell.
  head.place().store(frame_head::free_cell, std::memory_order_release);
}

} // namespace weir::detail
