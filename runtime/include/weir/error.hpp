// SPDX-License-Identifier: MIT
/// \file
/// What weir throws when it is misused or refuses work.
#pragma once

#include <weir/stop_reason.hpp>
#include <weir/version.hpp>

#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace weir {

/// Why a call was refused. Values are stable; 0 is not used.
enum class errc {
  /// An option is out of range. The text names the field, its value and the limit.
  invalid_option = 1,
  /// An empty `std::function`, null function pointer or the like was submitted.
  empty_callable,
  /// The runtime has been stopped and takes no new work.
  stopped,
  /// The pool has been closed and takes no new work.
  pool_closed,
  /// A worker thread tried to block on a task that has not ended. `co_await` it instead.
  would_deadlock,
  /// The handle or task is empty: default-constructed, moved from, or its result was taken.
  no_state,
  /// A second coroutine tried to await a handle that is being awaited.
  already_awaited,
  /// A worker thread could not be started. The text holds the system's reason.
  thread_start_failed,
  /// A bounded queue is full. The text names the bound.
  queue_full,
  /// The queue has been closed and takes no new items.
  queue_closed,
  /// A mutex was to be unlocked, or a condition waited for with it, that is not locked.
  not_locked,
  /// A count would pass its limit: more permits released than there can be, a latch counted below
  /// zero, more items marked processed than were taken, more arrivals than parties.
  limit_exceeded,
  /// What `with_timeout` or `with_deadline` awaited was stopped because its time was over.
  timed_out,
  /// The process was forked from the one that made the runtime: its workers are not in this one.
  forked,
  /// Forks need a runtime, and the calling thread is none of its workers. Give it as an argument.
  not_on_worker,
  /// The pool is locked; what it has accepted runs, new tasks are refused until `unlock()`.
  pool_locked,
  /// The pool must be locked before its tasks can be gathered.
  pool_unlocked,
  /// The pool is paused and takes no new tasks.
  pool_paused,
  /// Stop was requested of the task before.
  already_cancelled,
  /// The task has ended.
  already_ended,
  /// The pool knows no task of this number.
  task_not_found,
  /// The pool knows no group of this name.
  group_not_found,
  /// The pool has a group of this name already.
  group_exists,
  /// A callback of a task that had failed before has thrown as well.
  callback_failed,
};

/// The category of `errc`; its name is "weir".
/// Thread safety: any thread. Never allocates.
[[nodiscard]] WEIR_API const std::error_category& error_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

/// Every misuse and refusal of weir. `code()` is an `errc`, `what()` says what was wrong and what
/// to do about it.
class WEIR_API error : public std::system_error {
 public:
  error(errc code, const std::string& what) : std::system_error(make_error_code(code), what) {}
  ~error() override;
};

/// Thrown by whoever waits for a task that was stopped before it could end by itself.
///
/// Deliberately not derived from `std::exception`: a `catch (const std::exception&)` inside a task
/// must not eat the request to stop.
class WEIR_API task_cancelled {
 public:
  task_cancelled() noexcept {}
  explicit task_cancelled(stop_reason reason) noexcept : reason_(std::move(reason)) {}
  virtual ~task_cancelled();
  task_cancelled(const task_cancelled&) noexcept = default;
  task_cancelled& operator=(const task_cancelled&) noexcept = default;

  /// Why the task was asked to stop.
  [[nodiscard]] const stop_reason& reason() const noexcept { return reason_; }

 private:
  stop_reason reason_;
};

namespace detail {

/// Out of line, so that the throw does not grow the caller.
[[noreturn]] WEIR_API void throw_error(errc code, const char* what);
[[noreturn]] WEIR_API void throw_forked();

} // namespace detail

} // namespace weir

template <>
struct std::is_error_code_enum<weir::errc> : std::true_type {};
