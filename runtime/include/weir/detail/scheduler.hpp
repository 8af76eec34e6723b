// SPDX-License-Identifier: MIT
/// \file
/// What templates in public headers call of the scheduler. The class itself is in runtime/src.
#pragma once

#include <weir/detail/job.hpp>
#include <weir/detail/thread_state.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>

namespace weir::detail {

class scheduler;

/// Where exceptions go that nobody waits for. Shared with failed tasks, which may outlive the
/// runtime.
struct unhandled_sink {
  std::function<void(std::exception_ptr)> handler;

  /// Calls the handler; without one, or if it throws, prints the exception and ends the process.
  WEIR_API void report(std::exception_ptr error) const noexcept;
};

/// Whether an exception of a task is what stopping does to tasks, and nothing to report.
WEIR_API bool is_part_of_stopping(scheduler& home, const std::exception_ptr& error) noexcept;

/// Throws `errc::stopped` if the runtime takes no new work.
WEIR_API void require_open(scheduler& target);

/// Accepts a new root task that sits in `p`, from a thread that is no worker of `target`.
/// Throws `errc::stopped` or `std::bad_alloc`; then `p` is untouched.
WEIR_API void submit_packet(scheduler& target, thread_state& thread, packet& p);

/// A source of `count` packets, made one by one as the queue asks for them.
class packet_source {
 public:
  /// Must not throw: the packets before it are in the queue already.
  virtual packet next() noexcept = 0;

 protected:
  ~packet_source() = default;
};

/// As `submit_packet` for `count` tasks with one wake-up decision: all or none.
WEIR_API void submit_packets(scheduler& target, thread_state& thread, packet_source& source,
                             std::size_t count);

/// Accepts a new root task, from any thread. Throws as `submit_packet`; then `j` is untouched.
WEIR_API void submit_job(scheduler& target, thread_state& thread, job& j);

/// As `submit_job` for several, with one wake-up decision: all or none.
WEIR_API void submit_jobs(scheduler& target, thread_state& thread, std::span<job* const> jobs);

/// Starts a task that a pool has accepted, behind everything that waits, so that tasks start in the
/// order in which the pool hands them out. Counts it as accepted by the runtime. Never fails, as
/// `schedule`; if the runtime is closed meanwhile, the task is dropped here, as if it was stopped.
WEIR_API void submit_accepted(scheduler& target, thread_state& thread, job& j) noexcept;

/// Makes a suspended coroutine run again, next on this worker if it is one of `target`.
/// Never fails: if memory for a queue block is short, the calling thread waits for it.
WEIR_API void schedule(scheduler& target, thread_state& thread, job& j) noexcept;

/// As `schedule`, behind everything that waits (`yield`).
WEIR_API void schedule_last(scheduler& target, thread_state& thread, job& j) noexcept;

/// Lets a child run beside its parent: on this worker after what runs now, the newest first, or on
/// one that steals it. Never fails, as `schedule`.
WEIR_API void schedule_fork(scheduler& target, thread_state& thread, job& j) noexcept;

/// Runs `j` when the current job has unwound to the worker's loop, or schedules it.
WEIR_API void schedule_chained(scheduler& target, thread_state& thread, job& j) noexcept;

/// Counts an exception that gave way to an earlier one of the same combinator.
WEIR_API void count_suppressed(scheduler& home) noexcept;

/// The sink of a runtime's exceptions.
WEIR_API std::shared_ptr<const unhandled_sink> sink_of(scheduler& target) noexcept;

} // namespace weir::detail
