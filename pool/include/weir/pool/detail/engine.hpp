// SPDX-License-Identifier: MIT
/// \file
/// The engine of a pool: slots, admission, scaling, closing.
///
/// A task's way: room is reserved -> it is counted -> pushed to the front queue -> a slot takes the
/// best one -> it runs -> the slot takes the next.
///
/// P1  `active_` counts slots in use. Who submits looks at it after the task was counted and
/// pushed,
///     and activates a slot if fewer than `target_` are. A slot that finds nothing is given back
///     and then looks whether anybody waits (both sequentially consistent): one of the two sees the
///     other, so that no task waits while a slot is free. `target_` is raised before who waits is
///     looked at, by the same order. Slots that only take husks or what is to be cancelled out of
///     the queue are counted in `helpers_`, not here: they take no task's place. If pools share the
///     queue, a slot that leaves although somebody waits tells the others.
/// P2  A slot is a job of the runtime. It picks its task when a worker runs it, not before, runs
///     tasks in a row as long as they end at once, and is left alone by its worker when its task is
///     suspended: whoever ends the task lets the slot go on.
/// P3  Control does not travel through the queue: `target_` is lowered at once, and a slot above it
///     is given back when its task has ended.
/// P4  A pool is drained when it is closed and nothing waits, neither for a slot nor for room, no
///     husk is left in a queue of its own, and no slot is in use. "Closed" is looked at after a
///     task was counted, and the count after "closed" was set, all sequentially consistent: no task
///     gets in behind a drained pool. Whoever changes one of these looks for closing pools; who
///     takes counts that in a weaker order, but then under a flag that who closes goes through. If
///     something is left then that no slot will take, a sweep is begun; so it does not matter who
///     got in between the last slot and the close.
/// P5  A slot that has taken a task stores it in `task_` and then looks whether it is to be
///     cancelled. Who cancels says so in `flags_` and then looks at the slots, all sequentially
///     consistent: one of the two sees the other.
/// P6  What a closing pool has taken may belong to another pool that has come to the queue since.
///     The other one came before it submitted; so a look after the task was taken is enough.
/// P7  `target_` and "closed" change under the mutex: the limit of a closed pool stays 0.
/// P8  A pool is one of its queue's runners while it is open, and while it closes until it is
///     drained, unless it has no slots then or is to cancel what waits. What waits is cancelled if
///     a pool that closes asks for that, or has no slots, and no other runner is left. Who stops
///     being a runner has all closing pools look again.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/pool/detail/queue_core.hpp>
#include <weir/pool/detail/striped_count.hpp>
#include <weir/pool/detail/task_table.hpp>
#include <weir/pool/stats.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace weir::detail {

class pool_engine;

/// One unit of a pool's concurrency, while it is in use and afterwards until it is used again.
class pool_slot final : public accepted_job {
 public:
  explicit pool_slot() noexcept : accepted_job(&run_slot) {}
  pool_slot(const pool_slot&) = delete;
  pool_slot& operator=(const pool_slot&) = delete;

  /// Its task's outcome stands; then its end has been published.
  /// \param how none if it was cancelled before it started, when the slot had just taken it.
  void task_left(pool_item& item, std::optional<task_end> how) noexcept;
  void go_on(thread_state& thread) noexcept;

  [[nodiscard]] pool_engine& pool() const noexcept { return *pool_; }

 private:
  friend class pool_engine;

  enum turn : std::uint32_t { with_runner, runner_left, ended };

  static void run_slot(job& self, thread_state& thread) noexcept;
  static void clear(pool_slot* slot, thread_state& thread) noexcept;
  /// Runs one task. \return whether it has ended.
  [[nodiscard]] bool run_task(pool_item& item, thread_state& thread) noexcept;
  /// \param undisturbed what pool_engine::undisturbed() said after it was taken.
  void run_posted(const taken_call& call, thread_state& thread, bool undisturbed) noexcept;
  /// Whether its task is to be cancelled: P5.
  [[nodiscard]] bool discards() const noexcept;
  /// Whether there may be more for it in the queue.
  [[nodiscard]] bool expects_more() const noexcept;
  /// Whether what it takes now is for other pools: P6.
  [[nodiscard]] bool takes_from_others() const noexcept;
  /// Gives the room of the last task to who waits for it. Not before the next task was taken: who
  /// waits is to come behind it, also where the queue keeps no order between threads. If nobody
  /// waits, the task has given it back, before its end could be seen if it has run.
  void give_room(thread_state& thread) noexcept;

  pool_engine* pool_ = nullptr;
  std::shared_ptr<pool_engine> keep_; // while in use
  std::uint32_t index_ = 0;
  enum class duty : std::uint8_t { run, sweep, clear, leave };
  duty duty_ = duty::run;
  bool ended_here_ = false;
  bool owes_room_ = false;
  std::int64_t since_ = task_block::no_stamp; // when its task started, if that is measured
  sync::atomic<thread_state*> runner_{nullptr};
  sync::atomic<std::uint32_t> turn_{with_runner};
  // What it runs, if that can be stopped; the lowest bit pins it.
  sync::atomic<std::uintptr_t> task_{0}; // P5
  sync::atomic<std::uint32_t> next_free_{0};
  // Figures of whoever holds the slot.
  sync::atomic<std::uint64_t> taken_{0};
  std::array<sync::atomic<std::uint64_t>, 3> ended_{};
  sync::atomic<std::uint64_t> cancelled_here_{0}; // before they started
};

/// Somebody who waits until a pool has nothing left: lives in the awaiter.
class WEIR_API pool_watcher : public list_awaiter<pool_watcher> {
 public:
  enum class until : std::uint8_t { queue_empty, drained };
  pool_watcher(std::shared_ptr<pool_engine> pool, until what) noexcept
      : list_awaiter(&withdraw), pool_(std::move(pool)), what_(what) {}

  pool_watcher(pool_watcher&& unused) noexcept
      : list_awaiter(std::move(static_cast<list_awaiter&>(unused))), pool_(std::move(unused.pool_)),
        what_(unused.what_) {}

  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    require_stranger(parent.promise());
    return list_awaiter::await_suspend(parent);
  }
  void await_resume() const { check(); }

  [[nodiscard]] bool wait_or_take() noexcept;

 private:
  void require_stranger(promise_base& promise) const;
  static bool withdraw(suspension& self) noexcept;

  std::shared_ptr<pool_engine> pool_;
  until what_;
};

class WEIR_API pool_engine final : public std::enable_shared_from_this<pool_engine> {
 public:
  /// Without slots and not open.
  pool_engine(scheduler& home, std::shared_ptr<queue_core> queue, std::uint64_t time_every);
  pool_engine(const pool_engine&) = delete;
  pool_engine& operator=(const pool_engine&) = delete;
  ~pool_engine();

  [[nodiscard]] scheduler& home() const noexcept { return *home_; }
  [[nodiscard]] queue_core& queue() const noexcept { return *queue_; }
  /// Its tasks that have ids.
  [[nodiscard]] task_table& tasks() noexcept { return tasks_; }

  // Submitting.
  /// Throws `errc::stopped`, `pool_is_closed`, `not_available`.
  void require_open() const;
  /// Queues a task for which room is reserved. Throws `pool_is_closed` if the pool is closed just
  /// now, and `std::bad_alloc`; then the room is given back.
  void admit(thread_state& thread, pool_item& item);
  /// The same of a callable without an item.
  void admit(thread_state& thread, const word_call& callable);
  /// Admits the task of `w` now, or when there is room.
  /// \return whether it was admitted now; if not, `w` belongs to the queue until it has been.
  /// Throws as require_open and admit.
  [[nodiscard]] bool admit_or_wait(thread_state& thread, room_waiter& w);

  // Control.
  /// Adds to the limit within bounds, unless the pool is closed. \return the new limit. Fewer:
  /// `hard` requests stop of running tasks as far as free slots do not do.
  std::size_t scale(std::int64_t by, std::size_t least, std::size_t most, bool hard) noexcept;
  [[nodiscard]] std::size_t target() const noexcept {
    return static_cast<std::size_t>(target_.load(std::memory_order_relaxed));
  }
  /// Before the pool is used: its limit rises by itself when tasks wait.
  void grow_by_itself() noexcept { grows_ = true; }
  /// Whether whoever `scope` belongs to holds the only slot that could ever run what waits.
  [[nodiscard]] bool only_slot_is_of(task_scope& scope) const noexcept {
    return target() <= 1 && !grows_ && scope.root().holds_slot_of(this) && !has_others();
  }
  /// The same, and the only slot whose task makes room when it ends.
  [[nodiscard]] bool only_room_is_of(task_scope& scope) const noexcept {
    return only_slot_is_of(scope) && active_.load(std::memory_order_seq_cst) <= 1;
  }
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t waiting() const noexcept;
  [[nodiscard]] std::size_t running() const noexcept;
  [[nodiscard]] pool_stats stats() const noexcept;

  [[nodiscard]] bool paused() const noexcept {
    return (flags_.load(std::memory_order_relaxed) & ~runner_flag) != 0;
  }
  [[nodiscard]] bool closing() const noexcept {
    // Seq_cst: P4.
    return (flags_.load(std::memory_order_seq_cst) & closed_flag) != 0;
  }
  [[nodiscard]] bool drained() const noexcept;
  /// \return the new value.
  bool toggle_pause() noexcept;
  void set_paused(bool paused) noexcept;

  /// Opens it again after it was closed and drained. Throws `errc::pool_closed` while it closes.
  void open(std::size_t target);
  /// Refuses new tasks from now on; those waiting for room still get in.
  void close() noexcept;
  /// Requests stop of all running tasks. \return how many.
  std::size_t stop_running(std::size_t at_most = SIZE_MAX) noexcept;
  /// Cancels what waits in a closing pool, once no other runner of the queue is left.
  void cancel_waiting() noexcept;
  /// Whether a closing pool has come to that.
  [[nodiscard]] bool reached(pool_watcher::until what) noexcept;
  /// Blocks a thread that is no worker until the pool is drained.
  void wait_drained() noexcept;
  // By a task whose callbacks are still to be run: the pool is not drained before. Seq_cst: P4.
  void help_began() noexcept { helpers_.fetch_add(1, std::memory_order_seq_cst); }
  void help_ended() noexcept;
  /// A pool's end: as close(), lets go of the queue, cancels what nobody else can run.
  void abandon() noexcept;

 private:
  friend class pool_slot;
  friend class pool_watcher;
  friend class queue_core;

  static constexpr std::uint32_t closed_flag = 1;
  static constexpr std::uint32_t paused_flag = 2;
  static constexpr std::uint32_t cancelling_flag = 4;
  static constexpr std::uint32_t abandoned_flag = 8;
  static constexpr std::uint32_t runner_flag = 16;
  static constexpr std::size_t chunk_count = 30;
  static constexpr std::uint32_t first_chunk = 4;

  // Slots.
  [[nodiscard]] bool acquire() noexcept;
  [[nodiscard]] bool has_free_slot() const noexcept {
    // Seq_cst: P1, after the count.
    return active_.load(std::memory_order_seq_cst) < target_.load(std::memory_order_seq_cst);
  }
  /// With a slot acquired, or a helper counted.
  [[nodiscard]] pool_slot& occupy(pool_slot::duty what) noexcept;
  void activate(thread_state& thread, pool_slot::duty what = pool_slot::duty::run) noexcept;
  /// After a push.
  void see_to_slot(thread_state& thread) noexcept;
  /// Lets another pool that shares the queue see to what waits.
  void see_to_others(thread_state& thread) noexcept;
  /// After the limit was raised.
  void see_to_waiting(thread_state& thread) noexcept;
  /// After the limit was changed.
  void limit_changed(std::uint64_t before, std::uint64_t now, bool hard) noexcept;
  /// \return whether that is under way; false on a drained pool.
  [[nodiscard]] bool clear_husks(thread_state& thread) noexcept;
  /// Whether the queue has other runners (P8). Seq_cst: P6.
  [[nodiscard]] bool has_others() const noexcept {
    // In this order, see leave_runners.
    const auto all = queue_->runners();
    const bool runs = (flags_.load(std::memory_order_seq_cst) & runner_flag) != 0;
    return all > (runs ? 1U : 0U);
  }
  /// P8. Under the mutex.
  void leave_runners() noexcept;
  /// Whether no pool of its queue is at closing, so that a slot may take its next task for this
  /// one and need not look whether it is to be cancelled. Seq_cst: P4, P5, P6.
  [[nodiscard]] bool undisturbed() const noexcept {
    constexpr auto harmless = paused_flag | runner_flag;
    return (flags_.load(std::memory_order_seq_cst) & ~harmless) == 0 && !queue_->shared();
  }
  /// A hint: whether lower_surplus() would succeed.
  [[nodiscard]] bool has_surplus() const noexcept {
    return active_.load(std::memory_order_relaxed) > target_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool lower_surplus() noexcept;
  /// Gives a slot back that `active_` does not count any more, unless somebody waits and it can be
  /// acquired again. \return whether it was given back; then neither may be there any more.
  [[nodiscard]] bool give_back(pool_slot& slot, thread_state& thread) noexcept;
  /// Gives a helper's slot back. Neither may be there any more afterwards.
  void end_help(pool_slot& slot) noexcept;
  void release_slot(pool_slot& slot) noexcept;
  /// Has a task that this pool's slot must not cancel wait again, for the pools it may belong to.
  void put_back(thread_state& thread, const taken_call& call) noexcept;
  template <class Task>
  void push_surely(Task& task) noexcept;
  [[nodiscard]] pool_slot& free_slot() noexcept;
  void put_free(pool_slot& slot) noexcept;
  [[nodiscard]] pool_slot* slot_at(std::uint32_t index) const noexcept;
  void make_chunk(std::uint32_t chunk) noexcept;
  template <class F>
  void for_each_slot(const F& f) const noexcept;

  struct figures {
    std::array<std::uint64_t, 3> ended{};
    std::uint64_t unstarted = 0;
    std::uint64_t running = 0;
  };
  [[nodiscard]] figures look_at_slots() const noexcept;
  [[nodiscard]] std::int64_t now() const noexcept;
  [[nodiscard]] std::uint64_t count(thread_state& thread);
  template <class Task>
  void push_counted(thread_state& thread, Task& task);
  void take_back_count(thread_state& thread) noexcept;
  /// Pushes, and enters a task that is tracked.
  void push_entered(pool_item& item);
  void push_entered(const word_call& callable);
  /// Of a task that has waited for room, before it can be cancelled. Then it is pushed.
  void stamp_accepted(pool_item& item) noexcept;
  void push_accepted(thread_state& thread, pool_item& item) noexcept;
  /// Ends the waits of whoever watches a closed pool.
  void settle() noexcept;
  void settle_if_closing() noexcept {
    if (closing())
      settle();
  }
  /// The same of all pools that use the queue, after a change of what waits.
  void settle_all() noexcept;

  scheduler* home_;
  const std::shared_ptr<queue_core> queue_;
  const std::uint64_t time_mask_;
  bool grows_ = false;

  // Read by everybody, seldom written.
  alignas(sync::line_size) sync::atomic<std::uint64_t> active_{0};
  sync::atomic<std::uint64_t> target_{0};
  sync::atomic<std::uint32_t> flags_{paused_flag | runner_flag};
  sync::atomic<bool> clearing_{false};
  sync::atomic<std::uint64_t> peak_{0};
  striped_count accepted_; // by every submitter

  alignas(sync::line_size) sync::atomic<std::uint64_t> free_{0}; // number + 1, tag above
  sync::atomic<std::uint32_t> slots_{0};
  std::array<sync::atomic<pool_slot*>, chunk_count> chunks_{};
  sync::atomic<std::uint64_t> room_waiters_{0};
  sync::atomic<std::uint64_t> helpers_{0};
  task_table tasks_;
  histogram_recorder queue_delay_;
  histogram_recorder run_time_;

  // Cold: closing. Guarded by mutex_.
  mutable sync::mutex mutex_;
  wait_list until_empty_;
  wait_list until_drained_;
  bool drained_ = false;
  sync::atomic<std::uint32_t> drained_word_{0};
};

} // namespace weir::detail
