// SPDX-License-Identifier: MIT
// A worker's deque of jobs that can run now. Chase and Lev, "Dynamic circular work-stealing deque"
// (2005), with the memory orders of Lê, Pop, Cohen and Zappa Nardelli (2013), but with sequentially
// consistent operations in place of their fences and with 64-bit indices that never wrap. The ring
// has a fixed size: what does not fit goes to the injector, so that nothing is ever reclaimed.
//
// D1  top <= bottom + 1; top only grows. Jobs are at [top, bottom).
// D2  Only the owner writes bottom and the ring.
// D3  Index i is handed out once: by the exchange of top from i to i + 1, or by the owner, who has
//     lowered bottom to i and then seen top < i.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace weir::detail {

class ready_deque {
 public:
  static constexpr std::int64_t capacity = 4096;
  /// New tasks stop here: the rest is for jobs that cannot be refused when memory is short.
  static constexpr std::int64_t spawn_capacity = capacity - 256;

  ready_deque() : ring_(std::make_unique<sync::atomic<job*>[]>(capacity)) {}

  /// Owner. \return false if the deque holds `limit` jobs.
  [[nodiscard]] bool push(job& j, std::int64_t limit = capacity) noexcept {
    const auto b = bottom_.load(std::memory_order_relaxed);
    if (holds(limit))
      return false;
    slot(b).store(&j, std::memory_order_relaxed);
    // Seq_cst: a release for thieves' loads of bottom, and W1's "write mine" before the idle word
    // is read.
    bottom_.store(b + 1, std::memory_order_seq_cst);
    return true;
  }

  /// Owner. Whether there are so many jobs in it.
  [[nodiscard]] bool holds(std::int64_t count) noexcept {
    const auto b = bottom_.load(std::memory_order_relaxed);
    if (b - known_top_ < count)
      return false;
    // Acquire: pairs with the thieves' exchanges; their reads of the slots have happened.
    known_top_ = top_.load(std::memory_order_acquire);
    return b - known_top_ >= count;
  }

  /// Owner. The newest job, or null.
  [[nodiscard]] job* pop() noexcept {
    const auto b = bottom_.load(std::memory_order_relaxed) - 1;
    // Relaxed: top only grows, so that a stale value can only make the deque look longer.
    if (top_.load(std::memory_order_relaxed) > b)
      return nullptr;
    // Seq_cst, both: pair with the two loads in steal. Either the thief sees the lowered bottom, or
    // the owner sees the raised top (D3).
    bottom_.store(b, std::memory_order_seq_cst);
    auto t = top_.load(std::memory_order_seq_cst);
    if (t < b)
      return slot(b).load(std::memory_order_relaxed);
    job* last = nullptr;
    // The last job: race the thieves for it.
    if (t == b && top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                               std::memory_order_relaxed))
      last = slot(b).load(std::memory_order_relaxed);
    // Release: pairs with the load of bottom in steal.
    bottom_.store(b + 1, std::memory_order_release);
    return last;
  }

  /// Anybody. The oldest job; null if there is none or another thread was faster.
  [[nodiscard]] job* steal() noexcept {
    auto t = top_.load(std::memory_order_seq_cst);
    const auto b = bottom_.load(std::memory_order_seq_cst); // acquires the slot's contents
    if (t >= b)
      return nullptr;
    // Read before the exchange: afterwards the owner may overwrite the slot.
    job* oldest = slot(t).load(std::memory_order_relaxed);
    // Seq_cst: decides D3 against pop and other thieves. Relaxed on failure: nothing is used.
    if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                      std::memory_order_relaxed))
      return nullptr;
    return oldest;
  }

  /// Anybody: a moment's length. Seq_cst: W2's and W3's "read theirs".
  [[nodiscard]] std::int64_t size() const noexcept {
    const auto t = top_.load(std::memory_order_seq_cst);
    const auto b = bottom_.load(std::memory_order_seq_cst);
    return b > t ? b - t : 0;
  }

 private:
  sync::atomic<job*>& slot(std::int64_t index) noexcept {
    return ring_[static_cast<std::size_t>(index % capacity)];
  }

  alignas(sync::line_size) sync::atomic<std::int64_t> bottom_{0};
  std::int64_t known_top_ = 0; // the owner's, no later than top
  std::unique_ptr<sync::atomic<job*>[]> ring_;
  alignas(sync::line_size) sync::atomic<std::int64_t> top_{0};
};

} // namespace weir::detail
