// SPDX-License-Identifier: MIT
/// \file
/// Coroutines that a coroutine forks, as plain calls for as long as nothing else is asked of them.
///
/// The parent puts all children but the first on its thread's fork stack, runs the first one on top
/// of the native stack, takes the next from the fork stack, and so on. If each of them ends without
/// having suspended and nobody steals one, that is all: no scope, no join, no atomic operation. The
/// rest is made when it is needed, which is always noticed on the parent's thread:
///
/// Q1  A child runs under its parent's scope, which its promise marks as shared. Whoever is about
///     to suspend asks for `promise_base::scope()`, which gives scopes of their own to all shared
///     ones from there up, and builds their joins. Before a child becomes public for thieves, its
///     join is built too.
/// Q2  A join that is built has committed its parent's suspension (J4), though the parent is still
///     inside `await_ready`: it is one of those who must leave, and does so in `await_suspend`.
/// Q3  `thread_state::current` is the innermost scope that exists, and holds the request context of
///     what runs. Making a scope below it moves the context down and restores its own.
/// Q4  A child that ends on the native stack of its parent leaves its outcome in the parent's frame
///     and destroys its own frame.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/result.hpp>
#include <weir/task.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// One `when_all` of a coroutine. Part of its awaiter.
class WEIR_API forked_tasks {
 public:
  forked_tasks(const forked_tasks&) = delete;
  forked_tasks& operator=(const forked_tasks&) = delete;

  /// By the fork stack, before `data`, a fork of push(), becomes public.
  /// \return the fork's data from then on.
  [[nodiscard]] static void* publish(void* data) noexcept;

 protected:
  /// What depends on the children's types.
  struct operations {
    std::size_t count;
    /// Makes the join, with those children in it that have not ended.
    fixed_join& (*build)(forked_tasks&) noexcept;
    child& (*child_at)(forked_tasks&, std::size_t index) noexcept;
    /// Null if it has ended and destroyed itself.
    promise_base* (*promise_at)(forked_tasks&, std::size_t index) noexcept;
    /// It has ended and destroyed itself.
    void (*forget)(forked_tasks&, std::size_t index) noexcept;
  };

  explicit forked_tasks(promise_base& parent, const operations& types) noexcept
      : types_(&types), parent_(&parent) {}
  ~forked_tasks() = default;

  template <class T>
  [[nodiscard, gnu::always_inline]] static bool startable(const task<T>& t) noexcept {
    return t.promise() != nullptr && t.promise()->continuation == nullptr;
  }

  /// Before anything is forked. \return false if the children must not run on this native stack.
  /// Throws `task_cancelled`.
  [[nodiscard, gnu::always_inline]] bool enter(thread_state& thread) {
    task_scope& scope = (parent_->scope_bits & promise_base::shared_mark) != 0
                            ? *thread.current
                            : parent_->stop_scope();
    scope.check_stop();
    // Null or the like only outside of a worker's job, where the budget is 0.
    context_ = scope.context();
    if (--thread.fork_budget >= forbidden ||
        reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < thread.stack_limit)
        [[unlikely]]
      return may_run_here(thread);
    return true;
  }

  /// \return whether the fork was pushed. Only the `first` of a join is not: if the fork stack is
  /// full, or the thread has none. Then nothing of the join must run here.
  [[nodiscard, gnu::always_inline]] bool push(fork_stack& forks, promise_base& fork,
                                              bool first) noexcept {
    fork.continuation = marked_this();
    void* const data = const_cast<void*>(fork.as_fork());
    return forks.push(&run_stolen, data) || forks.push_coroutine_slow(&run_stolen, data, first);
  }

  /// Runs a child on top of the native stack. \return false if rest() must be called.
  [[nodiscard, gnu::always_inline]] bool run(thread_state& thread, promise_base& which) noexcept {
    which.continuation = marked_this();
    which.scope_bits = parent_->scope_bits | promise_base::shared_mark;
    thread.call_top = which.as_fork();
    which.handle().resume();
    return built_ == nullptr;
  }

  /// Goes on after `run` has returned false for child `index`, or, if not `ran`, after that child
  /// was popped but is not simply there: runs those after it too.
  void rest(thread_state& thread, std::size_t index, bool ran) noexcept;
  /// Instead of running anything here.
  void schedule_all(thread_state& thread) noexcept;

  /// The parent's own leave (Q2). The join may be gone if it returns true.
  /// \return whether the parent stays suspended.
  [[nodiscard]] bool leave() noexcept;

  [[nodiscard]] bool built() const noexcept { return built_ != nullptr; }
  [[nodiscard]] promise_base& parent() const noexcept { return *parent_; }

  static void run_stolen(void* data, thread_state& thread) noexcept;

 private:
  friend task_scope& make_scopes(promise_base& leaf) noexcept;

  /// The budget after one that is used up.
  static constexpr std::uint32_t forbidden = 1U << 31;

  [[nodiscard]] bool may_run_here(thread_state& thread) noexcept;
  /// Q1.
  void build() noexcept;
  [[nodiscard]] child& child_of(const promise_base& which) noexcept;

  [[nodiscard]] job* marked_this() noexcept {
    return reinterpret_cast<job*>(reinterpret_cast<char*>(this) + 1);
  }
  [[nodiscard]] static forked_tasks* marked(const job* continuation) noexcept {
    const auto bits = reinterpret_cast<std::uintptr_t>(continuation);
    return (bits & 1) != 0 ? reinterpret_cast<forked_tasks*>(bits - 1) : nullptr;
  }

  const operations* types_;
  promise_base* parent_;
  // The request context when the children were forked; the parent keeps it alive.
  context_node* context_ = nullptr;
  fixed_join* built_ = nullptr;
};

/// A child, and where its outcome is.
template <class T>
struct fork_of {
  task<T>& coroutine;
  result<T>& outcome;
};

/// A child whose outcome is in its parent's frame.
template <class T>
class forked_child final : public child {
 public:
  explicit forked_child(fork_of<T> which) noexcept : outcome_(&which.outcome) {
    this->set_coroutine(which.coroutine.promise());
  }
  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(outcome_->error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return outcome_->reason(); }

 private:
  child_end settle(bool started) noexcept override {
    return started ? settle_outcome(*outcome_) : settle_outcome(*outcome_, false, this->scope());
  }

  result<T>* outcome_;
};

} // namespace weir::detail
