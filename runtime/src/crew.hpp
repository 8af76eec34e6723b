// SPDX-License-Identifier: MIT
// Who works: the slots of a runtime's workers, and the threads that come and go in them.
//
// A slot is a worker object. Slots are made when they are first needed and live as long as the
// runtime, so that thieves and sums may read a slot whose thread has left. A thread in a slot is
//
//   active   it runs tasks, looks for some, or sleeps until there are some
//   blocked  its task is inside weir::blocking
//   spare    it is parked, without tasks, until a task blocks or its keep-alive is over
//   leaving  it has given up its place and will end, unless it is needed again by then
//
// All of these are counted under one mutex; what every job and every submission must know of them
// is in two words beside. User code never runs under the mutex.
//
// E1  A thread leaves its slot under the mutex, as its last touch of it; only then may another one
//     be started there.
// E2  A worker gives up its place under the mutex, while the runtime is open and more are active
//     than wanted. Before that it does W2 if it was counted as a searcher, moves all of its queues
//     to the injector and does W1: whatever it was woken for is passed on.
// E3  Whoever raises the surplus looks at the sleepers afterwards; a sleeper looks at the surplus
//     after it was pushed. Both sequentially consistent, as in W1 and W3: nobody oversleeps.
// E4  A thread that is started or recalled for a backlog is counted as a searcher before that, so
//     that publishers may rely on it from then on. If it cannot be started, W2 is the starter's.
// E5  A thread whose start or stop hook may run is in transit: its tasks are not all counted yet.
//     The runtime is not declared stopped meanwhile (S3), and whoever ends its transit does S3.
// E6  Once the runtime has left the state open nobody gives up a place any more. Threads are still
//     started for those that block, until join().
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::detail {

class scheduler;
class worker;

class crew {
 public:
  /// Makes the slots of the first workers. The scheduler's options are read.
  explicit crew(scheduler& owner);
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;
  ~crew();

  // Slots, any thread.
  /// How many slots have been made. Seq_cst: pairs with make_slot; whoever sees what a worker has
  /// published sees its slot.
  [[nodiscard]] std::size_t slots() const noexcept {
    return slots_made_.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] worker& at(std::size_t index) const noexcept { return *slots_[index]; }

  // What hot paths read. Relaxed: hints, the mutex decides.
  /// How many workers are wanted.
  [[nodiscard]] std::size_t target() const noexcept {
    return target_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool has_surplus() const noexcept {
    return surplus_.load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] bool may_grow() const noexcept { return may_grow_.load(std::memory_order_relaxed); }

  // Any thread.
  /// Starts the first workers. \return how many run, and the error number that ended it.
  struct started {
    std::size_t count;
    int error;
  };
  [[nodiscard]] started start() noexcept;
  /// See runtime::resize.
  void resize(std::size_t wanted);
  /// One more worker if the bounds allow and nobody sleeps or searches. \return whether one comes.
  [[nodiscard]] bool grow() noexcept;
  /// Lets workers go that have been asleep for longer than the keep-alive, down to min_workers.
  void retire_idle(sync::time_point now) noexcept;
  /// E3, for whoever raised the surplus, and for sleepers.
  void wake_surplus() noexcept;

  // Shutdown.
  /// E6. Recalls the spares.
  void close() noexcept;
  /// Joins all threads once the runtime has stopped, or lets go of them.
  void join() noexcept;
  void detach() noexcept;
  /// Whether nobody is in transit (E5). Acquire-release: every caller sees what those did that
  /// called before.
  [[nodiscard]] bool settled() noexcept {
    return transit_.fetch_add(0, std::memory_order_acq_rel) == 0;
  }

  // A worker's own thread.
  /// After the start hook: the thread works now.
  void arrived() noexcept;
  /// At a job's end, with empty queues and not searching, when there is a surplus. May park the
  /// worker as a spare. \return false if the worker must leave.
  [[nodiscard]] bool keeps_place(worker& self) noexcept;
  /// After the stop hook of a worker that gave up its place. \return true if it is needed again;
  /// else the slot is vacant and not to be touched any more.
  [[nodiscard]] bool returns(worker& self) noexcept;
  void enter_blocking() noexcept;
  void leave_blocking() noexcept;

  void fill(runtime_stats& stats) const;

 private:
  enum class phase : std::uint8_t { open, closing, ended };

  // All with the mutex held.
  void update() noexcept;
  [[nodiscard]] std::size_t occupied() const noexcept;
  [[nodiscard]] bool is_short() const noexcept;
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] bool may_grow_by_itself() const noexcept;
  /// Whether a thread was started that has not looked for work yet.
  [[nodiscard]] bool somebody_arrives() const noexcept;
  void make_slot();
  /// There must be room without spares.
  [[nodiscard]] worker& vacant_slot();
  [[nodiscard]] int place_one(bool searching, sync::thread& left) noexcept;

  /// E4's other half.
  /// \return whether it was the last searcher, there is work, and nobody sleeps.
  bool give_up_search() noexcept;
  [[nodiscard]] bool stand_in(bool for_blocking) noexcept;
  [[nodiscard]] bool wait_as_spare(worker& self) noexcept;
  /// Joins threads that have left their slots.
  void reap() noexcept;

  scheduler& owner_;
  const std::size_t capacity_;
  const std::unique_ptr<std::unique_ptr<worker>[]> slots_;

  // Written under the mutex, read by everybody.
  alignas(sync::line_size) sync::atomic<std::size_t> surplus_{0};
  sync::atomic<bool> may_grow_{false};
  sync::atomic<std::size_t> target_;
  sync::atomic<std::size_t> slots_made_{0};
  // When a start may be tried again after one failed, in the steady clock's units.
  sync::atomic<std::chrono::steady_clock::rep> retry_at_{0};

  alignas(sync::line_size) mutable sync::mutex mutex_;
  phase phase_ = phase::open;
  bool detached_ = false;
  std::size_t active_ = 0;
  std::size_t blocked_ = 0;
  std::size_t leaving_ = 0;
  // How much of the surplus becomes spares instead of leaving.
  std::size_t spare_credit_ = 0;
  std::vector<worker*> spares_; // the newest last; has room for all
  std::chrono::steady_clock::duration retry_delay_{};
  std::uint64_t threads_started_ = 0;
  std::uint64_t start_failures_ = 0;
  std::uint64_t stand_ins_ = 0;
  std::uint64_t blocking_refused_ = 0;

  sync::atomic<std::uint32_t> transit_{0};
};

} // namespace weir::detail
