// SPDX-License-Identifier: MIT
/// \file
/// The core of `task_pool` and `simple_task_pool`: groups, ids, room, the life of a task.
///
/// A group is what one `apply`, `map` or `start` has made. It reads its arguments one ahead: a task
/// is prepared, waits for a permit of its group, then for room in the pool, in line with the other
/// groups; when it starts, the next one is prepared by whoever started it. So a group is in one of
/// these states, and stands in line at most once:
///
///   preparing       somebody reads the next argument, outside the lock; only he touches `source_`
///   wants_permit    a task is prepared, and `limit_` tasks of the group are on their way
///   wants_room      a task is prepared, has a permit, and the group stands in line
///   finished        nothing more will start
///
/// A task's way: prepared -> running -> (cancelling ->) (cancelled ->) ended -> done.
///
/// G1  All tables are guarded by `mutex_`, which is held for a few instructions: no callback, log
///     line, copy of an argument, or submission to the runtime happens under it. What is to be done
///     outside is collected in a `pool_work` and done by `perform()`.
/// G2  `in_use_` counts tasks from the moment they get room to the moment they end, before their
///     end callback. A task starts only if `in_use_ < limit_`. Room goes to the first in line.
/// G3  A task that uses the room of another one starts after the other one's line "Ended" was
///     logged.
/// G4  A task's block is kept by two references: the runtime's, and the pool's, which goes when the
///     task is done, or if somebody requests stop of it at that moment, when he is through.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/context.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/detail/callback_run.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/stats.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::detail {

class task_pool_core;
class pool_group;
class pool_task;

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
  struct links {
    pool_task* next = nullptr;
    pool_task* previous = nullptr;
  };
  links of_pool_;  // running, then closing
  links of_group_; // running
  std::uint64_t closing_number_ = 0;
  state state_ = state::prepared;
  bool being_stopped_ = false;
  bool done_ = false;
  // Its own:
  clock_source::time_point since_; // accepted, then started
  task_end how_ = task_end::finished;
};

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
  bad_args policy = bad_args::skip;
  bool counted = false; // made by a number, not from arguments
  bool simple = false;  // of a simple_task_pool
};

/// Runs of consecutive ids: most groups have few.
class id_runs {
 public:
  void add(task_id id) {
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
             std::unique_ptr<group_results> results) noexcept;
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

  const group_settings settings_;
  const std::unique_ptr<group_results> results_;
  sync::atomic<bool> wanted_{true};
  std::shared_ptr<task_source> source_;
  std::string name_;
  context_ref context_;
  clock_source::time_point since_;
  // Guarded by the pool's mutex:
  std::shared_ptr<pool_group> self_; // while it is not over
  state state_ = state::preparing;
  bool cancelled_ = false;
  bool known_ = false; // by the pool's table
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
  std::exception_ptr error_; // of its arguments
  pool_task* first_running_ = nullptr;
  pool_task* last_running_ = nullptr;
  wait_list waiters_;
  pool_group* next_in_line_ = nullptr;
  pool_group* previous_in_line_ = nullptr;
  pool_group* next_known_ = nullptr;
  pool_group* previous_known_ = nullptr;
  pool_group* next_work_ = nullptr;
};

/// What is to be done outside the lock, in this order.
struct pool_work {
  pool_task* first_start = nullptr;
  pool_task* last_start = nullptr;
  woken_list woken;
  pool_group* first_prepare = nullptr;
  pool_group* last_prepare = nullptr;
  // Lines and leftovers of groups that have ended.
  struct ended_group {
    std::shared_ptr<pool_group> group;
    std::shared_ptr<task_source> source;
    pool_task* prepared = nullptr;
    std::optional<std::size_t> interrupted_after{};
  };
  std::vector<ended_group> ended;
  std::exception_ptr forgotten; // its exception may be the user's, and so its destructor
};

/// Somebody who waits for something of a pool.
class pool_waiter : public wait_node {
 public:
  enum class kind : std::uint8_t { idle, idle_to_close, flushed, closed };
  explicit pool_waiter(withdraw_function withdraw) noexcept : wait_node(withdraw) {}
  pool_waiter(pool_waiter&& unused) noexcept : wait_node(std::move(unused)) {}

  kind what = kind::idle;
  bool fail_fast = false;
  bool failed = false; // why it was told
  std::uint64_t number = 0;
};

struct task_pool_settings {
  std::size_t pool_size = SIZE_MAX;
  std::string name;
  log_sink log;
  std::size_t history = 65536;
  on_exception exceptions = on_exception::fail_fast;
  std::optional<clock_source::duration> callback_timeout;
};

class WEIR_API task_pool_core final : public std::enable_shared_from_this<task_pool_core> {
 public:
  /// \param kind "TaskPool" or "SimpleTaskPool".
  task_pool_core(scheduler& home, std::string_view kind, task_pool_settings settings);
  task_pool_core(const task_pool_core&) = delete;
  task_pool_core& operator=(const task_pool_core&) = delete;
  ~task_pool_core();

  [[nodiscard]] scheduler& home() const noexcept { return *home_; }
  [[nodiscard]] const std::string& str() const noexcept { return str_; }
  [[nodiscard]] const task_pool_settings& settings() const noexcept { return settings_; }
  [[nodiscard]] const log_sink& log() const noexcept { return settings_.log; }
  [[nodiscard]] std::string task_name(task_id id) const;

  // A moment's values.
  struct counts {
    std::size_t pool_size = 0;
    std::size_t in_use = 0;
    std::size_t running = 0;
    std::size_t cancelled = 0;
    std::size_t ended = 0;
    std::size_t waiting = 0;
    std::size_t peak_running = 0;
    std::size_t groups = 0;
    std::uint64_t started = 0;
    std::uint64_t finished = 0;
    std::uint64_t failed = 0;
    std::uint64_t stopped = 0;
    std::uint64_t skipped = 0;
    bool locked = false;
    bool closed = false;
  };
  [[nodiscard]] counts snapshot() const;
  [[nodiscard]] pool_stats stats() const;
  void set_pool_size(std::size_t size);
  void lock();
  void unlock();

  /// Throws `pool_is_closed`, `pool_is_locked`, `errc::stopped`, `errc::forked`.
  void require_open() const;
  /// Throws `task_group_already_exists`.
  void require_unknown(std::string_view group_name) const;
  /// Makes a group known and lets it start.
  /// \param stem names the group if `name` is empty: a number is added.
  std::shared_ptr<pool_group> open_group(std::shared_ptr<pool_group> group, std::string name,
                                         std::string_view stem);
  [[nodiscard]] std::vector<task_id> group_ids(std::span<const std::string_view> names) const;
  [[nodiscard]] std::vector<task_id> ids_of(const pool_group& group) const;
  /// The slots in the order of the arguments; those still to be filled are not `done`.
  [[nodiscard]] std::vector<result_slot*> slots_of(const pool_group& group) const;
  /// The slot that was filled first of those not taken by this; null if there is none now.
  [[nodiscard]] result_slot* take_done(pool_group& group) noexcept;

  void cancel(std::span<const task_id> ids, const stop_reason& reason);
  /// What cancelling it would throw, as a code; else cancels it.
  [[nodiscard]] std::error_code try_cancel(task_id id, const stop_reason& reason);
  void cancel_group(std::string_view name, const stop_reason& reason);
  void cancel_all(const stop_reason& reason, bool tell = true);
  [[nodiscard]] std::vector<task_id> stop(std::size_t count, const stop_reason& reason);

  /// A group's argument could not be made a task.
  /// \param call the call as the log shows it, "work(*(1, 2), **{})".
  void log_bad_args(const pool_group& group, const std::string& call) const;
  void log_bad_source(const pool_group& group, const std::exception_ptr& error) const;
  /// What has become of the next argument, when a source has said `later`.
  void prepared(pool_group& group, task_source::step how, pool_task* made, result_slot* slot,
                const std::exception_ptr& error) noexcept;

  // For awaiters.
  [[nodiscard]] bool wait(pool_waiter& w);
  [[nodiscard]] bool withdraw(pool_waiter& w) noexcept;
  [[nodiscard]] bool wait(group_waiter& w);
  [[nodiscard]] bool withdraw(group_waiter& w) noexcept;

  struct gather_start {
    std::size_t ended = 0;
    std::vector<task_id> cancelled;
  };
  [[nodiscard]] gather_start begin_gather() const;
  /// Forgets what has ended.
  [[nodiscard]] gather_report collect(const gather_start& start);
  /// Takes the oldest exception of the report's tasks out of the pool, or gives null.
  [[nodiscard]] std::exception_ptr take_first_error();
  void require_locked() const;
  /// The pool's task that `scope` belongs to; null if it is none of them.
  [[nodiscard]] const pool_task* task_of(task_scope& scope) const noexcept;

  /// Nothing is taken any more, everything is cancelled.
  void shut_down() noexcept;
  void wait_idle() noexcept;
  static void keep_until_idle(std::shared_ptr<task_pool_core> core) noexcept;

 private:
  friend class pool_task;

  // By tasks.
  void task_cancelled_now(pool_task& t) noexcept;
  void task_ended_now(pool_task& t, thread_state& thread) noexcept;
  void task_done(pool_task& t, thread_state& thread) noexcept;
  /// The runtime drops tasks: no group goes on.
  void abandon(thread_state& thread) noexcept;

  /// Does what was collected, and what follows from it.
  void perform(thread_state& thread, pool_work& work) noexcept;
  void prepare(thread_state& thread, pool_group& group, pool_work& work) noexcept;
  void prepared(pool_group& group, task_source::step how, pool_task* made, result_slot* slot,
                const std::exception_ptr& error, pool_work& work) noexcept;

  // Under the lock.
  void want(pool_group& group, pool_work& work) noexcept;
  void stand_in_line(pool_group& group) noexcept;
  void leave_line(pool_group& group) noexcept;
  void fill(pool_work& work) noexcept;
  void start(pool_group& group, pool_work& work) noexcept;
  void finish_group(pool_group& group, pool_work& work, bool interrupted) noexcept;
  /// After whatever changes what `left_of` gives.
  void recount(pool_group& group) noexcept;
  void interrupt(pool_group& group, pool_work& work) noexcept;
  /// As interrupt, whatever the group does now.
  void interrupt_any(pool_group& group, pool_work& work,
                     std::vector<std::shared_ptr<task_source>>& preparing) noexcept;
  void forget_group(pool_group& group) noexcept;
  static void over_if_done(pool_group& group, pool_work& work) noexcept;
  static void tell_group(pool_group& group, pool_work& work) noexcept;
  void tell_pool(pool_work& work) noexcept;
  [[nodiscard]] bool holds(const pool_waiter& w) const noexcept;
  [[nodiscard]] static bool holds(const group_waiter& w) noexcept;
  [[nodiscard]] counts counts_now() const noexcept;
  [[nodiscard]] static std::size_t left_of(const pool_group& group) noexcept;
  [[nodiscard]] bool idle() const noexcept { return live_ == 0 && unfinished_groups_ == 0; }
  [[nodiscard]] pool_task* find(task_id id) const noexcept;
  void insert(pool_task& t);
  void remove(pool_task& t) noexcept;
  void mark_cancelling(pool_task& t, std::vector<pool_task*>& to_stop);
  void remember(pool_task& t, pool_work& work) noexcept;
  void forget_old_groups(pool_work& work) noexcept;
  void unlink_running(pool_task& t) noexcept;
  void enter_closing(pool_task& t) noexcept;
  [[noreturn]] void throw_not_cancellable(task_id id, const pool_task* t, bool ended) const;
  [[nodiscard]] bool in_history(task_id id) const noexcept;

  /// Outside the lock.
  void request_stop(std::vector<pool_task*>& tasks, const stop_reason& reason) noexcept;

  scheduler* const home_;
  const task_pool_settings settings_;
  const std::string str_;

  mutable sync::mutex mutex_;
  std::size_t limit_;
  std::size_t in_use_ = 0;
  std::size_t running_ = 0;
  std::size_t cancelled_ = 0; // in cancellation
  std::size_t ended_ = 0;     // since the last flush
  std::size_t live_ = 0;      // not done
  std::size_t waiting_ = 0;   // accepted, without room
  std::size_t peak_ = 0;
  std::size_t unfinished_groups_ = 0;
  std::uint64_t totals_[3] = {};
  std::uint64_t total_skipped_ = 0;
  std::uint64_t total_dropped_ = 0; // cancelled before they got room
  std::size_t recent_[3] = {};      // since the last flush
  task_id next_id_ = 0;
  std::uint64_t next_closing_ = 0;
  bool locked_ = false;
  bool closed_ = false;
  bool shutting_down_ = false;
  std::vector<pool_task*> buckets_;
  std::size_t known_tasks_ = 0;
  // Of running ones, in the order of their start; of those between cancelled or ended and done.
  pool_task* first_running_ = nullptr;
  pool_task* last_running_ = nullptr;
  pool_task* first_closing_ = nullptr;
  pool_task* last_closing_ = nullptr;
  std::deque<task_report> history_;
  std::vector<group_report> group_errors_;
  std::uint32_t idle_waits_ = 0; // threads in wait_idle
  bool failed_ = false;          // there is an exception to be thrown
  // Groups that want room, the first to get it first.
  pool_group* first_in_line_ = nullptr;
  pool_group* last_in_line_ = nullptr;
  // Groups by name, and in the order of their making.
  std::unordered_map<std::string_view, std::shared_ptr<pool_group>> groups_;
  pool_group* first_known_ = nullptr;
  pool_group* last_known_ = nullptr;
  std::unordered_map<std::string, std::uint64_t> group_numbers_;
  wait_list waiters_;
  std::shared_ptr<task_pool_core> keep_alive_;
  sync::atomic<std::uint32_t> idle_word_{0};
  histogram_recorder queue_delay_;
  histogram_recorder run_time_;
};

} // namespace weir::detail
