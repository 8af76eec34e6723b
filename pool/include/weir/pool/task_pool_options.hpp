// SPDX-License-Identifier: MIT
/// \file
/// How to set up a pool of groups, and how to start tasks in it.
#pragma once

#include <weir/clock.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/retry.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace weir {

/// A pool without a limit.
inline constexpr std::size_t unlimited = SIZE_MAX;

/// How to set up a `task_pool`.
struct task_pool_options {
  /// Tasks that may run at once; a suspended coroutine counts. 0: none starts.
  std::size_t pool_size = unlimited;
  /// How many groups may wait: those that have not started all of their tasks, however many that
  /// are (`num` and arguments that are not read yet cost next to nothing); at least 1. When there
  /// are as many, new calls are refused or wait, see `pool_base::admit`.
  std::size_t max_waiting_groups = unlimited;
  /// Stands in the pool's name in place of its number.
  std::string name{};
  /// Gets the log lines.
  log_sink log{};
  /// How many ended tasks, how many ended groups, and how many errors of groups the pool remembers
  /// until `flush` or `gather`. Older tasks are only counted.
  std::size_t history = 65536;
  /// What `flush` and `gather` do about exceptions if they are not told.
  on_exception exceptions = on_exception::fail_fast;
  /// Stops a coroutine callback that runs longer; the task's exception is `errc::timed_out` then.
  std::optional<std::chrono::nanoseconds> callback_timeout{};
};

/// How to start equal tasks.
struct apply_options {
  /// How many; 0 makes a group without tasks.
  std::size_t num = 1;
  /// Empty: "apply-<function>-group-<number>".
  std::string group_name{};
  task_callback end_callback{};
  task_callback cancel_callback{};
  /// Groups with smaller ones get room first, equal ones in turn.
  int priority = 0;
  /// Stops a coroutine task that runs longer: it fails by `errc::timed_out`.
  std::optional<std::chrono::nanoseconds> timeout{};
  /// A task whose turn comes later is cancelled by `stop_cause::not_started_in_time`, unstarted.
  std::optional<clock_source::time_point> start_by{};
  weir::bad_args bad_args = weir::bad_args::skip;
  /// Calls tasks that have thrown again; none by default. Callable and arguments must be copyable.
  std::optional<retry_options> retry{};
};

/// How to start a task for each argument.
struct map_options {
  /// How many of the call's tasks may run at once, at least 1.
  std::size_t num_concurrent = 1;
  /// The early form's name of it.
  std::optional<std::size_t> group_size{};
  /// Empty: "map-<function>-group-<number>", and likewise for the other calls.
  std::string group_name{};
  task_callback end_callback{};
  task_callback cancel_callback{};
  /// As in `apply_options`.
  int priority = 0;
  std::optional<std::chrono::nanoseconds> timeout{};
  std::optional<clock_source::time_point> start_by{};
  weir::bad_args bad_args = weir::bad_args::skip;
  std::optional<retry_options> retry{};
};

} // namespace weir
