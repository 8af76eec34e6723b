// SPDX-License-Identifier: MIT
// A queue without a bound for one thread at a time that pushes and one at a time that takes.
//
// C1  `pushed_` says how far the chunks are filled; who takes reads no further. A chunk is linked
//     before what is in it is counted.
// C2  A chunk that is used up waits in `spare_` to be filled again: two are enough as long as
//     those who take keep up.
#pragma once

#include "waiting_call.hpp"

#include <weir/detail/sync.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace weir::detail {

class call_ring {
 public:
  static constexpr std::size_t chunk_size = 64;

  /// Throws `std::bad_alloc`.
  call_ring() : last_(new chunk), first_(last_) {}
  call_ring(const call_ring&) = delete;
  call_ring& operator=(const call_ring&) = delete;
  ~call_ring() {
    while (first_ != nullptr)
      delete std::exchange(first_, first_->next);
    delete spare_.load(std::memory_order_relaxed); // nobody else is there any more
  }

  /// Throws `std::bad_alloc`; then nothing was pushed. \return whether this has filled a chunk.
  bool push(const waiting_call& call, std::uint64_t time, int weight) {
    // Relaxed: only who pushes changes it.
    const auto count = pushed_.load(std::memory_order_relaxed);
    if (count - last_begin_ == chunk_size)
      add_chunk();
    timed_call& to = last_->calls[count - last_begin_];
    // Who took the chunk's last calls has the lines. Past its end nothing is lost.
    sync::prefetch_for_write(reinterpret_cast<std::uintptr_t>(&to) + sync::line_size);
    to.first = call.first; // a member at a time: as they are in registers
    to.second = call.second;
    to.time = time;
    to.weight = weight;
    pushed_.store(count + 1, std::memory_order_release); // C1, pairs with front
    return count + 1 - last_begin_ == chunk_size;
  }

  /// By who pushes: whether all has been taken.
  [[nodiscard]] bool empty() const noexcept {
    return pushed_.load(std::memory_order_relaxed) == taken_;
  }
  /// The oldest, as far as they stand in a row; none if there are none.
  [[nodiscard]] std::span<const timed_call> front() noexcept {
    // Acquire: C1, pairs with push.
    const auto count = pushed_.load(std::memory_order_acquire) - taken_;
    if (count == 0)
      return {};
    if (taken_ - first_begin_ == chunk_size)
      leave_chunk();
    const auto place = taken_ - first_begin_;
    return {&first_->calls[place], std::min<std::size_t>(count, chunk_size - place)};
  }
  /// Takes out the first `count` of the front.
  void drop_front(std::size_t count) noexcept { taken_ += count; }

 private:
  struct chunk {
    std::array<timed_call, chunk_size> calls;
    chunk* next = nullptr;
  };

  void add_chunk() {
    // Acquire: C2, pairs with leave_chunk; its calls have been read.
    chunk* fresh = spare_.exchange(nullptr, std::memory_order_acquire);
    if (fresh == nullptr)
      fresh = new chunk;
    fresh->next = nullptr;
    last_->next = fresh;
    last_ = fresh;
    last_begin_ += chunk_size;
  }
  void leave_chunk() noexcept {
    chunk* const used = std::exchange(first_, first_->next);
    first_begin_ += chunk_size;
    // Acquire-release: C2, pairs with add_chunk and itself.
    delete spare_.exchange(used, std::memory_order_acq_rel);
  }

  // Of who pushes.
  sync::atomic<std::uint64_t> pushed_{0};
  std::uint64_t last_begin_ = 0;
  chunk* last_;
  // Of who takes.
  alignas(sync::line_size) chunk* first_;
  std::uint64_t first_begin_ = 0;
  std::uint64_t taken_ = 0;
  sync::atomic<chunk*> spare_{nullptr};
};

} // namespace weir::detail
