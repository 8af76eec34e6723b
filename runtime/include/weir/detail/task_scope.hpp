// SPDX-License-Identifier: MIT
/// \file
/// What a chain of coroutines runs under, and how it waits.
///
/// A root task has a scope, and so has each child that runs beside its parent or is cancelled apart
/// from it (`when_all`, `with_timeout`). Coroutines that await each other share one, so that in
/// each scope at most one coroutine is suspended at a time. `wait_` names it:
///
///   not_started    the root task sits in a queue
///   dropping       the same, and somebody cancels it
///   dropped        the same, and it was cancelled: whoever takes it out retires it
///   dropping_taken it was taken out while somebody cancels it, who will retire it
///   nothing        nobody is suspended here
///   preparing      a coroutine is about to wait; nobody but itself may resume it
///   preparing_stop the same, and stop was requested meanwhile
///   completed      the same, and what it waits for has happened meanwhile
///   suspended      it waits
///   cancelling     somebody withdraws it from what it waits for
///   cancelling_completed  the same, and what it waits for has happened meanwhile
///
/// C0  A root task is started, or ended unstarted, by whoever moves `wait_` out of not_started.
/// C1  A coroutine is resumed once for each wait: by whoever moves `wait_` out of suspended,
///     cancelling or cancelling_completed to nothing.
/// C2  A source (a timer, a semaphore, another task...) calls `complete()` exactly once for each
///     suspension that it was given, unless `withdraw` took the suspension back. Which of the two
///     it is, the source decides under its own lock or by its own word.
/// C3  Stop is requested before `wait_` is read, and `wait_` is written before the request is
///     looked at, all four sequentially consistent: at least one side sees the other, so that no
///     request is missed by a coroutine that goes to wait.
/// C4  While a suspension is being prepared or withdrawn its coroutine does not run: who does that
///     may use its fields, and nobody waits for anybody.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/job.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/stop_reason.hpp>
#include <weir/stop_token.hpp>

#include <cstdint>
#include <utility>

namespace weir::detail {

class task_block;
class task_scope;

/// One wait of one coroutine. Lives in the awaiter.
class suspension {
 public:
  /// Takes the suspension back from its source. \return false if the source has completed it or
  /// will, or if there is no way back.
  using withdraw_function = bool (*)(suspension&) noexcept;

  explicit suspension(withdraw_function withdraw) noexcept : withdraw_(withdraw) {}
  /// Moves only before it is used.
  suspension(suspension&& unused) noexcept : withdraw_(unused.withdraw_) {}
  suspension& operator=(const suspension&) = delete;

  /// First step of `await_suspend`, before the source may know of the suspension.
  /// \return false if stop was requested: the coroutine must not wait, but call `check()`.
  [[nodiscard]] WEIR_API bool prepare(task_scope& scope, job& resume) noexcept;

  /// As `prepare`, for waits that end only when the source says so, requested stop or not.
  WEIR_API void prepare_anyway(task_scope& scope, job& resume) noexcept;

  /// Last step of `await_suspend`, after the source has got the suspension. If it returns true, the
  /// coroutine may be running or gone.
  /// \return whether the coroutine stays suspended.
  [[nodiscard]] WEIR_API bool commit() noexcept;

  /// Instead of `commit`, if the source did not take the suspension.
  WEIR_API void retract() noexcept;

  /// By the source, once. The suspension may be gone afterwards.
  /// \return the job that the caller must schedule; null if somebody else goes on with it.
  [[nodiscard]] WEIR_API job* complete() noexcept;

  /// `complete()` and schedule.
  WEIR_API void complete_and_schedule(thread_state& thread) noexcept;

  /// By the coroutine when it goes on: throws `task_cancelled` if the wait was given up.
  void check() const {
    if (cancelled())
      throw_cancelled();
  }
  [[nodiscard]] bool cancelled() const noexcept { return withdraw_ == nullptr; }
  [[nodiscard]] task_scope& scope() const noexcept { return *scope_; }

 protected:
  /// Whose wait it is or will be.
  void belong_to(task_scope& scope) noexcept { scope_ = &scope; }

 private:
  friend class task_scope;

  [[noreturn]] WEIR_API void throw_cancelled() const;

  // Null once the wait was given up: nobody withdraws it a second time. Spares a word of every
  // sleeping task.
  withdraw_function withdraw_;
  task_scope* scope_ = nullptr;
  job* resume_ = nullptr;
};

/// A runtime to go on at, a stop state, a request context, and the coroutine that waits.
class WEIR_API task_scope {
 public:
  /// For a root task of `home`, of which it is a base.
  explicit task_scope(scheduler& home) noexcept
      : home_(&home), origin_(reinterpret_cast<std::uintptr_t>(&home)),
        context_(context_ref::of(current_context(this_thread())).give_up()), wait_(not_started) {}
  /// For a child of `parent`, which waits for its end. `context` is that of whoever makes it: the
  /// parent, or in a task group another child.
  struct child_of {
    const task_scope& parent;
    context_node* context;
  };
  explicit task_scope(child_of child) noexcept
      : home_(child.parent.home_), origin_(child.parent.origin_of_child()),
        context_(context_ref::of(child.context).give_up()), wait_(0) {}
  task_scope(const task_scope&) = delete;
  task_scope& operator=(const task_scope&) = delete;
  ~task_scope();

  /// Where the coroutine goes on. Used by the coroutine itself, or while it is suspended.
  [[nodiscard]] scheduler& home() const noexcept { return *home_; }
  void set_home(scheduler& home) noexcept { home_ = &home; }
  /// Whether the coroutine is on a runtime other than its root task's and counts there (see
  /// resume_on.cpp). Used by the coroutine itself, on a worker of `home()`.
  [[nodiscard]] bool visits() const noexcept { return visits_; }
  void begin_visit() noexcept { visits_ = true; }
  void end_visit(thread_state& thread) noexcept {
    if (!visits_)
      return;
    visits_ = false;
    thread.count_ended();
  }
  [[nodiscard]] inline task_block& root() const noexcept;
  /// The request context, owned. Used by the coroutine itself.
  [[nodiscard]] context_node*& context() noexcept { return context_; }
  [[nodiscard]] context_node* context() const noexcept { return context_; }

  enum class claim { started, cancelled, being_cancelled };
  /// By who is about to start the root task. being_cancelled: another thread is at it and will
  /// retire the task; a thread that is `on_worker` of no runtime waits for it instead.
  [[nodiscard]] claim claim_start(bool on_worker) noexcept;
  /// By whoever cancelled the unstarted task, after its outcome was published.
  /// \return false if the task has left its queue meanwhile; then the caller must retire it.
  [[nodiscard]] bool leave_in_queue() noexcept;

  [[nodiscard]] bool stop_requested() const noexcept { return stop_.stop_requested(); }
  /// Before other threads may ask for a token.
  void observe_stop() noexcept;
  /// A token for user code.
  [[nodiscard]] inplace_stop_token token() noexcept;
  /// Why stop was requested; only after it was.
  [[nodiscard]] stop_reason reason() const noexcept;

  /// Requests stop: calls the stop callbacks on this thread, and ends the wait of a suspended
  /// coroutine. The scope must stay alive meanwhile.
  /// \return true for the one call that made the request.
  bool request_stop(stop_reason reason) noexcept;

  /// As request_stop, but only if the root task has not started: then it never does. The scope must
  /// stay alive meanwhile. \return whether it was ended by this call.
  bool stop_unstarted(stop_reason reason) noexcept;

  /// Throws `task_cancelled` if stop was requested.
  [[gnu::always_inline]] void check_stop() const {
    if (stop_requested())
      throw_cancelled();
  }
  [[noreturn]] void throw_cancelled() const;

 private:
  friend class suspension;
  friend class task_block;
  friend class live_tasks;

  static constexpr std::uintptr_t child_bit = 1;

  [[nodiscard]] bool is_child() const noexcept { return (origin_ & child_bit) != 0; }
  [[nodiscard]] inline std::uintptr_t origin_of_child() const noexcept;

  static constexpr std::uintptr_t suspended = 0;
  static constexpr std::uintptr_t preparing = 1;
  static constexpr std::uintptr_t preparing_stop = 2;
  static constexpr std::uintptr_t completed = 3;
  static constexpr std::uintptr_t cancelling = 4;
  static constexpr std::uintptr_t cancelling_completed = 5;
  // Without a suspension:
  static constexpr std::uintptr_t not_started = 6;
  static constexpr std::uintptr_t dropping = 7;
  static constexpr std::uintptr_t dropped = 8 + 7;
  static constexpr std::uintptr_t dropping_taken = 16 + 7;
  static constexpr std::uintptr_t state_mask = 7;

  void cancel_wait() noexcept;
  void withdraw(suspension& waiting) noexcept;

  scheduler* home_;
  // A root's runtime; a child's root, with child_bit.
  const std::uintptr_t origin_;
  context_node* context_;
  inplace_stop_source stop_;
  sync::atomic<const stop_reason::representation*> reason_{nullptr};
  sync::atomic<std::uintptr_t> wait_;
  // Used by the task itself. Whether the runtime knows of the task, so that stopping the runtime
  // stops it, and where in its list, see live_tasks.hpp.
  bool observed_ : 1 = false;
  bool visits_ : 1 = false;
  std::uint8_t live_shard_ : 5 = 0;
};

/// The task whose code runs on this thread, also if the code is a stolen fork; or null.
[[nodiscard]] inline task_scope* running_task(const thread_state& thread) noexcept {
  return thread.current != nullptr ? thread.current : thread.fork_scope;
}

context_node* current_context(const thread_state& thread) noexcept {
  return thread.current != nullptr ? thread.current->context() : thread.ambient;
}

context_node*& context_place(thread_state& thread) noexcept {
  return thread.current != nullptr ? thread.current->context() : thread.ambient;
}

} // namespace weir::detail
