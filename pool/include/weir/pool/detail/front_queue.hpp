// SPDX-License-Identifier: MIT
/// \file
/// Where a pool's tasks wait for a slot: three orders.
#pragma once

#include <weir/pool/detail/pool_item.hpp>

#include <memory>

namespace weir::detail {

/// Thread safety: all of it, from any thread. Whoever pushes never waits for anybody. Those who
/// take may exclude each other for the few instructions of one removal.
class WEIR_API front_queue {
 public:
  virtual ~front_queue();
  /// Throws `std::bad_alloc`; then nothing was pushed.
  virtual void push(pool_item& item) = 0;
  /// The same of a callable in a packet; only if `make_..._queue` says that it takes some.
  virtual void push(packet& callable);
  /// Takes the best item; null means none, or that others are taking at this moment. If it is a
  /// callable, moves it to `callable` and gives `in_packet()`.
  [[nodiscard]] virtual pool_item* pop(packet& callable) noexcept = 0;
  /// Takes out all husks. \return a list by `next`. Linear in what waits.
  [[nodiscard]] virtual pool_item* take_husks() noexcept = 0;
};

/// Stands for no item.
[[nodiscard]] inline pool_item* in_packet() noexcept {
  static constinit char mark = 0;
  return reinterpret_cast<pool_item*>(&mark);
}

/// First in, first out for each submitting thread. moodycamel's queue. Takes packets.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_fifo_queue();
/// Last in, first out. A linked stack.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_lifo_queue();
/// The smallest weight first, of equal ones the oldest. Items must be `weighted_item`s.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_priority_queue();

} // namespace weir::detail
