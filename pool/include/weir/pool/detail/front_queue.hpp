// SPDX-License-Identifier: MIT
/// \file
/// Where a pool's tasks wait for a slot: three orders.
#pragma once

#include <weir/pool/detail/pool_item.hpp>

#include <cstdint>
#include <memory>

namespace weir::detail {

/// What a slot has taken: an item, a callable without one, or nothing.
struct taken_call {
  taken_call() noexcept {}
  explicit taken_call(pool_item* which) noexcept : item(which) {}
  explicit taken_call(const word_call& which) noexcept : word(which) {}

  [[nodiscard]] explicit operator bool() const noexcept {
    return item != nullptr || word.run != nullptr;
  }
  [[nodiscard]] bool posted() const noexcept { return item == nullptr || item->posted(); }
  /// Only if posted.
  [[nodiscard]] task_end run_posted(thread_state& thread) const noexcept {
    return item == nullptr ? word.run(word.word, thread) : item->run_posted(thread);
  }

  pool_item* item = nullptr;
  word_call word;
};

/// Thread safety: all of it, from any thread. Whoever pushes never waits for anybody. Those who
/// take may exclude each other for a few instructions, or wait for somebody who has pushed and puts
/// a chunk of that in order; no user code runs meanwhile.
class WEIR_API front_queue {
 public:
  front_queue(const front_queue&) = delete;
  front_queue& operator=(const front_queue&) = delete;
  virtual ~front_queue();

  /// Throws `std::bad_alloc`; then nothing was pushed.
  virtual void push(pool_item& item) = 0;
  /// The same of a callable without an item.
  virtual void push(const word_call& callable) = 0;
  /// Takes the best into `slot`, and counts it as taken unless it is a husk. None means that there
  /// is none, or that others are taking at this moment.
  [[nodiscard]] virtual taken_call pop(pool_slot& slot) noexcept = 0;
  /// How many were counted so far, modulo 2^32.
  [[nodiscard]] virtual std::uint32_t taken() const noexcept = 0;
  /// Returns after all who were taking when it was called: what they have counted is seen, and who
  /// takes from now on sees what the caller did before.
  virtual void wait_for_takers() noexcept = 0;
  /// Takes out husks, of a part of the queue at a time. \return a list by `next`.
  /// \param more whether there is a part left to go through.
  [[nodiscard]] virtual pool_item* take_husks(bool& more) noexcept = 0;

 protected:
  front_queue() noexcept {}

  /// How many items are looked at in one go.
  static constexpr unsigned husk_batch = 64;

  [[nodiscard]] static bool arrives(pool_item& item, pool_slot& slot) noexcept {
    return item.posted() || item.come_into(slot);
  }
};

/// First in, first out for each submitting thread. moodycamel's queue.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_fifo_queue();
/// Last in, first out.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_lifo_queue();
/// The smallest weight first, of equal ones the oldest.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_priority_queue();

} // namespace weir::detail
