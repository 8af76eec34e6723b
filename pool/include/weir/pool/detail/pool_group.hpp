// SPDX-License-Identifier: MIT
/// \file
/// `pool_group`: the tasks of one call of a `task_pool`, what they are made from, and who waits for
/// them.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/pool/detail/links.hpp>
#include <weir/pool/detail/pool_task.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/retry.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::detail {

/// Where a group's tasks come from. Used by one thread at a time.
class WEIR_API task_source {
 public:
  enum class step {
    made,
    skipped,
    exhausted,
    /// An argument could not be made a task, which ends the group.
    stopped,
    /// `prepared` will be called when the next argument is there.
    later,
    /// The wait for the next argument was given up.
    interrupted,
  };
  virtual ~task_source();
  /// Prepares the next task, and a slot for its result if somebody may want it; a slot without a
  /// task has its outcome already. Throws what reading the arguments throws.
  [[nodiscard]] virtual step produce(task_pool_core& core, pool_group& group, pool_task*& made,
                                     result_slot*& slot) = 0;
  /// Gives up the wait for the next argument, from now on. Any thread.
  virtual void interrupt(const stop_reason& reason) noexcept;

  /// Why there are no more tasks, after `stopped`.
  std::exception_ptr stopped_by;
};

/// Results that somebody may ask for. Derived classes know their type and keep the slots.
class WEIR_API group_results {
 public:
  virtual ~group_results();
};

/// Somebody who waits for something of a group.
class group_waiter : public wait_node {
 public:
  enum class kind : std::uint8_t { all_started, first_started, done, next_done, task_done };
  explicit group_waiter(withdraw_function withdraw) noexcept : wait_node(withdraw) {}
  group_waiter(group_waiter&& unused) noexcept : wait_node(std::move(unused)) {}

  pool_group* group = nullptr;
  kind what = kind::done;
  std::size_t index = 0;
};

struct group_settings {
  std::size_t num_concurrent = SIZE_MAX;
  std::optional<std::size_t> expected{}; // tasks, if known
  task_callback end_callback{};
  task_callback cancel_callback{};
  int priority = 0;
  std::optional<clock_source::duration> timeout{};
  std::optional<clock_source::time_point> start_by{};
  std::optional<retry_options> retry{};
  bad_args policy = bad_args::skip;
  bool counted = false; // made by a number, not from arguments
  bool simple = false;  // of a simple_task_pool
};

/// Runs of consecutive ids: most groups have few.
class id_runs {
 public:
  /// Makes room for one id. Throws `std::bad_alloc`.
  void reserve_one() {
    if (runs_.size() == runs_.capacity())
      runs_.reserve(2 * runs_.size() + 1);
  }
  /// In that room.
  void add(task_id id) noexcept {
    if (!runs_.empty() && runs_.back().second + 1 == id)
      runs_.back().second = id;
    else
      runs_.emplace_back(id, id);
  }
  template <class F>
  void for_each(F&& f) const {
    for (const auto& [first, last] : runs_) {
      for (task_id id = first; id <= last; ++id)
        f(id);
    }
  }

 private:
  std::vector<std::pair<task_id, task_id>> runs_;
};

class WEIR_API pool_group {
 public:
  pool_group(group_settings settings, std::unique_ptr<task_source> source,
             std::unique_ptr<group_results> results);
  pool_group(const pool_group&) = delete;
  pool_group& operator=(const pool_group&) = delete;
  ~pool_group();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const group_settings& settings() const noexcept { return settings_; }
  [[nodiscard]] group_results* results() const noexcept { return results_.get(); }
  /// Whether somebody holds the group and may ask for results. Relaxed: one result too many or
  /// dropped late does no harm.
  [[nodiscard]] bool wanted() const noexcept { return wanted_.load(std::memory_order_relaxed); }
  void set_unwanted() noexcept { wanted_.store(false, std::memory_order_relaxed); }

 private:
  friend class task_pool_core;
  friend class pool_task;

  enum class state : std::uint8_t { preparing, wants_permit, wants_room, finished };

  /// Nothing more will start, and all that has started is done.
  [[nodiscard]] bool over() const noexcept { return state_ == state::finished && live_ == 0; }

  const group_settings settings_;
  const std::unique_ptr<group_results> results_;
  sync::atomic<bool> wanted_{true};
  std::shared_ptr<task_source> source_;
  std::string name_;
  context_ref context_;
  clock_source::time_point since_;
  // Guarded by the pool's mutex:
  std::shared_ptr<pool_group> self_; // while it is known or not over
  state state_ = state::preparing;
  bool cancelled_ = false;
  stop_reason why_;                      // its tasks did not start, if it was cancelled
  bool known_ = false;                   // by the pool's table
  bool interrupted_ = false;             // or about to be: its source is told once
  const thread_state* opener_ = nullptr; // whoever makes its first task, for as long as he does
  bool feeder_known_ = true;
  pool_task* prepared_ = nullptr;
  std::size_t on_the_way_ = 0; // permits in use
  std::size_t live_ = 0;       // tasks that are not done
  std::size_t spawned_ = 0;
  std::size_t skipped_ = 0;
  std::size_t left_ = 0;              // counted in the pool's waiting_
  std::vector<result_slot*> slots_;   // in the order of the arguments
  result_slot* first_done_ = nullptr; // those that are done and were not taken
  result_slot* last_done_ = nullptr;
  id_runs ids_;
  std::exception_ptr error_;   // of its arguments
  std::exception_ptr refusal_; // of the call that was to open it
  pool_task* first_running_ = nullptr;
  pool_task* last_running_ = nullptr;
  wait_list waiters_;
  links<pool_group> in_line_;
  links<pool_group> of_known_;
  links<pool_group> of_over_; // that are known and over
  pool_group* next_work_ = nullptr;
  pool_group* next_failed_ = nullptr;
  std::shared_ptr<pool_group> failed_self_; // until its error has been reported
  // Of those whose end is to be done outside the lock, and what is left of them:
  pool_group* next_ended_ = nullptr;
  std::shared_ptr<pool_group> ended_self_;
  pool_task* leftover_ = nullptr;
  std::optional<std::size_t> interrupted_after_;
  std::shared_ptr<pool_group> next_dropped_;
  // Of those whose sources are to be told to stop:
  pool_group* next_interrupted_ = nullptr;
  std::shared_ptr<pool_group> interrupted_self_;
  std::shared_ptr<task_source> interrupted_source_;
};

} // namespace weir::detail
