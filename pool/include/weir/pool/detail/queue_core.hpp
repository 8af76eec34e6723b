// SPDX-License-Identifier: MIT
/// \file
/// A front queue with its counts and its bound. One pool owns it, or several share it.
///
/// Q1  A task is counted as accepted before it is pushed, and once more when it does not wait any
///     longer: as withdrawn after it became a husk, or else as taken after it was popped. Which of
///     the two, its item decides (pool_item.hpp). So `waiting()` is never less than what waits. A
///     slot that finds nothing although somebody waits looks again: a submitter is between its two
///     steps.
/// Q2  If the queue is bounded, room is counted apart: tasks from their admission to their end. The
///     flag "somebody waits for room" is in the same word, so that whoever gives room back learns
///     by one operation whether anybody waits. If so, it is handed over, not given back. Who
///     gives it back because there is too little looks at the bound again afterwards, and who
///     raises the bound at the count, sequentially consistent: one of them admits who waits.
/// Q3  An item knows its queue before its submitter can be seen waiting for room, and is counted
///     before that is over: it may be cancelled, and so a husk, before it is pushed. Who empties
///     the queue waits for the push.
#pragma once

#include <weir/pool/detail/front_queue.hpp>
#include <weir/pool/detail/pool_item.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::detail {

class pool_engine;

/// Somebody who waits for room: lives in the awaiter.
struct room_waiter {
  pool_item* item = nullptr;
  pool_engine* pool = nullptr;
  /// To be resumed once the task has been admitted; empty if the task's own waiter is enough.
  waiter resume;
  room_waiter* next = nullptr;
  room_waiter* previous = nullptr;
  bool waits = false;
};

class WEIR_API queue_core {
 public:
  /// \param max_waiting 0: no bound.
  queue_core(std::unique_ptr<front_queue> items, std::size_t max_waiting);
  queue_core(const queue_core&) = delete;
  queue_core& operator=(const queue_core&) = delete;
  ~queue_core();

  [[nodiscard]] std::size_t max_waiting() const noexcept { return max_waiting_; }

  // Pools.
  /// Throws `errc::invalid_option` if a pool of another runtime uses the queue.
  void attach(const std::shared_ptr<pool_engine>& pool);
  /// By a pool's end. It is still counted until `forget`: tasks may be admitted for it.
  void detach(const pool_engine& pool) noexcept;
  void forget(const pool_engine& pool) noexcept;
  // Pools that run what waits, or will once they have slots again. Seq_cst: P6, and who leaves them
  // does so before it looks who is left.
  void runner_came() noexcept { runners_.fetch_add(1, std::memory_order_seq_cst); }
  void runner_left() noexcept { runners_.fetch_sub(1, std::memory_order_seq_cst); }
  [[nodiscard]] std::uint32_t runners() const noexcept {
    return runners_.load(std::memory_order_seq_cst);
  }
  // Pools that close and are not drained. Seq_cst: P4, against what is counted.
  void closing_began() noexcept { closing_.fetch_add(1, std::memory_order_seq_cst); }
  void closing_ended() noexcept { closing_.fetch_sub(1, std::memory_order_seq_cst); }
  [[nodiscard]] bool any_closing() const noexcept {
    return closing_.load(std::memory_order_seq_cst) != 0;
  }
  [[nodiscard]] bool shared() const noexcept {
    // Seq_cst: attach happens before the pools use the queue together.
    return shared_.load(std::memory_order_seq_cst);
  }
  /// The other pools of a shared queue, kept alive.
  [[nodiscard]] std::vector<std::shared_ptr<pool_engine>> pools() const noexcept;

  // Tasks.
  void push(pool_item& item) { items_->push(item); }
  void push(const word_call& callable) { items_->push(callable); }
  /// See `front_queue::pop`.
  [[nodiscard]] taken_call take(pool_slot& slot) noexcept { return items_->pop(slot); }
  /// What was taken, and counted so, waits again. Before it is pushed.
  void count_returned() noexcept { returned_.fetch_add(1, std::memory_order_seq_cst); } // Q1
  /// See `front_queue`.
  void wait_for_takers() noexcept { items_->wait_for_takers(); }
  /// Tasks that wait, as seen by a pool: with those that are about to be pushed.
  [[nodiscard]] std::int64_t waiting(const pool_engine& seen_by) const noexcept;

  /// A waiting task has become a husk.
  void withdrawn(thread_state& thread) noexcept;
  /// A husk has been taken out.
  void husk_left() noexcept { husks_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] pool_item* take_husks(bool& more) noexcept { return items_->take_husks(more); }
  /// Whether clearing husks is worth it.
  [[nodiscard]] bool has_many_husks(const pool_engine& seen_by) const noexcept;
  /// Waiting tasks that were cancelled so far: a figure.
  [[nodiscard]] std::uint64_t cancelled() const noexcept {
    return withdrawn_.load(std::memory_order_relaxed);
  }
  /// Whether nothing is in the queue, husks included.
  [[nodiscard]] bool empty(const pool_engine& seen_by) const noexcept {
    return waiting(seen_by) + husks_.load(std::memory_order_seq_cst) <= 0;
  }

  // Room.
  [[nodiscard]] bool bounded() const noexcept { return max_waiting_ != 0; }
  /// \return false if the queue is full or others wait for room.
  [[nodiscard]] bool try_reserve() noexcept;
  /// As try_reserve; else `w` belongs to the queue until its task has been admitted.
  [[nodiscard]] bool reserve_or_wait(room_waiter& w) noexcept;
  /// \return false if it does not wait any more.
  [[nodiscard]] bool withdraw(room_waiter& w) noexcept;
  void room_freed(thread_state& thread) noexcept;
  /// \return false if somebody waits; then room_freed is to be called.
  [[nodiscard]] bool free_room_nobody_waits_for() noexcept;
  /// A pool's limit has changed by so much.
  void capacity_changed(std::int64_t by, thread_state& thread) noexcept;

 private:
  static constexpr std::uint64_t waiters_flag = std::uint64_t{1} << 62;
  static constexpr std::uint64_t count_mask = waiters_flag - 1;

  /// What is to be admitted with room that was handed over.
  struct admission {
    pool_item* item = nullptr;
    std::shared_ptr<pool_engine> pool;
    waiter resume;
  };
  [[nodiscard]] std::uint64_t capacity() const noexcept;
  [[nodiscard]] admission next_admission() noexcept;
  /// Admits as many as there is room for.
  void admit_waiting(thread_state& thread) noexcept;
  void unlink(room_waiter& w) noexcept;
  static void admit(thread_state& thread, const admission& next) noexcept;

  const std::unique_ptr<front_queue> items_;
  const std::size_t max_waiting_;

  // Read by everybody, seldom written.
  alignas(sync::line_size) sync::atomic<bool> shared_{false};
  sync::atomic<std::uint32_t> runners_{0};
  sync::atomic<std::uint32_t> closing_{0};
  sync::atomic<std::int64_t> slots_{0};

  alignas(sync::line_size) sync::atomic<std::uint64_t> room_{0};
  // Husks in the queue. Seq_cst where it is raised and where it decides.
  sync::atomic<std::int64_t> husks_{0};
  sync::atomic<std::uint64_t> withdrawn_{0};
  sync::atomic<std::uint64_t> returned_{0};

  // Cold: pools, and waiting for room.
  mutable sync::mutex mutex_;
  struct member {
    const pool_engine* engine;
    std::weak_ptr<pool_engine> share;
  };
  std::vector<member> pools_;
  std::vector<const pool_engine*> counted_; // with those that have ended, until they are forgotten
  std::uint64_t accepted_before_ = 0;       // by pools that are forgotten
  room_waiter* first_ = nullptr;
  room_waiter* last_ = nullptr;
};

} // namespace weir::detail
