// SPDX-License-Identifier: MIT
/// \file
/// `group<T>`: the tasks that one call of a `task_pool` has made, and their results.
#pragma once

#include <weir/detail/wait_list.hpp>
#include <weir/pool/detail/pool_call.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/pool/reports.hpp>
#include <weir/task.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir {

namespace detail {

/// Waits for something of a group.
class group_wait final : public list_awaiter<group_wait, group_waiter> {
  using base = list_awaiter<group_wait, group_waiter>;

 public:
  group_wait(std::shared_ptr<task_pool_core> core, std::shared_ptr<pool_group> of,
             group_waiter::kind wanted, std::size_t number = 0) noexcept
      : base(&take_back), core_(std::move(core)), of_(std::move(of)) {
    group = of_.get();
    what = wanted;
    index = number;
  }
  void await_resume() const { check(); }

 private:
  friend base;
  [[nodiscard]] bool wait_or_take() { return core_->wait(*this); }
  static bool take_back(suspension& self) noexcept {
    auto& w = static_cast<group_wait&>(self);
    return w.core_->withdraw(w);
  }

  std::shared_ptr<task_pool_core> core_;
  std::shared_ptr<pool_group> of_;
};

/// What a slot holds; of a task that has not started, that it was cancelled, and why.
template <class T>
outcome<T> taken_outcome(const task_pool_core& core, const pool_group& group, result_slot& slot) {
  auto taken = std::move(static_cast<typed_slot<T>&>(slot).value);
  if (taken.cancelled() && !taken.result().cancelled())
    taken.result().set_cancelled(core.why_unstarted(group));
  return taken;
}

} // namespace detail

/// Refers to one task of a group by the place of its argument. Made by `group<T>::task_at`.
/// Dropping it does nothing to the task. Thread safety: one thread at a time.
template <class T>
class pool_task_handle {
 public:
  pool_task_handle(std::shared_ptr<detail::task_pool_core> core,
                   std::shared_ptr<detail::pool_group> group, std::size_t index) noexcept
      : core_(std::move(core)), group_(std::move(group)), index_(index) {}

  /// Waits for the task's end, its callbacks included, and gives how it ended; an outcome that is
  /// `cancelled()` if it never started. Taken once: afterwards, and for results taken through the
  /// group, it looks cancelled as well. Throws `task_cancelled` if stop is requested of the
  /// awaiting task.
  [[nodiscard]] task<outcome<T>> ended() const { return wait(core_, group_, index_); }

  /// Its place among the group's arguments, those that were skipped not counted.
  [[nodiscard]] std::size_t index() const noexcept { return index_; }

 private:
  static task<outcome<T>> wait(std::shared_ptr<detail::task_pool_core> core,
                               std::shared_ptr<detail::pool_group> group, std::size_t index) {
    // NOLINTNEXTLINE(misc-const-correctness): awaiting it changes it, which shows on instantiation
    detail::group_wait wait(core, group, detail::group_waiter::kind::task_done, index);
    co_await wait;
    const auto slots = core->slots_of(*group);
    detail::typed_slot<T> none;
    const bool there = index < slots.size() && slots[index]->done;
    co_return detail::taken_outcome<T>(*core, *group, there ? *slots[index] : none);
  }

  std::shared_ptr<detail::task_pool_core> core_;
  std::shared_ptr<detail::pool_group> group_;
  std::size_t index_;
};

/// An outcome and its argument's place in the group, as `pool_task_handle::index` counts.
template <class T>
struct indexed_outcome {
  std::size_t index = 0;
  outcome<T> ended{};
};

/// The tasks of one `apply`, `map`, `starmap`, `doublestarmap` or `start`.
///
/// Dropping it drops results that come later, and does nothing to the tasks. While it lives there
/// is a place for each result, also for one that was taken, by `next()` or otherwise: drop it early
/// for endless arguments.
///
/// Thread safety: `name()`, `ids()`, `cancel()` and the waits may be called by several threads;
/// results are taken by one.
template <class T>
class group {
 public:
  group(std::shared_ptr<detail::task_pool_core> core,
        std::shared_ptr<detail::pool_group> state) noexcept
      : core_(std::move(core)), state_(std::move(state)) {}
  group(group&& other) noexcept = default;
  group& operator=(group&& other) noexcept {
    group(std::move(other)).swap(*this);
    return *this;
  }
  ~group() {
    if (state_ != nullptr)
      state_->set_unwanted();
  }
  void swap(group& other) noexcept {
    core_.swap(other.core_);
    state_.swap(other.state_);
  }

  /// "apply-work-group-0", or the name that was given.
  [[nodiscard]] const std::string& name() const noexcept { return state_->name(); }

  /// The tasks that have started so far, in the order of their start.
  [[nodiscard]] std::vector<task_id> ids() const { return core_->ids_of(*state_); }

  /// Why its arguments ended early: what reading them or making a task of one has thrown; null if
  /// nothing has.
  [[nodiscard]] std::exception_ptr error() const { return core_->error_of(*state_); }

  /// Waits until all tasks of the group have started, or no more will, and gives their ids. This is
  /// the early form of `apply` and `start`: `auto g = pool.apply(...); co_await g.started();`.
  [[nodiscard]] task<std::vector<task_id>> started() const {
    return wait_started(core_, state_, detail::group_waiter::kind::all_started);
  }
  /// Waits until `num_concurrent` tasks have started, or all if there are fewer. The early form of
  /// `map`, `starmap` and `doublestarmap`.
  [[nodiscard]] task<> first_batch_started() const {
    return wait_first(core_, state_, detail::group_waiter::kind::first_started);
  }

  /// Cancels it as `cancel_group`; nothing if the pool has forgotten it: then all its tasks have
  /// ended or been stopped, and its name may be another group's.
  void cancel(const stop_reason& reason = {}) { (void)core_->cancel_group(*state_, reason); }

  /// The handle of the task that is made of an argument, by its place; arguments that were skipped
  /// have none and do not count.
  [[nodiscard]] pool_task_handle<T> task_at(std::size_t index) const {
    return pool_task_handle<T>(core_, state_, index);
  }

  /// Waits until all tasks have ended, callbacks included, and gives their outcomes in the order of
  /// the arguments; those that never started are `cancelled()`, arguments that were never read are
  /// missing. Taken once. Throws `errc::would_deadlock` in a task of this group.
  [[nodiscard]] task<std::vector<outcome<T>>> results() const { return all(core_, state_); }
  [[nodiscard]] auto operator co_await() const { return all_awaiter(all(core_, state_)); }

  /// Waits for the next task that ends and gives its outcome; nothing if all have been given.
  ///
  ///     while (auto ended = co_await group.next())
  [[nodiscard]] task<std::optional<indexed_outcome<T>>> next() const { return one(core_, state_); }

 private:
  using core_pointer = std::shared_ptr<detail::task_pool_core>;
  using state_pointer = std::shared_ptr<detail::pool_group>;

  class all_awaiter {
   public:
    explicit all_awaiter(task<std::vector<outcome<T>>> waiting)
        : waiting_(std::move(waiting)), awaiter_(waiting_.operator co_await()) {}
    [[nodiscard]] bool await_ready() const { return awaiter_.await_ready(); }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
      return awaiter_.await_suspend(parent);
    }
    std::vector<outcome<T>> await_resume() { return awaiter_.await_resume(); }

   private:
    task<std::vector<outcome<T>>> waiting_;
    decltype(std::declval<task<std::vector<outcome<T>>>&>().operator co_await()) awaiter_;
  };

  static task<std::vector<task_id>> wait_started(core_pointer core, state_pointer state,
                                                 detail::group_waiter::kind what) {
    // NOLINTNEXTLINE(misc-const-correctness): awaiting it changes it, which shows on instantiation
    detail::group_wait wait(core, state, what);
    co_await wait;
    co_return core->ids_of(*state);
  }
  static task<> wait_first(core_pointer core, state_pointer state,
                           detail::group_waiter::kind what) {
    // NOLINTNEXTLINE(misc-const-correctness): awaiting it changes it, which shows on instantiation
    detail::group_wait wait(core, state, what);
    co_await wait;
  }
  static task<std::vector<outcome<T>>> all(core_pointer core, state_pointer state) {
    // NOLINTNEXTLINE(misc-const-correctness): awaiting it changes it, which shows on instantiation
    detail::group_wait wait(core, state, detail::group_waiter::kind::done);
    co_await wait;
    std::vector<outcome<T>> outcomes;
    const auto slots = core->slots_of(*state);
    outcomes.reserve(slots.size());
    for (detail::result_slot* slot : slots)
      outcomes.push_back(detail::taken_outcome<T>(*core, *state, *slot));
    co_return outcomes;
  }
  static task<std::optional<indexed_outcome<T>>> one(core_pointer core, state_pointer state) {
    // NOLINTNEXTLINE(misc-const-correctness): awaiting it changes it, which shows on instantiation
    detail::group_wait wait(core, state, detail::group_waiter::kind::next_done);
    co_await wait;
    std::optional<indexed_outcome<T>> ended;
    if (detail::result_slot* const slot = core->take_done(*state); slot != nullptr) {
      ended.emplace();
      ended->index = slot->index;
      ended->ended = detail::taken_outcome<T>(*core, *state, *slot);
    }
    co_return ended;
  }

  core_pointer core_;
  state_pointer state_;
};

} // namespace weir
