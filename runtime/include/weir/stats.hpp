// SPDX-License-Identifier: MIT
/// \file
/// What a runtime has done so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir {

/// Counts of one worker, or sums over all. They only grow. Each is exact for its own worker; taken
/// together they are a moment's picture in which one may be ahead of another.
struct worker_stats {
  /// Jobs run: whole callables and coroutine resumptions.
  std::uint64_t run = 0;
  /// New tasks that came from code on this worker.
  std::uint64_t spawned = 0;
  /// Jobs taken from other workers.
  std::uint64_t stolen = 0;
  /// Forks that this worker made public for thieves; most are joined without that.
  std::uint64_t published_forks = 0;
  /// Forks that this worker took from others.
  std::uint64_t stolen_forks = 0;
  /// Rounds over all other workers that found nothing to steal.
  std::uint64_t failed_steals = 0;
  /// Times the worker went to sleep.
  std::uint64_t parks = 0;
  /// Times this worker woke another one.
  std::uint64_t wakes = 0;
  /// Jobs taken from the injector.
  std::uint64_t injector_takes = 0;
  /// Jobs that went to the injector because the worker's own deque was full, or held so many that
  /// one more would not help thieves.
  std::uint64_t overflows = 0;

  worker_stats& operator+=(const worker_stats& other) noexcept {
    run += other.run;
    spawned += other.spawned;
    stolen += other.stolen;
    published_forks += other.published_forks;
    stolen_forks += other.stolen_forks;
    failed_steals += other.failed_steals;
    parks += other.parks;
    wakes += other.wakes;
    injector_takes += other.injector_takes;
    overflows += other.overflows;
    return *this;
  }
};

/// A snapshot of `runtime::stats()`.
struct runtime_stats {
  /// One entry for each worker slot that has been in use.
  std::vector<worker_stats> workers;
  /// The sum of `workers`.
  worker_stats total;
  /// Root tasks accepted from outside threads and from workers.
  std::uint64_t accepted = 0;
  /// Root tasks that have ended: returned, thrown, or been dropped unstarted. Counted after a
  /// task's result was published, so that it may lag behind `get()`; exact after `drain()` or
  /// `stop()`.
  std::uint64_t ended = 0;
  /// Times an outside thread woke a worker.
  std::uint64_t outside_wakes = 0;
  /// Exceptions of tasks that went to whoever waited for them, by `get()` or `co_await` of a
  /// handle.
  std::uint64_t awaited_exceptions = 0;
  /// Exceptions of children that went to the parent by `when_all`, `when_any`, `as_completed` or a
  /// task group.
  std::uint64_t grouped_exceptions = 0;
  /// Exceptions that nobody waited for and that went to the runtime's handler.
  std::uint64_t unhandled_exceptions = 0;
  /// Worker threads now that run tasks, look for some, or sleep until there are some.
  std::size_t running_workers = 0;
  /// Worker threads now whose task is inside `weir::blocking`.
  std::size_t blocked_workers = 0;
  /// Worker threads now that are kept for the next `weir::blocking`.
  std::size_t spare_workers = 0;
  /// Worker threads started so far.
  std::uint64_t threads_started = 0;
  /// Worker threads that the system refused to start.
  std::uint64_t thread_start_failures = 0;
  /// Times a worker was started or recalled to stand in for a blocked one.
  std::uint64_t stand_ins = 0;
  /// Calls of `weir::blocking` that found everybody busy and `max_blocking` reached.
  std::uint64_t blocking_refused = 0;
  /// Exceptions that gave way to an earlier one: of further children of a `when_all`, `join`,
  /// `as_completed` or task group that has failed already, of further forks of functions, of
  /// further tasks of a `flush` or `gather`, and those that a `when_any` did not need.
  std::uint64_t suppressed_exceptions = 0;
};

} // namespace weir
