// SPDX-License-Identifier: MIT
/// \file
/// Children of a task group that have ended one after the other on a worker, which tells the group
/// of all of them at once.
///
/// J5  A worker hands in what has ended here before it runs anything but another child of the same
///     group that has not run yet, and before it searches or sleeps. Until then the group waits for
///     that other child anyway. When few are left each is handed in at once, so that the parent
///     goes on next; if the last ones end on many workers at the same time, it may come after the
///     job that a worker has taken meanwhile.
#pragma once

#include <weir/detail/sync.hpp>

#include <cstdint>

namespace weir {
class task_group;
}

namespace weir::detail {

struct job;
struct thread_state;

class ended_children {
 public:
  ended_children() noexcept {}
  ended_children(const ended_children&) = delete;
  ended_children& operator=(const ended_children&) = delete;

  // By the worker.
  [[nodiscard]] bool empty() const noexcept {
    return group_.load(std::memory_order_relaxed) == nullptr; // own writing
  }
  /// One more of `group`. Hands in those of another one. \return how many are here.
  std::uint32_t add(task_group& group, thread_state& thread) noexcept;
  /// Nothing if it is empty. The group may be gone afterwards.
  void hand_in(thread_state& thread) noexcept {
    if (!empty())
      hand_in_all(thread);
  }
  /// The same unless `next`, which runs next, may run before.
  void hand_in_before(const job& next, thread_state& thread) noexcept {
    if (!empty() && !goes_on_with(next))
      hand_in_all(thread);
  }

  // By anybody.
  /// How many of `group` are here; none while they are being handed in.
  [[nodiscard]] std::uint32_t count_of(const task_group& group) const noexcept;

 private:
  [[nodiscard]] bool goes_on_with(const job& next) const noexcept;
  void hand_in_all(thread_state& thread) noexcept;

  sync::atomic<task_group*> group_{nullptr};
  sync::atomic<std::uint32_t> count_{0};
  // Odd while they are being handed in.
  sync::atomic<std::uint64_t> version_{0};
};

} // namespace weir::detail
