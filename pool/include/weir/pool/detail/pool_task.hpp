// SPDX-License-Identifier: MIT
/// \file
/// `pool_task`: one task of a `task_pool`, from its first step to its end.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/detail/callback_run.hpp>
#include <weir/pool/detail/links.hpp>
#include <weir/pool/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>

namespace weir::detail {

class task_pool_core;
class pool_group;

/// Where pools write under.
inline constexpr std::string_view pool_logger = "weir.task_pool";

/// The outcome of one argument of a group. Derived classes know its type. Guarded by the pool's
/// mutex, but for the outcome, which is written before `done` and read after it.
struct result_slot {
  result_slot* next_done = nullptr;
  std::size_t index = 0;
  bool done = false;
};

/// One task of a pool. Derived classes know its callable and result.
class WEIR_API pool_task : public task_block {
 public:
  enum class state : std::uint8_t { prepared, running, cancelling, cancelled, ended };

  [[nodiscard]] task_id id() const noexcept { return id_; }

  /// One that never started.
  void destroy_unstarted() noexcept { discard_unsubmitted(); }

 protected:
  pool_task(task_pool_core& core, pool_group& group, run_function first) noexcept;
  ~pool_task() override;

  /// The first step. \return false if the callable must not run: then it is settled already.
  [[nodiscard]] bool begin_run(thread_state& thread) noexcept;
  /// The callable has ended, and was destroyed. The block may be gone afterwards.
  void settle(thread_state& thread, task_end how, std::exception_ptr error) noexcept;
  /// The last step before the task is done: the result goes to the group.
  /// \param error replaces it, if a callback has thrown.
  virtual void deliver(const std::exception_ptr& error) noexcept = 0;
  [[nodiscard]] pool_group& group() const noexcept { return *group_; }
  [[nodiscard]] result_slot* slot() const noexcept { return slot_; }
  void set_slot(result_slot* slot) noexcept { slot_ = slot; }
  /// An attempt of the task has thrown, and there will be another one.
  void count_retry(std::size_t attempt, const std::exception_ptr& error) noexcept;

  /// Errors are the pool's.
  std::exception_ptr failure() noexcept final { return nullptr; }

 private:
  friend class task_pool_core;

  static void run_after_cancel_callback(job& self, thread_state& thread) noexcept;
  static void run_after_end_callback(job& self, thread_state& thread) noexcept;
  /// \return whether the callback has ended; if not, the job goes on as `next`.
  [[nodiscard]] bool run_callback(const task_callback& callback, std::string_view which,
                                  run_function next, thread_state& thread) noexcept;
  /// \return false if the task has to go home first.
  [[nodiscard]] bool callback_ended(std::string_view which, thread_state& thread) noexcept;
  [[nodiscard]] callback_run::host callback_host() noexcept;
  void end(thread_state& thread) noexcept;
  void finish(thread_state& thread) noexcept;

  task_pool_core* core_;
  pool_group* group_;
  result_slot* slot_ = nullptr;
  task_id id_ = 0;
  std::exception_ptr error_;
  callback_run callbacks_;
  // Guarded by the pool's mutex:
  pool_task* next_in_bucket_ = nullptr;
  pool_task* next_ = nullptr; // of those to start
  links<pool_task> of_pool_;  // running, then closing
  links<pool_task> of_group_; // running; `next` then of those to be stopped
  std::uint64_t closing_number_ = 0;
  state state_ = state::prepared;
  bool being_stopped_ = false;
  bool done_ = false;
  // Its own:
  clock_source::time_point since_; // accepted, then started
  task_end how_ = task_end::finished;
};

} // namespace weir::detail
