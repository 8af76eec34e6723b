// SPDX-License-Identifier: MIT
/// \file
/// The tasks of a pool that have an id and have not ended.
///
/// X1  Ids are given in the order in which tasks are accepted. A task is entered and
///     pushed under one lock, so that whoever finds it here finds one that is accepted for good;
///     one that waited for room is entered before a push that does not fail. An id that was given
///     and is not here stands for a task that has ended: no history is kept.
/// X2  A task leaves the table before its outcome is published. Who finds it here takes a share of
///     its block under the lock, and stops it outside.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/pool/errors.hpp>
#include <weir/stop_reason.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace weir::detail {

class tracked_task;

class WEIR_API task_table {
 public:
  task_table();
  task_table(const task_table&) = delete;
  task_table& operator=(const task_table&) = delete;
  ~task_table();

  /// With the task entered; the next id is its own.
  /// \param push accepts it for good; if it throws, the task has not been here.
  template <class Push>
  void enter(tracked_task& t, const Push& push) {
    const std::scoped_lock lock(mutex_);
    insert(t);
    try {
      push();
    } catch (...) {
      remove(t);
      --next_;
      throw;
    }
    entered(t);
  }

  enum class change : std::uint8_t {
    /// Its cancel_callback is next.
    cancelled,
    /// Its end_callback is next.
    ended,
    gone,
  };
  /// By the task. \return whether the caller must let go of a share of the block, at the end.
  [[nodiscard]] bool changed(tracked_task& t, change to) noexcept;
  /// By the timer of a task that was to have started. \return whether it may still have to be
  /// ended.
  [[nodiscard]] bool deadline_reached(tracked_task& t) noexcept;

  /// Throws `task_not_found`, `already_ended`, `already_cancelled` for the first id that cannot be
  /// cancelled; then none is. \param pool its name.
  void cancel(std::span<const task_id> ids, const stop_reason& reason, std::string_view pool);
  /// The same of one, as a code.
  [[nodiscard]] std::error_code try_cancel(task_id id, const stop_reason& reason);
  /// \return how many.
  std::size_t cancel_all(const stop_reason& reason);

 private:
  struct to_stop {
    void reserve(std::size_t count);
    void add(tracked_task& t);
    /// Outside the lock: those that wait, then those that run.
    void stop(const stop_reason& reason) noexcept;
    std::vector<tracked_task*> waiting;
    std::vector<tracked_task*> running;
  };

  // Under the lock.
  void insert(tracked_task& t) noexcept;
  void entered(tracked_task& t) noexcept;
  void remove(tracked_task& t) noexcept;
  [[nodiscard]] tracked_task* find(task_id id) const noexcept;
  [[nodiscard]] std::error_code refusal(task_id id) const noexcept;

  mutable sync::mutex mutex_;
  task_id next_ = 0;
  std::size_t count_ = 0;
  std::vector<tracked_task*> buckets_; // chains by id
};

} // namespace weir::detail
