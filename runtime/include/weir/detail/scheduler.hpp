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
#include <utility>

namespace weir::detail {

class scheduler;

/// Where exceptions go that nobody waits for, and how many went which way. Shared with failed
/// tasks, which may outlive the runtime.
struct error_sink {
  std::function<void(std::exception_ptr)> handler;
  // What a task of this process has thrown is reported here, not also by its forked children.
  const long process = sync::process_id();
  // Figures, all relaxed; see runtime_stats.
  sync::atomic<std::uint64_t> awaited{0};
  sync::atomic<std::uint64_t> grouped{0};
  sync::atomic<std::uint64_t> unhandled{0};
  sync::atomic<std::uint64_t> suppressed{0};
  sync::atomic<std::uint32_t> references{1};

  /// Calls the handler; without one, or if it throws, prints the exception and ends the process.
  WEIR_API void report(std::exception_ptr error) noexcept;

  static void count(sync::atomic<std::uint64_t>& figure) noexcept {
    figure.fetch_add(1, std::memory_order_relaxed);
  }
};

/// A share of a sink, or none.
class sink_ref {
 public:
  sink_ref() noexcept {}
  /// Takes over a new sink.
  explicit sink_ref(error_sink* made) noexcept : sink_(made) {}
  sink_ref(const sink_ref& other) noexcept : sink_(other.sink_) {
    if (sink_ != nullptr) // relaxed: the caller holds a share already
      sink_->references.fetch_add(1, std::memory_order_relaxed);
  }
  sink_ref(sink_ref&& other) noexcept : sink_(std::exchange(other.sink_, nullptr)) {}
  sink_ref& operator=(sink_ref other) noexcept {
    std::swap(sink_, other.sink_);
    return *this;
  }
  ~sink_ref() {
    // Acquire-release: the last one deletes after everybody else's use.
    if (sink_ != nullptr && sink_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete sink_;
  }
  [[nodiscard]] error_sink* give_up() noexcept { return std::exchange(sink_, nullptr); }
  [[nodiscard]] explicit operator bool() const noexcept { return sink_ != nullptr; }
  error_sink& operator*() const noexcept { return *sink_; }
  error_sink* operator->() const noexcept { return sink_; }

 private:
  error_sink* sink_ = nullptr;
};

/// Keeps a scheduler for somebody who may live longer than its runtime, whose threads are gone
/// then.
class WEIR_API scheduler_share {
 public:
  explicit scheduler_share(scheduler& kept);
  scheduler_share(const scheduler_share&) = delete;
  scheduler_share& operator=(const scheduler_share&) = delete;
  ~scheduler_share();

 private:
  std::shared_ptr<scheduler> kept_;
};

/// Whether an exception of a task is what stopping does to tasks, and nothing to report.
WEIR_API bool is_part_of_stopping(scheduler& home, const std::exception_ptr& error) noexcept;

/// Throws `errc::stopped` if the runtime takes no new work, `errc::forked` in a forked child.
WEIR_API void require_open(scheduler& target);

/// A source of `count` packets, made one by one as the queue asks for them.
class packet_source {
 public:
  /// Must not throw: the packets before it are in the queue already.
  virtual packet next() noexcept = 0;

 protected:
  ~packet_source() = default;
};

/// Held while a new task is made and submitted. As long as one is held, the runtime does not end,
/// and from the moment it is made nothing of the task is refused because the runtime closes: so a
/// refusal comes before anything was moved.
class WEIR_API submission_entry {
 public:
  /// Throws `errc::stopped`, `errc::forked`, `std::bad_alloc`.
  explicit submission_entry(scheduler& target);
  submission_entry(const submission_entry&) = delete;
  submission_entry& operator=(const submission_entry&) = delete;
  ~submission_entry();

  /// Whether the calling thread is no worker of the runtime.
  [[nodiscard]] bool from_outside() const noexcept { return producer_ != nullptr; }
  /// Whether a callable is better submitted in a packet than as a job of its own: from outside, and
  /// by a worker whose deque is long, for which it is one more that waits, and more memory.
  [[nodiscard]] bool wants_packets() const noexcept;
  [[nodiscard]] thread_state& thread() const noexcept { return thread_; }

  /// Accept new root tasks, all of them with one wake-up decision, or none. Throw
  /// `std::bad_alloc`; then what was to be submitted is untouched.
  void submit(packet& p);
  void submit(packet_source& source, std::size_t count);
  void submit(job& j);
  void submit(std::span<job* const> jobs);

 private:
  scheduler& target_;
  thread_state& thread_;
  void* producer_; // null on a worker of the runtime
};

/// A submission of one packet in a single call, from a thread that is no worker of `target`: for
/// callables whose copying nobody can see. Throws as `submission_entry`; then `p` is untouched.
WEIR_API void submit_from_outside(scheduler& target, thread_state& thread, packet& p);

/// Starts a task that a pool has accepted, behind everything that waits, so that tasks start in the
/// order in which the pool hands them out. Counts it as accepted by the runtime. Never fails, as
/// `schedule`; if the runtime is closed meanwhile, the task is dropped here, as if it was stopped.
WEIR_API void submit_accepted(scheduler& target, thread_state& thread, accepted_job& j) noexcept;

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

/// Makes all owners of forks in this process look whether stop was requested of what they run.
WEIR_API void poison_forks() noexcept;

/// Counts an exception that a combinator throws in the parent.
WEIR_API void count_grouped(scheduler& home) noexcept;

/// Counts an exception that gave way to an earlier one of the same combinator.
WEIR_API void count_suppressed(scheduler& home) noexcept;

/// The sink of a runtime's exceptions.
WEIR_API sink_ref sink_of(scheduler& target) noexcept;

/// Whether this process was forked from the one that made the runtime: its workers are not here.
[[nodiscard]] WEIR_API bool is_forked(const scheduler& target) noexcept;
/// Throws `errc::forked` then: locks may be held by threads that are not here.
WEIR_API void require_not_forked(const scheduler& target);

} // namespace weir::detail
