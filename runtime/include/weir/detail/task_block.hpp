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

#include <cstdint>
#include <exception>

namespace weir::detail {

class task_block;

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

/// Somebody who follows a task's end: a pool.
class end_hook {
 public:
  /// Called on the worker after the task's callable was destroyed, before its outcome is published.
  /// \return false if the hook completes the task itself, by `publish_later` and `retire_later`.
  virtual bool slot_freed(thread_state& thread) noexcept = 0;
  /// Called on the worker after the outcome was published; the hook may be gone when it returns.
  virtual void task_published(thread_state& thread) noexcept = 0;
  /// Called by whoever cancels a task that has not started, before its outcome is published. The
  /// two calls above follow when the task has left its queue; what they give is not used then.
  /// \return false if the hook publishes the outcome itself, by `publish_later`.
  virtual bool ended_unstarted(thread_state&) noexcept { return true; }
  /// Whether the task runs in a slot of what `owner` stands for.
  [[nodiscard]] virtual bool belongs_to(const void* owner) const noexcept { return owner == this; }

 protected:
  ~end_hook() = default;
};

class WEIR_API task_block : public accepted_job {
 public:
  task_block(const task_block&) = delete;
  task_block& operator=(const task_block&) = delete;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

  /// The runtime that has accepted the task.
  [[nodiscard]] scheduler& home() const noexcept { return *home_; }
  [[nodiscard]] task_scope& scope() noexcept { return scope_; }
  void set_hook(end_hook& hook) noexcept { hook_ = &hook; }
  /// Whether this is a task of the pool that `owner` stands for.
  [[nodiscard]] bool belongs_to(const void* owner) const noexcept {
    return hook_ != nullptr && hook_->belongs_to(owner);
  }

  [[nodiscard]] bool done() const noexcept {
    // Acquire: pairs with the release half of the exchange in publish; the outcome is seen.
    return (waiter_.load(std::memory_order_acquire) & done_bit) != 0;
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
    if (process_ != sync::process_id())
      throw_forked(); // the runtime itself may be gone by now
  }

  /// The handle lets go. An error that nobody has seen goes to the runtime's handler.
  void detach() noexcept;

  /// Somebody has taken the outcome; it is not reported as unseen any more.
  void mark_observed() noexcept {
    if (sink_)
      error_sink::count(sink_->awaited);
    sink_ = {};
  }

  /// Takes a share of the block for somebody who knows that it is still there.
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // Acquire-release: the last one to leave sees everything that the other one did.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }

  // By a hook that completes its task itself.
  /// The outcome stands now.
  void publish_later(thread_state& thread) noexcept;
  /// Afterwards, unless the task never started. The block may be gone then.
  void retire_later(thread_state& thread) noexcept { retire(thread); }

  /// Ends a block that was refused before anybody else saw it.
  void discard_unsubmitted() noexcept { delete this; }

 protected:
  task_block(scheduler& home, run_function first) noexcept
      : accepted_job(first), home_(&home), scope_(home, *this) {}
  virtual ~task_block();

  /// The first step of running the task. \return false if it must not start; then it has ended, and
  /// nothing more is to be done.
  [[nodiscard]] bool begin(thread_state& thread) noexcept {
    const auto claimed = scope_.claim_start(thread.home == home_);
    if (claimed == task_scope::claim::started && !thread.discarding && !scope_.stop_requested()) {
      thread.current = &scope_;
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

  scheduler* home_;
  end_hook* hook_ = nullptr;
  // Set when the task has failed; a handle may find nobody looked after the runtime is gone.
  sink_ref sink_;
  task_scope scope_;
  // Of the runtime's list of tasks that wait, see live_tasks.hpp.
  task_block* next_live_ = nullptr;
  task_block** live_link_ = nullptr;
  sync::atomic<std::uintptr_t> waiter_{0};
  sync::atomic<std::uint32_t> references_{2};
  sync::atomic<std::uint32_t> wake_word_{0};
  const int process_ = sync::process_id();
  std::uint32_t live_shard_ = 0; // of the same list
};

} // namespace weir::detail
