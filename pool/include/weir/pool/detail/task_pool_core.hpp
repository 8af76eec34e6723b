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
/// G1  All tables are guarded by `mutex_`. Starting and ending a task hold it for a few
///     instructions, who asks for ids or an ended task, gathers or cancels many for as long as the
///     list is: no callback, log line, copy of an argument, or submission to the runtime happens
///     under it. What is to be done outside is collected in a `pool_work` and done by `perform()`.
/// G2  `in_use_` counts tasks from the moment they get room to the moment they end, before their
///     end callback. A task starts only if `in_use_ < limit_`. Room goes to the first in line.
/// G3  A task that uses the room of another one starts after the other one's line "Ended" was
///     logged.
/// G4  A task's block is kept by two references: the runtime's, and the pool's, which goes when the
///     task is done, or if somebody requests stop of it at that moment, when he is through.
/// G5  What the tables need for a task is reserved when it is prepared: from then on, and for
///     stopping and forgetting, no step needs memory. Without memory a task cannot be prepared:
///     that is thrown by the call that opens the group if it is its first task, else it ends the
///     group early like an error of its arguments. Log lines are left out then.
/// G6  With a bound, each group that may still start tasks has one of `most_places_` places, and so
///     has each `admission`. A place that comes free goes to the first who waits for one.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/pool/detail/pool_group.hpp>
#include <weir/pool/detail/pool_task.hpp>
#include <weir/pool/detail/task_history.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/stats.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::detail {

/// What is to be done outside the lock, in this order.
struct pool_work {
  pool_task* first_start = nullptr;
  pool_task* last_start = nullptr;
  woken_list woken;
  pool_group* first_prepare = nullptr;
  pool_group* last_prepare = nullptr;
  // Lines and leftovers of groups that start no more tasks.
  pool_group* first_ended = nullptr;
  pool_group* last_ended = nullptr;
  // Groups that nobody needs any more; their results may be the user's, and so their destructors.
  std::shared_ptr<pool_group> dropped;
  std::exception_ptr forgotten;           // likewise
  std::shared_ptr<pool_group> unreported; // likewise
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

/// Somebody who waits for a place among the groups that wait.
class place_waiter : public wait_node {
 public:
  enum class answer : std::uint8_t { none, place, locked, closed };
  explicit place_waiter(withdraw_function withdraw) noexcept : wait_node(withdraw) {}
  place_waiter(place_waiter&& unused) noexcept : wait_node(std::move(unused)) {}

  answer given = answer::none;
};

/// One place among the groups that wait; the core must live longer.
class group_place {
 public:
  /// The caller has taken one.
  explicit group_place(task_pool_core& of) noexcept : core_(&of) {}
  group_place(group_place&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  group_place& operator=(group_place&&) = delete;
  inline ~group_place();

  [[nodiscard]] task_pool_core* core() const noexcept { return core_; }
  /// The group has it now.
  void taken_over() noexcept { core_ = nullptr; }

 private:
  task_pool_core* core_;
};

struct task_pool_settings {
  std::size_t pool_size = SIZE_MAX;
  std::size_t max_waiting_groups = SIZE_MAX;
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
    std::size_t waiting_groups = 0;
    std::uint64_t started = 0;
    std::uint64_t finished = 0;
    std::uint64_t failed = 0;
    std::uint64_t stopped = 0;
    std::uint64_t skipped = 0;
    std::uint64_t retried = 0;
    bool locked = false;
    bool closed = false;
  };
  [[nodiscard]] counts snapshot() const;
  [[nodiscard]] pool_stats stats() const;
  void set_pool_size(std::size_t size);
  /// \return whether it was unlocked before.
  bool lock();
  void unlock();

  /// A place for one more group; nothing if there is none or others wait for one. Throws
  /// `pool_is_closed`, `pool_is_locked`, `errc::stopped`, `errc::forked`.
  [[nodiscard]] std::optional<group_place> try_place();
  /// As `try_place`, but throws `pool_is_full`.
  [[nodiscard]] group_place place();
  /// In a forked child it does nothing: a thread that is not there may hold the lock.
  void give_back_place() noexcept;
  /// For who has a place already. Throws as `try_place`.
  void require_open() const;
  /// Throws `task_group_already_exists`, `errc::forked`.
  void require_unknown(std::string_view group_name) const;
  /// Makes a group known and lets it start.
  /// \param stem names the group if `name` is empty: a number is added.
  std::shared_ptr<pool_group> open_group(group_place& place, std::shared_ptr<pool_group> group,
                                         std::string name, std::string_view stem);
  [[nodiscard]] std::vector<task_id> group_ids(std::span<const std::string_view> names) const;
  [[nodiscard]] std::vector<task_id> ids_of(const pool_group& group) const;
  /// Why the group's arguments ended early, or null.
  [[nodiscard]] std::exception_ptr error_of(const pool_group& group) const;
  /// The slots in the order of the arguments; those still to be filled are not `done`.
  [[nodiscard]] std::vector<result_slot*> slots_of(const pool_group& group) const;
  /// Why tasks of the group have not started, if it was cancelled.
  [[nodiscard]] stop_reason why_unstarted(const pool_group& group) const noexcept;
  /// The slot that was filled first of those not taken by this; null if there is none now.
  [[nodiscard]] result_slot* take_done(pool_group& group) noexcept;

  void cancel(std::span<const task_id> ids, const stop_reason& reason);
  /// What cancelling it would throw, as a code; else cancels it.
  [[nodiscard]] std::error_code try_cancel(task_id id, const stop_reason& reason);
  void cancel_group(std::string_view name, const stop_reason& reason);
  /// \return whether the pool knew the group.
  bool cancel_group(pool_group& group, const stop_reason& reason);
  void cancel_all(const stop_reason& reason);
  [[nodiscard]] std::vector<task_id> stop(std::size_t count, const stop_reason& reason);

  /// A group's argument could not be made a task.
  /// \param call the call as the log shows it, "work(*(1, 2), **{})".
  void log_bad_args(const pool_group& group, const std::string& call) const;
  void log_bad_source(const pool_group& group, const std::exception_ptr& error) const noexcept;
  /// What has become of the next argument, when a source has said `later`.
  void prepared(pool_group& group, task_source::step how, pool_task* made, result_slot* slot,
                const std::exception_ptr& error) noexcept;

  // For awaiters.
  [[nodiscard]] bool wait(pool_waiter& w);
  [[nodiscard]] bool withdraw(pool_waiter& w) noexcept;
  [[nodiscard]] bool wait(group_waiter& w);
  [[nodiscard]] bool withdraw(group_waiter& w) noexcept;
  [[nodiscard]] bool wait(place_waiter& w);
  [[nodiscard]] bool withdraw(place_waiter& w) noexcept;

  /// What a gather finds, for the order of its report. By default all has been done before.
  struct gather_start {
    std::uint64_t done = UINT64_MAX; // tasks before it
    /// Tasks that have ended or been cancelled and are not done, and their places among these, by
    /// id.
    std::vector<std::pair<task_id, std::size_t>> closing;
  };
  [[nodiscard]] gather_start begin_gather() const;
  /// Forgets what has ended. Throws `std::bad_alloc`; then nothing has happened.
  /// \param first gets the oldest exception, which the report does not show then; may be null.
  [[nodiscard]] gather_report collect(const gather_start& start, std::exception_ptr* first);
  /// Takes the oldest exception of the report's tasks out of the pool, or gives null.
  [[nodiscard]] std::exception_ptr take_first_error();
  void require_locked() const;
  /// Locks the pool for `closer`, unless it is closed. Throws `errc::would_deadlock` for a task of
  /// the pool; then nothing has happened.
  void lock_to_close(task_scope* closer);
  /// The pool's task that `scope` belongs to; null if it is none of them.
  [[nodiscard]] const pool_task* task_of(task_scope& scope) const noexcept;

  /// Nothing is taken any more, everything is cancelled.
  void shut_down() noexcept;
  void wait_idle() noexcept;
  static void keep_until_idle(std::shared_ptr<task_pool_core> core) noexcept;

 private:
  friend class pool_task;

  /// Tasks that are to be stopped, in this order.
  struct stop_list {
    pool_task* first = nullptr;
    pool_task* last = nullptr;
  };

  // By tasks.
  void task_tries_again() noexcept;
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

  // Lines of tasks and groups, outside the lock.
  void log_task(log_level level, std::string_view before, task_id id,
                std::string_view after = {}) const noexcept;
  void log_error(std::string_view what, task_id id, const std::exception_ptr& error) const noexcept;
  void log_retry(const pool_task& t, std::size_t attempt,
                 const std::exception_ptr& error) const noexcept;
  void log_interrupted(const pool_group& group) const noexcept;

  /// Locks the pool. Throws `errc::forked` in a forked child, where a thread that is not there may
  /// hold the lock.
  [[nodiscard]] std::scoped_lock<sync::mutex> lock_for_caller() const;

  // Under the lock.
  /// Throws `pool_is_closed`, `pool_is_locked`.
  void check_open() const;
  void free_place(woken_list& woken) noexcept;
  void refuse_places(place_waiter::answer why, woken_list& woken) noexcept;
  void reserve_for(pool_group& group, const result_slot* slot, bool made); // G5
  void fail_group(pool_group& group, const std::exception_ptr& error, pool_work& work) noexcept;
  void add_done(pool_group& group, result_slot& slot) noexcept;
  static void ask_to_prepare(pool_group& group, pool_work& work) noexcept;
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
  void interrupt_any(pool_group& group, const stop_reason& reason, pool_work& work,
                     pool_group*& preparing) noexcept;
  void forget_group(pool_group& group) noexcept;
  /// Lets go of a group that is neither known nor has tasks to come.
  static void drop_if_done(pool_group& group, pool_work& work) noexcept;
  static void tell_group(pool_group& group, pool_work& work) noexcept;
  void tell_pool(pool_work& work) noexcept;
  [[nodiscard]] bool holds(const pool_waiter& w) const noexcept;
  [[nodiscard]] static bool holds(const group_waiter& w) noexcept;
  [[nodiscard]] counts counts_now() const noexcept;
  [[nodiscard]] static std::size_t left_of(const pool_group& group) noexcept;
  [[nodiscard]] bool idle() const noexcept { return live_ == 0 && unfinished_groups_ == 0; }
  [[nodiscard]] pool_task* find(task_id id) const noexcept;
  void insert(pool_task& t) noexcept;
  void remove(pool_task& t) noexcept;
  void mark_cancelling(pool_task& t, stop_list& to_stop) noexcept;
  void remember(pool_task& t, pool_work& work) noexcept;
  /// After whatever may have ended it. Of groups that are over the pool keeps the last `history`.
  void keep_or_drop(pool_group& group, pool_work& work) noexcept;
  /// The oldest that has failed, out of the list.
  [[nodiscard]] std::shared_ptr<pool_group> take_failed_group() noexcept;
  void unlink_running(pool_task& t) noexcept;
  void enter_closing(pool_task& t) noexcept;
  [[noreturn]] void throw_not_cancellable(task_id id, const pool_task* t, bool ended) const;
  [[nodiscard]] bool in_history(task_id id) const noexcept;

  /// Outside the lock.
  void request_stop(const stop_list& tasks, const stop_reason& reason) noexcept;
  static void interrupt_sources(pool_group* preparing, const stop_reason& reason) noexcept;
  void stop_everything(const stop_reason& reason) noexcept;

  scheduler* const home_;
  const scheduler_share keeps_home_; // for handles that are left when pool and runtime are gone
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
  std::size_t places_ = 0; // taken, by groups and by those that are about to open one
  std::uint64_t totals_[3] = {};
  std::uint64_t total_skipped_ = 0;
  std::uint64_t total_dropped_ = 0; // cancelled before they got room
  std::uint64_t total_retried_ = 0;
  std::size_t recent_[3] = {}; // since the last flush
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
  task_history history_;
  pool_group* first_failed_ = nullptr;
  pool_group* last_failed_ = nullptr;
  std::size_t failed_groups_ = 0;
  std::uint32_t idle_waits_ = 0; // threads in wait_idle
  bool failed_ = false;          // there is an exception to be thrown
  // Groups that want room, the first to get it first.
  pool_group* first_in_line_ = nullptr;
  pool_group* last_in_line_ = nullptr;
  // Groups by name, and in the order of their making.
  std::unordered_map<std::string_view, pool_group*> groups_;
  pool_group* first_known_ = nullptr;
  pool_group* last_known_ = nullptr;
  // Of these the ones that are over, in the order of their end.
  pool_group* first_over_ = nullptr;
  pool_group* last_over_ = nullptr;
  std::size_t over_groups_ = 0;
  std::unordered_map<std::string, std::uint64_t> group_numbers_;
  wait_list waiters_;
  wait_list place_waiters_;
  std::shared_ptr<task_pool_core> keep_alive_;
  sync::atomic<std::uint32_t> idle_word_{0};
  histogram_recorder queue_delay_;
  histogram_recorder run_time_;
};

inline group_place::~group_place() {
  if (core_ != nullptr)
    core_->give_back_place();
}

} // namespace weir::detail
