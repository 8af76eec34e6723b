// SPDX-License-Identifier: MIT
// Packets that a worker took from the injector in bulk and has not run yet. The owner fills the
// ring and takes from it in order; idle workers may take from it too, so that no task waits behind
// a long one while somebody could be running it.
//
// R1  Slot i % capacity belongs to whoever moved head_ from i to i + 1, until it clears `busy`.
// R2  The owner fills a slot only when `busy` is clear, and sets it before publishing by tail_.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/detail/sync.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::detail {

class batch_ring {
 public:
  static constexpr std::size_t capacity = 64;
  static constexpr std::size_t batch = 32;

  /// A packet that has been taken and must be released after it ran.
  class claim {
   public:
    claim() noexcept {}
    claim(batch_ring& ring, std::uint64_t index) noexcept : ring_(&ring), index_(index) {}
    [[nodiscard]] explicit operator bool() const noexcept { return ring_ != nullptr; }
    [[nodiscard]] packet& operator*() const noexcept { return ring_->at(index_); }
    void release() noexcept {
      // Release: pairs with the acquire in fill; the packet has been run or moved away (R2).
      ring_->busy(index_).store(0, std::memory_order_release);
    }

   private:
    batch_ring* ring_ = nullptr;
    std::uint64_t index_ = 0;
  };

  /// Anybody: claims the oldest packet.
  [[nodiscard]] claim take() noexcept {
    // Relaxed: a stale value makes the exchange fail.
    auto h = head_.load(std::memory_order_relaxed);
    // Acquire: pairs with publish, so that the packet is seen.
    while (h < tail_.load(std::memory_order_acquire)) {
      // Acquire-release: R1. Failure reloads.
      if (head_.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
        return claim(*this, h);
    }
    return claim();
  }

  /// Owner: how many slots in a row can be filled now, at most `batch`.
  [[nodiscard]] std::size_t room() noexcept {
    const auto t = tail_.load(std::memory_order_relaxed);
    std::size_t n = 0;
    // Acquire: pairs with claim::release.
    while (n < batch && busy(t + n).load(std::memory_order_acquire) == 0)
      ++n;
    return n;
  }

  /// Owner: the n-th free slot, to be filled before publish().
  [[nodiscard]] packet& free_slot(std::size_t n) noexcept {
    return at(tail_.load(std::memory_order_relaxed) + n);
  }

  /// Owner: makes the first `n` free slots visible.
  void publish(std::size_t n) noexcept {
    const auto t = tail_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < n; ++i)
      busy(t + i).store(1, std::memory_order_relaxed); // ordered by the store below
    // Seq_cst: a release for take, and visible to whoever sees the injector's packets as taken
    // (W2).
    tail_.store(t + n, std::memory_order_seq_cst);
  }

  /// Anybody: a moment's emptiness. Seq_cst: W2's and W3's "read theirs".
  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_seq_cst) >= tail_.load(std::memory_order_seq_cst);
  }

 private:
  packet& at(std::uint64_t index) noexcept { return slots_[index % capacity]; }
  sync::atomic<std::uint8_t>& busy(std::uint64_t index) noexcept { return busy_[index % capacity]; }

  alignas(sync::line_size) sync::atomic<std::uint64_t> head_{0};
  alignas(sync::line_size) sync::atomic<std::uint64_t> tail_{0};
  std::array<sync::atomic<std::uint8_t>, capacity> busy_{};
  std::array<packet, capacity> slots_{};
};

} // namespace weir::detail
