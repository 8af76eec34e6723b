// SPDX-License-Identifier: MIT
/// \file
/// The engine of all pools: slots, a front queue, admission, closing.
///
/// A task's way: reserve room -> push to the front queue -> count -> (a free slot takes the best)
/// -> runs -> its slot takes the next, its room goes to who waits for room.
///
/// P1  `load_` counts tasks that are in the front queue or in a slot, after the push. Whoever
///     raises it from below `size` owns a free slot, whoever lowers it from above `size` keeps its
///     slot;
///     in both cases it takes one task from the front queue, and one is there. So never more than
///     `size` tasks are in a slot, and no task waits while a slot is free.
/// P2  `admitted_` counts reserved room: tasks between their admission and their end. It holds the
///     flags `closed` and `waiters` in the same word, so that whoever gives room back learns by one
///     operation whether anything else is to do, and does not touch the engine afterwards if not.
///     While somebody waits for room, freed room is handed over instead of given back.
/// P3  The engine is drained when it is closed, nothing is admitted and nobody waits for room. Only
///     then may it be destroyed.
#pragma once

#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/version.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::detail {

/// Where a pool's tasks wait for a slot.
class WEIR_API front_queue {
 public:
  virtual ~front_queue();
  /// Any thread, without waiting for others. Throws `std::bad_alloc`; then nothing was pushed.
  virtual void push(task_block& task) = 0;
  /// Any thread. Takes the best task; null means none, or that others are taking at this moment.
  virtual task_block* pop() noexcept = 0;
};

/// A queue that is first in, first out for each submitting thread.
[[nodiscard]] WEIR_API std::unique_ptr<front_queue> make_fifo_queue();

class WEIR_API pool_engine final : public end_hook {
 public:
  /// Somebody who waits for room: lives in the awaiter.
  struct room_waiter {
    task_block* task = nullptr;
    /// To be resumed once the task has been admitted; empty if the task's own waiter is enough.
    waiter resume;
    room_waiter* next = nullptr;
    room_waiter* previous = nullptr;
    bool waits = false;
  };

  pool_engine(scheduler& home, std::size_t size, std::size_t max_waiting,
              std::unique_ptr<front_queue> queue);
  pool_engine(const pool_engine&) = delete;
  pool_engine& operator=(const pool_engine&) = delete;
  ~pool_engine();

  [[nodiscard]] scheduler& home() const noexcept { return *home_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t max_waiting() const noexcept { return max_waiting_; }
  /// A moment's number of tasks in the front queue and in slots.
  [[nodiscard]] std::size_t load() const noexcept {
    return static_cast<std::size_t>(load_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] bool closed() const noexcept {
    return (admitted_.load(std::memory_order_relaxed) & closed_flag) != 0;
  }

  /// Reserves room for one task. \return false if the pool is full or others wait for room.
  /// Throws `errc::pool_closed`, `errc::stopped`.
  [[nodiscard]] bool try_reserve();
  /// Gives reserved room back.
  void unreserve(thread_state& thread) noexcept;
  /// Queues a task for which room is reserved. Throws `std::bad_alloc`; then the room is given
  /// back.
  void admit(thread_state& thread, task_block& task);
  /// Admits the task of `w` now, or when there is room.
  /// \return whether it was admitted now; if not, `w` belongs to the engine until it has been.
  /// Throws as try_reserve and admit.
  [[nodiscard]] bool admit_or_wait(thread_state& thread, room_waiter& w);

  /// Takes back what waits for room, or for the engine to be drained.
  /// \return false if it does not wait any more.
  [[nodiscard]] bool withdraw(room_waiter& w) noexcept;
  [[nodiscard]] bool withdraw(waiter& w) noexcept;

  /// Refuses new tasks from now on; those waiting for room still get in.
  void close() noexcept;
  /// As close(), and tasks that have not started are cancelled.
  void cancel_waiting() noexcept;
  /// \return false if the engine is drained (P3); otherwise `w` is resumed when it is.
  [[nodiscard]] bool wait_drained(waiter& w);
  /// Blocks a thread that is no worker.
  void wait_drained() noexcept;
  /// Keeps the engine alive until it is drained.
  static void keep_until_drained(std::shared_ptr<pool_engine> engine) noexcept;

  void slot_freed(thread_state& thread) noexcept override;
  void task_published(thread_state& thread) noexcept override;

 private:
  static constexpr std::uint64_t closed_flag = std::uint64_t{1} << 63;
  static constexpr std::uint64_t waiters_flag = std::uint64_t{1} << 62;
  static constexpr std::uint64_t count_mask = waiters_flag - 1;

  void enter(thread_state& thread) noexcept;
  [[nodiscard]] task_block& take() noexcept;
  void start(thread_state& thread, task_block& task) noexcept;
  void room_freed(thread_state& thread) noexcept;
  /// What is to be admitted with room that was handed over.
  struct admission {
    task_block* task = nullptr;
    waiter resume;
  };
  [[nodiscard]] admission hand_over_room() noexcept;
  void unlink(room_waiter& w) noexcept;
  void admit_waiter(thread_state& thread, const admission& next) noexcept;
  void finish_drain() noexcept;

  scheduler* home_;
  const std::size_t size_;
  const std::size_t max_waiting_;
  const std::uint64_t capacity_;
  const std::unique_ptr<front_queue> queue_;
  sync::atomic<bool> cancelling_{false};

  alignas(sync::line_size) sync::atomic<std::uint64_t> admitted_{0};
  sync::atomic<std::uint64_t> load_{0};

  // Cold: waiting for room, closing. Guarded by mutex_.
  alignas(sync::line_size) sync::mutex mutex_;
  room_waiter* first_ = nullptr;
  room_waiter* last_ = nullptr;
  std::vector<waiter*> drain_waiters_;
  std::shared_ptr<pool_engine> keep_alive_;
  bool drained_ = false;
  sync::atomic<std::uint32_t> drained_word_{0};
};

} // namespace weir::detail
