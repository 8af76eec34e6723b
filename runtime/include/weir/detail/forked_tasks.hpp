// SPDX-License-Identifier: MIT
/// \file
/// Coroutines that a coroutine forks, as plain calls for as long as nothing else is asked of them.
///
/// The parent puts all children but the first on its thread's fork stack, runs the first one on top
/// of the native stack, takes the next from the fork stack, and so on. If each of them ends without
/// having suspended and nobody steals one, that is all: no scope, no join, no atomic operation. The
/// rest is made when it is needed, which is always noticed on the parent's thread:
///
/// Q1  A child runs under its parent's scope, which its promise marks as shared: it is the thread's
///     current one (Q3). Whoever is about to suspend asks for `promise_base::scope()`, which gives
///     scopes of their own to all shared ones from there up, and builds their joins. Before a child
///     becomes public for thieves, its join is built too.
/// Q2  A join that is built has committed its parent's suspension (J4), though the parent is still
///     inside `await_ready`: it is one of those who must leave, and does so in `await_suspend`.
/// Q3  `thread_state::current` is the innermost scope that exists, and holds the request context of
///     what runs. Making a scope below it moves the context down and restores its own.
/// Q4  A child that ends on the native stack of its parent, without ever having had a scope of its
///     own, leaves its outcome in the parent's frame and destroys its own frame. So one whose
///     promise still has the marks, which it is made with, is directly above its parent. Only if it
///     ends by an exception does it tell the parent how. All other children's frames belong to the
///     join.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/result.hpp>
#include <weir/task.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// What a coroutine waits for whose children are forked. Part of its awaiter.
class WEIR_API forked_tasks {
 public:
  forked_tasks(const forked_tasks&) = delete;
  forked_tasks& operator=(const forked_tasks&) = delete;

  /// By the fork stack, before a fork of push() becomes public.
  static void publish(fork_slot& fork) noexcept;

 protected:
  /// What depends on the children's types.
  struct operations {
    std::size_t count;
    /// Makes the join, with the children that have not ended.
    fixed_join& (*build)(forked_tasks&) noexcept;
    child& (*child_at)(forked_tasks&, std::size_t index) noexcept;
    /// Runs a child on top of the native stack. \return false if a join was built meanwhile.
    bool (*run)(forked_tasks&, std::size_t index) noexcept;
  };

  [[gnu::always_inline]] explicit forked_tasks(const operations& types) noexcept : types_(&types) {}
  ~forked_tasks() = default;

  /// Before anything else.
  [[gnu::always_inline]] void set_parent(promise_base& parent) noexcept {
    parent_frame_ = parent.handle().address();
  }
  /// Before anything is forked. \return false if the children must not run on this native stack.
  /// Throws `task_cancelled`.
  [[nodiscard, gnu::always_inline]] bool enter(thread_state& thread) {
    // Outside of a worker's job, where there may be no current scope, the budget is 0.
    if (--thread.fork_budget >= forbidden || stack_is_below(thread.stack_limit)) [[unlikely]]
      return enter_slow(thread);
    task_scope& scope = *thread.current; // Q3
    scope.check_stop();
    context_ = scope.context();
    return true;
  }

  /// Forks all children but the first, from the last one on. \return whether it has; it has forked
  /// none if the fork stack is full, or the thread has none. Then nothing of the join must run
  /// here.
  template <std::size_t Count>
  [[nodiscard, gnu::always_inline]] bool push_all(fork_stack& forks) noexcept {
    if constexpr (Count > 1) {
      // Not functions yet: publish() writes one.
      if (!forks.push_coroutines<Count - 1>(this)) [[unlikely]]
        return push_all_slow(forks);
    }
    return true;
  }

  /// Runs a child, which has not been started, on top of the native stack.
  [[gnu::always_inline]] void run(promise_base& which) noexcept {
    which.forked_by = this;
    which.handle().resume();
  }

  /// Goes on after child `index` has run and a join was built, or, if not `ran`, after it was
  /// popped but is not simply there: runs those after it too.
  void rest(std::size_t index, bool ran) noexcept;
  /// Instead of running anything here.
  void schedule_all() noexcept;

  /// The parent's own leave (Q2). The join may be gone if it returns true.
  /// \return whether the parent stays suspended.
  [[nodiscard]] bool leave() noexcept;

  [[nodiscard]] bool built() const noexcept { return (unusual_ & join_built) != 0; }
  /// The same for those who look at `unusual_` first: not inlined, so that they compare it in
  /// memory.
  [[nodiscard, gnu::cold]] bool built_now() const noexcept;
  [[nodiscard]] promise_base& parent() const noexcept {
    return std::coroutine_handle<promise_base>::from_address(parent_frame_).promise();
  }

  // What `unusual_` says.
  static constexpr std::uint8_t value_missing = 1;
  static constexpr std::uint8_t join_built = 2;

  /// How many children have run on the native stack and ended before a join was built, until it is
  /// the last one's turn. The next one is the one that runs there, if any does.
  std::uint8_t ended_ = 0;
  /// Beside the others in a word of their own, which one store sets.
  std::uint8_t unusual_ = 0;
  bool awaited_ = false;
  std::uint8_t rest_of_word_ = 0;

 private:
  friend task_scope& make_scopes(promise_base& leaf) noexcept;
  friend void note_failed_fork(const promise_base& ended) noexcept;

  /// The budget after one that is used up.
  static constexpr std::uint32_t forbidden = 1U << 31;

  [[nodiscard]] bool enter_slow(thread_state& thread);
  [[nodiscard, gnu::cold]] bool push_all_slow(fork_stack& forks) noexcept;
  [[nodiscard]] bool may_run_here(thread_state& thread) noexcept;
  /// Q1.
  void build() noexcept;
  static void run_stolen(void* data, thread_state& thread) noexcept;

  const operations* types_;
  // Of the coroutine, which is in a register where its promise is not.
  void* parent_frame_; // set by set_parent
  // The request context when the children were forked; the parent keeps it alive.
  context_node* context_; // set by enter
  fixed_join* built_;     // if so
};

} // namespace weir::detail
