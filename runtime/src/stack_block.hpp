// SPDX-License-Identifier: MIT
/// \file
/// Native stacks with cells for coroutine frames above them, see frame_cell.hpp.
#pragma once

#include "address_sanitizer.hpp"

#include <weir/detail/sync.hpp>

#include <cstddef>

namespace weir::detail {

/// Whether workers have cells.
#if defined(__x86_64__)
inline constexpr bool has_cells = !address_sanitizer;
#else
inline constexpr bool has_cells = false;
#endif

/// Memory of one thread, never given back to the system: frames may live in its cells for as long
/// as they like. Whoever needs a block gets one that its thread has left, if there is one of that
/// size.
class stack_block {
 public:
  /// One for a thread with a stack of at least that many bytes; 0 is the system's default.
  /// \return null if there is no memory, or no use for cells.
  [[nodiscard]] static stack_block* take(std::size_t stack_size) noexcept;
  /// The thread has been joined, or has never been.
  static void give_back(stack_block& left) noexcept;
  /// The thread has been detached: the block is to be used again when it has ended.
  static void give_up(stack_block& running) noexcept;

  [[nodiscard]] void* stack() const noexcept { return stack_; }
  [[nodiscard]] std::size_t stack_size() const noexcept { return stack_size_; }

  /// What the thread is to run, instead of `entry(argument)` itself.
  void set_entry(void* (*entry)(void*), void* argument) noexcept {
    entry_ = entry;
    argument_ = argument;
  }
  static void* run(void* block) noexcept;

 private:
  struct list;

  stack_block(void* stack, std::size_t stack_size) noexcept
      : stack_(stack), stack_size_(stack_size) {}
  [[nodiscard]] static stack_block* map(std::size_t stack_size) noexcept;
  /// Blocks that threads of this process have left, or will; null if there is no memory for it.
  [[nodiscard]] static list* left_blocks() noexcept;
  static void put(stack_block& block) noexcept;
  [[nodiscard]] bool is_free() const noexcept;

  void* stack_;
  std::size_t stack_size_;
  void* (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  // What `thread_id_` says; otherwise it is the system's number of the thread.
  static constexpr int joined = 0;
  static constexpr int starting = -1;
  sync::atomic<int> thread_id_{starting};
  stack_block* next_ = nullptr; // in the list
};

} // namespace weir::detail
