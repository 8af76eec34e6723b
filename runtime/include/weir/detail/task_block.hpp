// SPDX-License-Identifier: MIT
/// \file
/// The control block of a root task: what a handle and the runtime share.
///
/// Life: made by the submitter with two references (handle, runtime) -> started by a worker or
/// dropped -> complete() -> last reference gone. One that is cancelled before it starts has its
/// outcome at once, and is retired when it leaves its queue. `waiter_` is the only point where both
/// sides meet. Bits: `done`; `threads`, a thread may sleep on `wake_word_`; `detached`, the handle
/// is gone; the rest points to the coroutine that awaits the task.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/error.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <exception>
#include <limits>

namespace weir::detail {

class task_block;
class tracked_task;

/// A suspended coroutine that waits for something: what to run, and where.
struct waiter {
  scheduler* home = nullptr;
  job* resume = nullptr;
  /// Set if the wait can be given up: then this decides whether and what to resume.
  suspension* wait = nullptr;

  /// The job to schedule at `home`, or null. The waiter may be gone afterwards.
  [[nodiscard]] job* complete() const noexcept {
    return wait == nullptr ? resume : wait->complete();
  }
};

class WEIR_API task_block : public accepted_job, protected task_scope {
 public:
  task_block(const task_block&) = delete;
  task_block& operator=(const task_block&) = delete;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

  /// The runtime that has accepted the task.
  [[nodiscard]] scheduler& home() const noexcept { return *reinterpret_cast<scheduler*>(origin_); }
  [[nodiscard]] task_scope& scope() noexcept { return *this; }
  /// The task of a root's scope.
  [[nodiscard]] static task_block& of(task_scope& root) noexcept {
    return static_cast<task_block&>(root);
  }
  /// Whether this is a task of the pool that `owner` stands for, and runs in one of its slots or
  /// its callbacks, which the pool waits for.
  [[nodiscard]] virtual bool belongs_to(const void* /*owner*/) noexcept { return false; }
  /// The same, and holds a slot.
  [[nodiscard]] virtual bool holds_slot_of(const void* /*owner*/) noexcept { return false; }
  /// Of a pool: what the task has besides, see tracked_task.hpp.
  [[nodiscard]] virtual tracked_task* tracked_part() noexcept { return nullptr; }

  [[nodiscard]] bool done() const noexcept {
    // Acquire: pairs with the release half of the exchange in publish; the outcome is seen.
    return (waiter_.load(std::memory_order_acquire) & done_bit) != 0;
  }

  /// Of a pool: since when the task waits, by the runtime's clock in nanoseconds. None before the
  /// clock's epoch.
  static constexpr std::int64_t no_stamp = std::numeric_limits<std::int64_t>::min();
  void stamp(std::int64_t since) noexcept {
    // Relaxed, as below: who starts the task has got it from who stamped it; who cancels it just
    // then makes it "none".
    last_.store(stamp_word(since), std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t stamp() const noexcept {
    const auto word = last_.load(std::memory_order_relaxed);
    // What else stands there is an address, without the highest bit.
    return word < stamp_word(0) ? no_stamp : static_cast<std::int64_t>(word ^ stamp_word(0));
  }

  /// Registers the one coroutine that awaits the task.
  /// \return false if the task has ended; then `w` is not used.
  /// Throws `errc::already_awaited` if another coroutine has registered.
  bool add_waiter(waiter& w);

  /// Takes `w` back. \return false if the task has ended; then `w` was or will be completed.
  bool remove_waiter(waiter& w) noexcept;

  /// Blocks the calling thread until the task has ended or `deadline` has passed (null: no limit).
  /// \return whether it has ended. Throws `errc::would_deadlock` on a worker.
  bool wait(const sync::time_point* deadline);

  /// Throws `errc::forked` in a process that was forked from the task's.
  void require_not_forked() const {
    if (process() != sync::process_id())
      throw_forked(); // the runtime itself may be gone by now
  }

  /// The handle lets go. An error that nobody has seen goes to the runtime's handler.
  void detach() noexcept;

  /// Somebody has taken the outcome; it is not reported as unseen any more.
  void mark_observed() noexcept {
    if (const sink_ref sink = take_sink())
      error_sink::count(sink->awaited);
  }

  /// Takes a share of the block for somebody who knows that it is still there.
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // Acquire-release: the last one to leave sees everything that the other one did.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }

  // By a derived class that completes its task itself.
  /// The outcome stands now.
  void publish_later(thread_state& thread) noexcept;
  /// Afterwards, unless the task never started. The block may be gone then.
  void retire_later(thread_state& thread) noexcept { retire(thread); }

  /// Ends a block that was refused before anybody else saw it.
  void discard_unsubmitted() noexcept { delete this; }

 protected:
  task_block(scheduler& home, run_function first) noexcept : accepted_job(first), task_scope(home) {
    auto id = static_cast<std::uint32_t>(sync::process_id());
    for (auto& byte : process_) {
      byte = static_cast<std::uint8_t>(id);
      id >>= 8;
    }
  }
  virtual ~task_block();

  /// The first step of running the task. \return false if it must not start; then it has ended, and
  /// nothing more is to be done.
  [[nodiscard]] bool begin(thread_state& thread) noexcept {
    const auto claimed = claim_start(thread.home == &home());
    if (claimed == task_scope::claim::started && !thread.discarding && !stop_requested()) {
      thread.current = this;
      return true;
    }
    drop(thread, claimed);
    return false;
  }

  /// Destroys what the task was made from and makes "cancelled" its outcome.
  virtual void discard(stop_reason reason) noexcept = 0;

  /// The outcome stands: frees the pool's slot, tells the waiter, lets go of the runtime's
  /// reference.
  void complete(thread_state& thread) noexcept;

  /// The task's exception if its outcome is one, for reporting.
  virtual std::exception_ptr failure() noexcept = 0;

  // For whoever follows a task's end: a pool, a strand.
  /// Called on the worker after the task's callable was destroyed, before its outcome is published
  /// if the task has started.
  /// \return false if a task that has started is completed by the callee, with `publish_later` and
  /// `retire_later`.
  virtual bool slot_freed(thread_state& /*thread*/, bool /*started*/) noexcept { return true; }
  /// Called on the worker after the outcome was published.
  virtual void task_published(thread_state& /*thread*/) noexcept {}
  /// Called by whoever cancels a task that has not started, before its outcome is published. The
  /// two calls above follow when the task has left its queue.
  /// \return false if the callee publishes the outcome, with `publish_later`.
  virtual bool ended_unstarted(thread_state& /*thread*/) noexcept { return true; }

 private:
  friend class task_scope;
  friend class live_tasks;

  /// Lets the runtime stop this task when it stops.
  void announce_live() noexcept;
  /// Cancelled before it started: the outcome is published now; whoever takes the task out of its
  /// queue comes to drop().
  void end_unstarted() noexcept;
  void drop(thread_state& thread, task_scope::claim claimed) noexcept;
  static void run_dropped(job& self, thread_state& thread) noexcept;
  /// Publishes the outcome. \return the bits of `waiter_`.
  std::uintptr_t publish(thread_state& thread) noexcept;
  /// The runtime's part of the task ends.
  void retire(thread_state& thread) noexcept;

  static constexpr std::uintptr_t done_bit = 1;
  static constexpr std::uintptr_t threads_bit = 2;
  static constexpr std::uintptr_t detached_bit = 4;
  static constexpr std::uintptr_t pointer_mask = ~std::uintptr_t{7};
  static_assert(alignof(waiter) >= 8);

  void report_unseen() noexcept;

  static constexpr std::uint64_t stamp_word(std::int64_t since) noexcept {
    return static_cast<std::uint64_t>(since) ^ static_cast<std::uint64_t>(no_stamp);
  }
  [[nodiscard]] int process() const noexcept {
    return process_[0] | process_[1] << 8 | process_[2] << 16;
  }
  /// Only of a task that has ended.
  [[nodiscard]] sink_ref take_sink() noexcept {
    // Relaxed: publishing has ordered it.
    if (last_.load(std::memory_order_relaxed) == 0)
      return sink_ref();
    return sink_ref(reinterpret_cast<error_sink*>(last_.exchange(0, std::memory_order_relaxed)));
  }
  void set_sink(sink_ref sink) noexcept {
    last_.store(reinterpret_cast<std::uintptr_t>(sink.give_up()), std::memory_order_relaxed);
  }
  /// The half of `waiter_` with its bits, for sleeping threads.
  [[nodiscard]] const sync::atomic<std::uint32_t>& wake_word() const noexcept {
    static_assert(std::endian::native == std::endian::little);
    const void* const half = &waiter_; // only its address goes to the system
    return *static_cast<const sync::atomic<std::uint32_t>*>(half);
  }

  // Follows the scope's last byte. Linux has less than 2^22 processes.
  std::array<std::uint8_t, 3> process_;
  sync::atomic<std::uint32_t> references_{2};
  sync::atomic<std::uintptr_t> waiter_{0};
  // One after the other: a pool's stamp, while the task waits there; the place in the runtime's
  // list of tasks that wait, an accepted_job**, see live_tasks.hpp; the error_sink of one that has
  // failed, since a handle may find that nobody looked after the runtime is gone.
  sync::atomic<std::uint64_t> last_{0};
};

static_assert(sizeof(void*) != 8 || sizeof(task_block) == 96,
              "a million tasks that wait in a pool cost this each");

task_block& task_scope::root() const noexcept {
  return is_child() ? *reinterpret_cast<task_block*>(origin_ & ~child_bit)
                    : task_block::of(const_cast<task_scope&>(*this));
}

std::uintptr_t task_scope::origin_of_child() const noexcept {
  return reinterpret_cast<std::uintptr_t>(&root()) | child_bit;
}

} // namespace weir::detail
