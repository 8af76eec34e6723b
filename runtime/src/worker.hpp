// SPDX-License-Identifier: MIT
// One worker: a thread, its queues, and the loop that reads as the protocol:
// take_local -> take_injected -> take_rest -> steal -> announce -> look again -> park.
#pragma once

#include "batch_ring.hpp"
#include "injector.hpp"
#include "parker.hpp"
#include "ready_deque.hpp"
#include "timer_queue.hpp"
#include "wake_place.hpp"

#include <weir/detail/ended_children.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/job.hpp>
#include <weir/detail/sync.hpp>
#include <weir/stats.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace weir::detail {

class scheduler;
class timer_shard;

/// What a worker is woken for.
enum class wake_for : std::uint8_t {
  job,
  next_slot,   // a job in a next slot (W4)
  shared_work, // what is more than the waker, which goes on computing, can do at once (P1)
};

class worker {
 public:
  worker(scheduler& owner, std::size_t index);
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker();

  // Under the crew's mutex.
  /// Whether a thread is in this slot, or is about to be.
  bool occupied = false;
  /// Starts a thread in this slot, which keeps the scheduler alive. `searching`: it has been
  /// counted as a searcher. \return the error number, 0 if it runs.
  [[nodiscard]] int start_thread(bool searching);
  /// The slot's last thread, if nobody has taken it.
  [[nodiscard]] sync::thread take_thread() noexcept {
    return std::exchange(os_thread_, sync::thread());
  }
  /// Ends wait_as_spare of this worker.
  void recall(bool searching) noexcept;

  // Any thread.
  /// Of a worker that was taken off the idle set.
  void unpark(wake_for what) noexcept;
  void poke() noexcept { parker_.poke(); }
  /// Until when it sleeps as the keeper.
  [[nodiscard]] timer_queue::key sleeps_until() const noexcept {
    return sleeps_until_.load(std::memory_order_seq_cst); // K1
  }
  [[nodiscard]] std::size_t index() const noexcept { return index_; }
  /// Whether others could take something from it. \param in_slot from its next slot too.
  [[nodiscard]] bool has_visible_work(bool in_slot) const noexcept;
  [[nodiscard]] std::uint64_t injector_takes() const noexcept {
    // Seq_cst: I3 reads "taken" before "published".
    return counters_.injector_takes.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] std::uint64_t ended() const noexcept {
    // Acquire: pairs with thread_state::count_ended, so that accepted() then counts these tasks
    // too.
    return counters_.ended.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t spawned() const noexcept {
    return counters_.spawned.load(std::memory_order_acquire);
  }
  [[nodiscard]] worker_stats stats() const noexcept;
  /// How long it has been asleep.
  [[nodiscard]] sync::time_point::duration asleep_for(sync::time_point now) const noexcept;

  [[nodiscard]] fork_stack& forks() noexcept { return forks_; }
  [[nodiscard]] ended_children& group_ends() noexcept { return group_ends_; }

  /// How many times the coroutines of one job may fork until it unwinds if others wait.
  static constexpr std::uint32_t fork_budget = 16'384;

  // The worker's own thread.
  /// Whether other work waits for this worker, which it then takes next. For a job that has used up
  /// its fork budget.
  [[nodiscard]] bool others_wait() noexcept;
  /// G3: whether to leave the rest of a loop's piece, which must then be done.
  [[nodiscard]] bool should_leave_loop() noexcept;
  /// A new root task from code on this worker. A full deque overflows into the injector; throws
  /// `std::bad_alloc` if there is no memory for that.
  void spawn(job& j);
  /// The same of a packet, which waits behind everything else.
  void spawn(packet& p);
  /// Whether more jobs in the deque would not help thieves.
  [[nodiscard]] bool has_many_ready() noexcept {
    return blocking_depth_ != 0 || deque_.holds(many_ready);
  }
  /// Counts `count` root tasks as accepted; their jobs follow by push().
  void count_spawned(std::size_t count) noexcept;
  void push(job& j) noexcept;
  /// A job that was just woken: it runs next.
  void push_next(job& j) noexcept;
  /// Behind everything that waits.
  void push_last(job& j) noexcept;
  /// W1, counted as this worker's.
  void wake_another(wake_for what = wake_for::job) noexcept;
  /// Moves the chain and all queues to the injector, where busy workers find them too, and does W1.
  void hand_over() noexcept;
  /// weir::blocking on this worker. What its task submits meanwhile goes to the injector.
  void enter_blocking() noexcept;
  void leave_blocking() noexcept;
  // For the crew: a spare's bed.
  [[nodiscard]] bool recalled() const noexcept;
  /// \return false if the deadline has passed.
  bool sleep_as_spare(sync::time_point deadline) noexcept;
  void accept_recall() noexcept;

 private:
  /// A job to run, and the slot to free afterwards if it sits in the batch ring.
  struct found {
    job* work = nullptr;
    batch_ring::claim slot;
    [[nodiscard]] explicit operator bool() const noexcept { return work != nullptr; }
  };

  /// A worker whose next slot a thief has seen taken, and how many jobs it had run then.
  struct watched_slot {
    std::size_t worker = 0;
    std::uint64_t ran = 0;
  };

  /// Every beat-th job comes from the injector and the one after it from the deque's old end, so
  /// that neither starves behind newer work (docs/scheduler.md, fairness). A prime, so that it does
  /// not fall in step with a program's own rhythm.
  static constexpr std::uint32_t beat = 61;
  /// How many timers that are due are taken at once, and how often in a row once the beat has come
  /// to them.
  static constexpr std::size_t due_batch = 16;
  static constexpr std::uint32_t due_streak = 4;
  /// How long next slots are not looked at while nobody searches (W4).
  static constexpr std::chrono::microseconds watch_interval{200};
  /// How often in a row the next slot may win over the deque.
  static constexpr std::uint32_t next_streak = 16;
  static constexpr std::uint32_t chain_length = 32;
  /// As many jobs in the deque are enough for thieves: they take 33 at once at the most.
  static constexpr std::int64_t many_ready = 256;

  /// A fork that this worker has stolen, to be run by its loop.
  struct stolen_job : job {
    stolen_job() noexcept : job(&run_stolen) {}
    static void run_stolen(job& self, thread_state& thread) noexcept;
    stolen_fork taken;
  };

  static void* thread_main(void* self) noexcept;
  void run_loop() noexcept;
  /// Runs tasks. \return true when the runtime has stopped, false if the worker gave up its place.
  [[nodiscard]] bool work() noexcept;
  /// A root task that is counted already goes to the injector; see spawn().
  void overflow(packet& p);
  /// Moves one job to the injector, waiting for memory if need be.
  void inject(packet& p) noexcept;
  void execute(found f) noexcept;
  [[nodiscard]] found take_local() noexcept;
  [[nodiscard]] found take_injected() noexcept;
  /// G3: what this worker has left of a loop.
  [[nodiscard]] found take_rest() noexcept;
  [[nodiscard]] found take_at_beat() noexcept;
  [[nodiscard]] found take_due() noexcept;
  [[nodiscard]] found take_any_due() noexcept;
  /// Fires timers that are due in `shard`. \return whether there were any.
  [[nodiscard]] bool fire_due(timer_shard& shard, found& first) noexcept;
  void sleep(bool watches) noexcept;
  [[nodiscard]] found search() noexcept;
  [[nodiscard]] found steal() noexcept;
  [[nodiscard]] found steal_from(worker& victim) noexcept;
  /// The next slot of a worker that has come back to its loop for no other job since this one saw
  /// the slot taken: a coroutine woken by one that is about to wait is best run where both are
  /// warm.
  [[nodiscard]] found steal_next() noexcept;
  [[nodiscard]] found steal_fork_of(fork_stack& victim) noexcept;
  [[nodiscard]] found wait_for_work() noexcept;
  void call_hook(const std::function<void(std::size_t)>& hook) noexcept;
  std::uint32_t random() noexcept;

  struct alignas(sync::line_size) counters {
    sync::atomic<std::uint64_t> run{0};
    sync::atomic<std::uint64_t> spawned{0};
    sync::atomic<std::uint64_t> ended{0};
    sync::atomic<std::uint64_t> stolen{0};
    sync::atomic<std::uint64_t> stolen_forks{0};
    sync::atomic<std::uint64_t> failed_steals{0};
    sync::atomic<std::uint64_t> parks{0};
    sync::atomic<std::uint64_t> wakes{0};
    sync::atomic<std::uint64_t> injector_takes{0};
    sync::atomic<std::uint64_t> overflows{0};
  };

  // Owner only.
  scheduler& owner_;
  const std::size_t index_;
  thread_state* thread_ = nullptr;
  std::uint32_t until_beat_ = beat;
  std::uint32_t patience_ = 0;
  std::uint32_t streak_ = 0;
  std::array<watched_slot, 8> watched_{};
  std::size_t watched_count_ = 0;
  std::size_t next_victim_ = 0;
  // Whether the last search saw a job in a next slot whose worker then ran it.
  bool slots_move_ = false;
  // How many jobs had run when this worker left a loop.
  std::uint64_t left_loop_at_ = 0;
  // Not 0: no task runs here that may use the worker's own queues, see weir::blocking; in hooks
  // too.
  std::uint32_t blocking_depth_ = 1;
  std::uint32_t suspended_budget_ = 0;
  // Whoever started or recalled this worker has counted it as a searcher (E4).
  bool arrives_searching_ = false;
  std::uint32_t due_left_ = 0;
  timer_queue::key due_at_ = 0;
  std::size_t next_shard_ = 0;
  // How long the next search spins, and when the last one began that found nothing.
  std::chrono::nanoseconds spin_;
  sync::time_point vain_from_;
  std::uint32_t random_;
  injector::producer* entrance_ = nullptr;
  moodycamel::ConsumerToken consumer_;
  packet stolen_;
  stolen_job stolen_fork_;
  ended_children group_ends_;
  std::shared_ptr<scheduler> keep_alive_;
  sync::thread os_thread_;

  // Shared with thieves and wakers, each on lines of its own.
  counters counters_;
  fork_stack forks_;
  ready_deque deque_;
  batch_ring ring_;
  alignas(sync::line_size) sync::atomic<job*> next_{nullptr};
  alignas(sync::line_size) parker parker_;
  sync::atomic<timer_queue::key> sleeps_until_{timer_queue::never};
  sync::atomic<std::uint32_t> spare_word_{0};
  // When somebody has woken it, in the steady clock's units.
  sync::atomic<std::chrono::steady_clock::rep> woken_at_{0};
  // When it went to sleep, in the steady clock's units; 0: it is awake. Kept if elastic.
  sync::atomic<std::chrono::steady_clock::rep> asleep_since_{0};
  wake_place place_; // last: its mask, which is seldom used, fills two lines
};

} // namespace weir::detail
