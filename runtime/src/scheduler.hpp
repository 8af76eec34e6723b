// SPDX-License-Identifier: MIT
// The runtime behind `weir::runtime`: its workers, the injector, who sleeps, and the shutdown.
//
// States: open -> draining -> stopping -> stopped, or open -> stopping -> stopped.
//   open      takes work from everywhere
//   draining  takes work only from its own workers, runs everything
//   stopping  takes no work, drops what has not started, resumes what has
//   stopped   every accepted task has ended; workers leave
//
// S1  A root task is counted as accepted before it can run, and as ended after it did.
// S2  An outside thread announces itself before it looks at the state, and submits only if that is
//     open. Whoever moves the state on from open waits until all announced threads have left, and
//     then declares the scheduler sealed: from then on only its own workers add tasks.
// S3  A worker that goes to sleep after that, and a thread that leaves its slot, looks whether
//     anybody is in transit (crew.hpp, E5) and compares the two sums, ended first. If nobody is and
//     they agree, no task or hook is left to add another one: it moves the state to stopped.
#pragma once

#include "crew.hpp"
#include "fork_guests.hpp"
#include "idle_set.hpp"
#include "injector.hpp"
#include "live_tasks.hpp"
#include "manual_time.hpp"
#include "timers.hpp"
#include "worker.hpp"

#include <weir/clock.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace weir::detail {

/// `runtime_options`, validated and with the defaults filled in.
struct scheduler_options {
  std::size_t workers = 1;
  std::size_t max_workers = 1;
  std::size_t min_workers = 1;
  // How many workers automatic growth makes at the most.
  std::size_t growth_limit = 1;
  bool elastic = false;
  std::size_t max_blocking = 0;
  std::chrono::steady_clock::duration keep_alive{};
  std::size_t stack_size = 0;
  std::string thread_name;
  std::function<void(std::size_t)> on_worker_start;
  std::function<void(std::size_t)> on_worker_stop;
  std::function<void(std::exception_ptr)> on_unhandled_exception;
  const clock_source* clock = nullptr;
  std::chrono::nanoseconds spin{};
  bool place_wakes = false;
};

class scheduler : public std::enable_shared_from_this<scheduler> {
 public:
  /// `forked` is what a forked child finds: the word is on a page that the kernel has wiped.
  enum class state : std::uint32_t { forked, open, draining, stopping, stopped };

  explicit scheduler(scheduler_options options);
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  ~scheduler();

  /// Starts the workers. Throws `errc::thread_start_failed` with none left running.
  void start();

  /// Moves the state on to `wanted` and wakes everybody; does not wait for tasks. Never moves it
  /// back.
  void request(state wanted) noexcept;

  /// Waits until the state is stopped, at the latest until `deadline` (null: no limit). Not on a
  /// worker. \return whether it is.
  bool wait_stopped(const sync::time_point* deadline = nullptr) noexcept;
  [[nodiscard]] bool forked() const noexcept {
    // Relaxed: the kernel wrote it before this process began.
    return state_.load(std::memory_order_relaxed) == state::forked;
  }
  /// Tasks accepted that have not ended; exact once the runtime takes no more.
  [[nodiscard]] std::uint64_t left() const noexcept;

  /// Joins the workers after wait_stopped(), or on a worker lets go of all of them.
  void join() noexcept;
  void detach() noexcept;

  // Submitting, see weir/detail/scheduler.hpp.
  void require_open(const thread_state& thread) const;
  /// Opens a submission. \return null for a worker, else the producer that has announced it.
  [[nodiscard]] injector::producer* open_submission(thread_state& thread);
  /// From outside, all in one.
  void submit(thread_state& thread, packet& p);
  /// In an open submission through `producer`.
  void submit(injector::producer& producer, packet& p);
  void submit(injector::producer& producer, packet_source& source, std::size_t count);
  void submit(thread_state& thread, injector::producer* producer, job& j);
  void submit(thread_state& thread, injector::producer* producer, std::span<job* const> jobs);
  void submit_accepted(thread_state& thread, accepted_job& j) noexcept;
  void schedule(thread_state& thread, job& j) noexcept;
  void schedule_last(thread_state& thread, job& j) noexcept;
  void schedule_fork(thread_state& thread, job& j) noexcept;

  // Forks.
  /// The calling thread counts as a root task. Throws as open_submission.
  void enter_guest(thread_state& thread);
  void leave_guest(thread_state& thread) noexcept;
  [[nodiscard]] fork_guests& guests() noexcept { return guests_; }
  /// W1, after a publication.
  void wake_for_forks(thread_state& thread) noexcept;
  /// How many workers other than the calling thread may be waiting for forks: an upper bound, a
  /// hint.
  [[nodiscard]] std::size_t idle_workers(const thread_state& thread) const noexcept;
  /// Steals a fork from anybody but `thief`, beginning behind `at`, which moves on.
  [[nodiscard]] bool steal_fork(const fork_stack& thief, std::size_t& at,
                                stolen_fork& taken) noexcept;
  /// Whether anybody has a fork that could be stolen.
  [[nodiscard]] bool has_public_fork() const noexcept;
  void poison_forks() noexcept;
  /// The next runtime of this process, under the directory's lock.
  [[nodiscard]] scheduler* next_existing() const noexcept { return next_existing_; }

  // For workers.
  [[nodiscard]] state current_state() const noexcept {
    // Seq_cst: pairs with request; a worker that went to sleep before it is woken by it.
    return state_.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] bool injector_may_have_work() const noexcept;
  /// W2's and W3's look at all queues.
  [[nodiscard]] bool has_visible_work() const noexcept;
  /// W1. \return whether a worker was woken or started.
  bool wake_one(wake_for what = wake_for::job) noexcept {
    if (idle_.calls_for_a_searcher(what == wake_for::next_slot)) [[unlikely]]
      return wake_sleeper(what);
    return crew_.may_grow() && crew_.grow();
  }
  /// W1 without starting anybody. \return whether a worker was woken.
  bool wake_sleeper(wake_for what = wake_for::job) noexcept;
  /// Unparks a worker that was taken off the idle set.
  void wake(std::uint32_t index, wake_for what = wake_for::job) noexcept;
  [[nodiscard]] placed_wakes& placed() noexcept { return placed_; }
  /// K2: makes a sleeper search and become the keeper, if sleepers have none and timers are armed.
  void wake_keeper_if_missing() noexcept;
  /// Wakes a sleeper because the manual clock has moved.
  void wake_for_timers() noexcept;
  /// The time of the clock.
  [[nodiscard]] timer_queue::key now() const noexcept {
    return manual_ != nullptr ? manual_->now() : key_of(options_.clock->now());
  }
  /// Until when a keeper may sleep that has to look at `until`; of the steady clock.
  [[nodiscard]] sync::time_point wake_time(timer_queue::key until,
                                           timer_queue::key now) const noexcept;
  [[nodiscard]] manual_time* manual() const noexcept { return manual_; }
  [[nodiscard]] timers& timer_set() noexcept { return timers_; }
  /// K1, K2. From any thread.
  void arm(timer& t, thread_state& thread, timer_queue::key deadline) noexcept;
  /// S3. Wakes everybody if the state is stopped.
  void stop_if_quiescent() noexcept;

  [[nodiscard]] crew& workers() noexcept { return crew_; }
  [[nodiscard]] const scheduler_options& options() const noexcept { return options_; }
  [[nodiscard]] idle_set& idle() noexcept { return idle_; }
  [[nodiscard]] live_tasks& live() noexcept { return live_; }
  [[nodiscard]] injector& entrance() noexcept { return injector_; }
  [[nodiscard]] const sink_ref& sink() const noexcept { return sink_; }

  [[nodiscard]] runtime_stats stats() const;

  /// Counts and reports an exception that nobody waits for.
  void unhandled(std::exception_ptr error) noexcept;

 private:
  void require_not_sealed() const;
  void accept(injector::producer& producer, packet& p);
  /// Puts a job into the injector from outside, waiting for memory if need be.
  void inject(thread_state& thread, job& j) noexcept;
  void wake_from_outside(wake_for what = wake_for::job) noexcept;
  /// Runs a job of a closed runtime on this outside thread as one that must not start.
  void drop(thread_state& thread, accepted_job& j) noexcept;
  void wake_all() noexcept;
  [[nodiscard]] std::uint64_t ended() const noexcept;
  [[nodiscard]] std::uint64_t accepted() const noexcept;

  scheduler_options options_;
  const sink_ref sink_;
  const sync::wiped_page page_;

  // Read by every submission, written only by request and stop_if_quiescent.
  sync::atomic<state>& state_;
  sync::atomic<bool> sealed_{false};
  idle_set idle_;
  injector injector_;
  crew crew_;
  live_tasks live_;
  fork_guests guests_;
  placed_wakes placed_{options_.place_wakes};
  scheduler* next_existing_ = nullptr;
  manual_time* const manual_;
  timers timers_;

  // Cold: shutdown and rare events.
  alignas(sync::line_size) sync::atomic<std::uint32_t> stopped_word_{0};
  sync::atomic<std::uint64_t> outside_wakes_{0};
};

} // namespace weir::detail
