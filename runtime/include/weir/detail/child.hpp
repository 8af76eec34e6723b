// SPDX-License-Identifier: MIT
/// \file
/// Children: coroutines that run beside their parent, or under it but stopped apart from it.
///
/// A child has a scope, and so a stop state, of its own. It lives in its parent's awaiter, or in
/// the control block of a task group's child. The parent waits on one suspension, its `join`.
///
/// J1  `pending_` counts who must be through before the parent goes on: the children, and any other
///     source that may still stop one of them. Whoever brings it to 0 completes the suspension.
///     Somebody may count for others, as the body of a task group does, and leave for them (J5).
/// J2  A child counts until it has done everything that its end asks for: leaving its outcome, and
///     stopping its siblings. So the scopes of all siblings are there meanwhile.
/// J3  Stop requested of the parent is handed to the children by the suspension's `withdraw`, which
///     says that there is no way back: the parent goes on when they have ended. By C4 it does not
///     go on before `withdraw` is through.
/// J4  The suspension is committed before the first child is started, so that a request also
///     reaches children that run before the parent's worker turns to other work.
#pragma once

#include <weir/awaitable.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/task.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::detail {

class join;

/// Throws `errc::no_state`.
[[noreturn]] WEIR_API void throw_not_startable();

/// How a child has ended.
enum class child_end : std::uint8_t { value, cancelled, failed };

class WEIR_API child : public job {
 public:
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  virtual ~child();

  /// Throws `errc::no_state` if it was given a task that was empty or used.
  void require_startable() const;

  /// Makes it one of `owner`, under a scope whose parent is `parent`. It inherits `context`.
  void attach(join& owner, const task_scope& parent, context_node* context) noexcept {
    owner_ = &owner;
    scope_.emplace(task_scope::child_of{parent, context});
  }
  [[nodiscard]] task_scope& scope() noexcept { return *scope_; }

  /// Runs it on this thread until it ends or suspends, as a worker that takes the job does. If stop
  /// was requested of it already, it ends at once. It and its parent may be gone afterwards.
  static void start(child& self, thread_state& thread) noexcept { run_first(self, thread); }

  /// Its exception, moved out; only if it has failed.
  [[nodiscard]] virtual std::exception_ptr take_error() noexcept = 0;
  /// Only if it was cancelled.
  [[nodiscard]] virtual stop_reason reason() const noexcept = 0;

  /// Lets `coroutine`, which has started already, go on as this child.
  void adopt(promise_base& coroutine) noexcept {
    run = &run_ended;
    coroutine_ = &coroutine;
    coroutine.continuation = this;
  }
  [[nodiscard]] bool adopted() const noexcept { return run == &run_ended; }
  /// What the end of a coroutine asks for that has run on its parent's native stack. The join must
  /// not be left by everybody yet.
  void ended_here(thread_state& thread) noexcept { finish(thread, true); }

  /// How a child has ended that never had a scope.
  [[nodiscard]] child_end how_ended() noexcept { return settle(true); }

  /// Whether `j` is a child of `owner` that has not run yet.
  [[nodiscard]] static bool is_unstarted(const job& j, const join& owner) noexcept {
    return j.run == &run_first && static_cast<const child&>(j).owner_ == &owner;
  }

  // Links of lists that the owner keeps.
  child* next = nullptr;
  child* next_ended = nullptr;

 protected:
  child() noexcept : job(&run_first) {}
  /// That it runs or has run; null if there is none or has not been one yet.
  [[nodiscard]] promise_base* coroutine() const noexcept { return coroutine_; }
  /// Null for one that has not been made, or a task that is ready.
  void set_coroutine(promise_base* coroutine) noexcept {
    coroutine_ = coroutine;
    startable_ = true;
  }

 private:
  /// Tells cancellation from failure. `started`: else the outcome becomes "cancelled".
  virtual child_end settle(bool started) noexcept = 0;
  /// Makes the coroutine, if there is none when the child starts. Without one, the outcome is
  /// there.
  virtual promise_base* make_coroutine() noexcept;

  static void run_first(job& self, thread_state& thread) noexcept;
  static void run_ended(job& self, thread_state& thread) noexcept;
  void finish(thread_state& thread, bool started) noexcept;

  join* owner_ = nullptr;
  promise_base* coroutine_ = nullptr;
  bool startable_ = false;
  std::optional<task_scope> scope_;
};

/// Tells cancellation from failure in an outcome.
template <class T>
child_end settle_outcome(result<T>& outcome) noexcept {
  if (outcome.failed())
    outcome.set_error_or_cancelled(std::move(outcome.error()));
  return outcome.failed()      ? child_end::failed
         : outcome.cancelled() ? child_end::cancelled
                               : child_end::value;
}

/// As above, of an outcome that `scope`'s child has left, if it was started.
template <class T>
child_end settle_outcome(result<T>& outcome, bool started, const task_scope& scope) noexcept {
  if (!started)
    outcome.end_unstarted(scope.reason());
  return settle_outcome(outcome);
}

/// A child that runs a `task<T>`, which keeps its outcome.
template <class T>
class task_child final : public child {
 public:
  task_child() noexcept {}
  explicit task_child(task<T>&& t) noexcept { assign(std::move(t)); }

  void assign(task<T>&& t) noexcept {
    task_ = std::move(t);
    if (task_.startable())
      this->set_coroutine(task_.begin(outcome_));
  }

  /// The value, moved out; or throws what the child threw.
  T take() { return outcome_.take(); }

  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(outcome_.error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return outcome_.reason(); }

 private:
  child_end settle(bool started) noexcept override {
    return settle_outcome(outcome_, started, this->scope());
  }

  task<T> task_;
  result<T> outcome_;
};

/// The parent's wait for its children.
class WEIR_API join : public suspension {
 public:
  join(const join&) = delete;
  join& operator=(const join&) = delete;

  /// By whoever has ended or can stop nothing any more (J1), or for `count` of them. The join may
  /// be gone afterwards.
  void leave(thread_state& thread, std::uint64_t count = 1) noexcept;
  /// As `leave`. \return the job that the caller must run or schedule; mostly null.
  [[nodiscard]] job* left(std::uint64_t count = 1) noexcept;

 protected:
  using suspension::suspension;
  virtual ~join();

  /// Counts `count` more who must leave. By somebody who is counted, or before anybody is.
  void enter(std::uint64_t count) noexcept {
    // Relaxed: whoever brings the count to 0 comes after the caller's own leave.
    pending_.fetch_add(count, std::memory_order_relaxed);
  }
  /// Takes back `count` of those who were entered, by somebody who is still counted.
  void retract_entry(std::uint64_t count) noexcept {
    pending_.fetch_sub(count, std::memory_order_relaxed); // as in enter
  }

  /// How many are counted, about.
  [[nodiscard]] std::uint64_t pending() const noexcept {
    return pending_.load(std::memory_order_relaxed); // a hint; leaving decides
  }

  /// Keeps the first exception and the first cancellation, and counts further exceptions.
  /// \return whether `which` is the first of its kind.
  bool record_failure(child& which, child_end how) noexcept;

  /// Why a child's siblings are stopped: because the parent is, or else for `own`.
  [[nodiscard]] stop_reason reason_or(stop_cause own) const noexcept;

  /// When the parent goes on: throws `task_cancelled` if nothing was started, else the first
  /// exception, else the first cancellation; this one with the parent's reason if stop was
  /// requested of the parent.
  void check_failures();
  [[noreturn]] void throw_cancelled_as(const child& which) const;

 private:
  friend class child;

  /// On the thread where `which` has ended, which counts until this returns (J2). It may be
  /// destroyed here. \return whether it leaves now; if not, the join has it leave later.
  virtual bool child_ended(child& which, child_end how, thread_state& thread) noexcept = 0;

  sync::atomic<std::uint64_t> pending_{0};
  sync::atomic<bool> has_error_{false};
  sync::atomic<const child*> cancelled_child_{nullptr};
  // Written by who set has_error_, read when the parent goes on.
  std::exception_ptr error_;
};

/// A join of children that are known before the first of them starts.
class WEIR_API fixed_join : public join {
 public:
  /// Instead of `launch`, for children of which some may have started: the parent waits from now
  /// on, as one of those who must leave. They inherit `context`.
  void begin(promise_base& parent, context_node* context) noexcept;
  /// Lets all children run beside each other; none may have started.
  void schedule_children(thread_state& thread) noexcept;

 protected:
  fixed_join() noexcept : join(&forward_stop) {}
  explicit fixed_join(withdraw_function withdraw) noexcept : join(withdraw) {}

  /// In the order in which they are to start if one worker runs them all (but for its beat, F2).
  void add(child& c) noexcept {
    c.next = last_;
    last_ = &c;
    ++count_;
  }

  /// `await_suspend` as a whole. Throws `errc::no_state`.
  [[nodiscard]] bool launch(promise_base& parent);

  // `launch` in steps:
  void require_startable() const;
  /// After `prepare`: the children have scopes and are counted.
  void attach_children(const task_scope& parent) noexcept;
  /// Instead of `commit`. The parent may be running or gone when it returns true.
  [[nodiscard]] bool start_children() noexcept;

  /// By a child before it leaves, or by who withdraws.
  void stop_children(const stop_reason& reason, const child* except) noexcept;

 private:
  static bool forward_stop(suspension& self) noexcept;

  child* last_ = nullptr;
  std::uint32_t count_ = 0;
};

/// The promise of a coroutine that awaits a combinator.
template <class Promise>
promise_base& weir_promise_of(std::coroutine_handle<Promise> parent) noexcept {
  static_assert(weir_promise<Promise>,
                "weir's combinators can be awaited only inside a weir::task; from other coroutines "
                "await runtime.spawn(task), elsewhere use runtime.block_on");
  return parent.promise();
}

/// What a child that awaits `A` yields.
template <awaitable A>
using child_result_t =
    std::conditional_t<std::is_rvalue_reference_v<await_result_t<A>>,
                       std::remove_cvref_t<await_result_t<A>>, await_result_t<A>>;

template <class T>
element_t<T> take_element(task_child<T>& ended) {
  if constexpr (std::is_void_v<T>) {
    ended.take();
    return {};
  } else {
    return element_t<T>(ended.take());
  }
}

/// A task as it is; anything else gets a coroutine that awaits it. An rvalue is moved in, an lvalue
/// referred to.
template <awaitable A>
task<child_result_t<A>> as_task(A&& awaited) {
  if constexpr (std::is_lvalue_reference_v<A>) {
    return await_reference_in_task<std::remove_reference_t<A>, child_result_t<A>>(awaited);
  } else if constexpr (is_task<A>) {
    return std::forward<A>(awaited);
  } else {
    static_assert(std::move_constructible<A>,
                  "an awaitable that cannot be moved must be given as an lvalue");
    return await_in_task<A, child_result_t<A>>(std::forward<A>(awaited));
  }
}

} // namespace weir::detail
