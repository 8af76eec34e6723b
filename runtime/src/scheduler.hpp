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
// S2  A worker that goes to sleep while the state is not open compares the two sums, ended first.
// If
//     they agree, nothing is running or waiting anywhere, and it moves the state to stopped.
// S3  A submitter that published a packet and then sees the state `stopped` empties the injector
//     itself, and so does the worker that moved the state, afterwards. One of the two sees the
//     packet.
#pragma once

#include "idle_set.hpp"
#include "injector.hpp"
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
  std::size_t stack_size = 0;
  std::string thread_name;
  std::function<void(std::size_t)> on_worker_start;
  std::function<void(std::size_t)> on_worker_stop;
  std::function<void(std::exception_ptr)> on_unhandled_exception;
  const clock* time = nullptr;
  std::chrono::nanoseconds spin{};
};

class scheduler : public std::enable_shared_from_this<scheduler> {
 public:
  enum class state : std::uint32_t { open, draining, stopping, stopped };

  explicit scheduler(scheduler_options options);
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;
  ~scheduler();

  /// Starts the workers. Throws `errc::thread_start_failed` with none left running.
  void start();

  /// Moves the state on to `wanted` and wakes everybody; does not wait. Never moves it back.
  void request(state wanted) noexcept;

  /// Waits until the state is stopped. Not on a worker.
  void wait_stopped() noexcept;

  /// Joins the workers after wait_stopped(), or on a worker lets go of all of them.
  void join() noexcept;
  void detach() noexcept;

  // Submitting, see weir/detail/scheduler.hpp.
  void require_open(const thread_state& thread) const;
  void submit(thread_state& thread, packet& p);
  void submit(thread_state& thread, packet_source& source, std::size_t count);
  void submit(thread_state& thread, job& j);
  void submit(thread_state& thread, std::span<job* const> jobs);
  void submit_accepted(thread_state& thread, job& j) noexcept;
  void schedule(thread_state& thread, job& j) noexcept;
  void schedule_last(thread_state& thread, job& j) noexcept;

  // For workers.
  [[nodiscard]] state current_state() const noexcept {
    // Seq_cst: pairs with request; a worker that went to sleep before it is woken by it.
    return state_.load(std::memory_order_seq_cst);
  }
  /// W2's and W3's look at all queues.
  [[nodiscard]] bool has_visible_work() const noexcept;
  /// W1. \return whether a worker was woken.
  bool wake_one() noexcept;
  /// S2.
  void stop_if_quiescent() noexcept;

  [[nodiscard]] worker& at(std::size_t index) noexcept { return *workers_[index]; }
  [[nodiscard]] std::size_t worker_count() const noexcept { return workers_.size(); }
  [[nodiscard]] const scheduler_options& options() const noexcept { return options_; }
  [[nodiscard]] idle_set& idle() noexcept { return idle_; }
  [[nodiscard]] injector& entrance() noexcept { return injector_; }
  [[nodiscard]] const std::shared_ptr<const unhandled_sink>& sink() const noexcept { return sink_; }

  [[nodiscard]] runtime_stats stats() const;

  /// Counts and reports an exception that nobody waits for.
  void unhandled(std::exception_ptr error) noexcept;

 private:
  /// Puts a job into the injector from outside, waiting for memory if need be.
  void inject(thread_state& thread, job& j, bool root) noexcept;
  /// After publishing from outside: W1 and S3.
  void after_publish(submission_guard& guard) noexcept;
  void wake_all() noexcept;
  void empty_injector() noexcept;
  [[nodiscard]] bool injector_may_have_work() const noexcept;
  [[nodiscard]] std::uint64_t ended() const noexcept;
  [[nodiscard]] std::uint64_t accepted() const noexcept;

  scheduler_options options_;
  std::shared_ptr<const unhandled_sink> sink_;

  // Read by every submission, written only by request and S2.
  alignas(sync::line_size) sync::atomic<state> state_{state::open};
  idle_set idle_;
  injector injector_;
  std::vector<std::unique_ptr<worker>> workers_;

  // Cold: shutdown and rare events.
  alignas(sync::line_size) sync::atomic<std::uint32_t> stopped_word_{0};
  sync::atomic<std::uint64_t> ended_outside_{0};
  sync::atomic<std::uint64_t> taken_outside_{0};
  sync::atomic<std::uint64_t> outside_wakes_{0};
  std::shared_ptr<sync::atomic<std::uint64_t>> unhandled_;
};

} // namespace weir::detail
