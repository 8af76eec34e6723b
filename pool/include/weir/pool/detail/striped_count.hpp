// SPDX-License-Identifier: MIT
/// \file
/// A count that many threads raise without meeting each other.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::detail {

/// Each thread counts in one of a few stripes. All operations are sequentially consistent; a sum
/// looks at one stripe after the other, and so contains all that was counted before it began.
class striped_count {
 public:
  striped_count() noexcept {}

  /// \return how often was counted in the thread's stripe.
  std::uint64_t add(thread_state& thread) noexcept {
    return of(thread).fetch_add(1, std::memory_order_seq_cst);
  }
  /// Takes back what the same thread has added.
  void take_back(thread_state& thread) noexcept {
    of(thread).fetch_sub(1, std::memory_order_seq_cst);
  }
  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t all = 0;
    for (const auto& each : stripes_)
      all += each.value.load(std::memory_order_seq_cst);
    return all;
  }

 private:
  struct alignas(sync::line_size) stripe {
    sync::atomic<std::uint64_t> value{0};
  };

  [[nodiscard]] sync::atomic<std::uint64_t>& of(thread_state& thread) noexcept {
    return stripes_[number_of(thread) % stripes_.size()].value;
  }

  std::array<stripe, 8> stripes_;
};

} // namespace weir::detail
