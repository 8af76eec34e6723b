// SPDX-License-Identifier: MIT
/// \file
/// What pools tell of tasks that have ended.
#pragma once

#include <weir/detail/result.hpp>
#include <weir/error.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir {

/// What waiting for the end of a pool's tasks does about their exceptions.
enum class on_exception : std::uint8_t {
  /// The first one that comes ends the wait and is thrown; the other tasks go on, and a pool that
  /// was to be closed stays open, but locked. One that had come before is thrown at once.
  fail_fast,
  /// Waits for all, then throws the first one. The pool is closed, the tasks forgotten.
  rethrow_first,
  /// Throws none: they are in the report.
  collect,
};

/// What a pool does with an argument that cannot be turned into a task, because copying throws.
enum class bad_args : std::uint8_t {
  /// Logs an error and goes on with the next one; no id is used. (After `std::bad_alloc` as
  /// `stop_group`: accepted tasks are not left out because there is no memory.)
  skip,
  /// Logs an error and starts no more tasks of the group.
  stop_group,
  /// Logs an error, goes on, and the exception is the outcome of that argument in the group.
  report,
};

/// One ended task.
struct task_report {
  task_id id = 0;
  task_end how = task_end::finished;
  /// What it, or a callback of it, has thrown; null if that has been thrown by a wait, or nothing
  /// was.
  std::exception_ptr error{};
};

/// A group whose arguments could not be read to their end.
struct group_report {
  std::string group{};
  std::exception_ptr error{};
};

/// What `gather`, `gather_and_close` and `flush` give: the tasks that are forgotten now.
struct gather_report {
  /// Those that had ended before, in the order of their end, the ones whose `end_callback` still
  /// ran last; then those whose cancellation was being handled; then those that were running, by
  /// id. At most `task_pool_options::history`.
  std::vector<task_report> tasks{};
  /// Groups that ended early because reading their arguments threw; the newest `history` ones.
  std::vector<group_report> groups{};
  /// How many ended in which way, also of those that are not in `tasks` any more.
  std::size_t finished = 0;
  std::size_t failed = 0;
  std::size_t cancelled = 0;
};

/// As `gather_report`.
using flush_report = gather_report;

/// How one task has ended, and what it has given.
template <class T>
class outcome {
 public:
  /// A task that has not ended, or never started.
  outcome() noexcept {}
  /// For the library.
  explicit outcome(detail::result<T>&& from) noexcept { result_.take_over(from); }
  outcome(outcome&& other) noexcept : id_(other.id_) { result_.take_over(other.result_); }
  outcome& operator=(outcome&& other) noexcept {
    if (this != &other) {
      result_.reset();
      result_.take_over(other.result_);
      id_ = other.id_;
    }
    return *this;
  }

  /// The task's number, if it was started.
  [[nodiscard]] std::optional<task_id> id() const noexcept { return id_; }
  [[nodiscard]] bool has_value() const noexcept { return result_.has_value(); }
  /// What was thrown; null if nothing was.
  [[nodiscard]] std::exception_ptr error() const noexcept {
    return result_.failed() ? const_cast<detail::result<T>&>(result_).error() : nullptr;
  }
  /// Cancelled, or never started.
  [[nodiscard]] bool cancelled() const noexcept {
    return !result_.has_value() && !result_.failed();
  }
  /// Why, if it was cancelled.
  [[nodiscard]] stop_reason reason() const noexcept {
    return result_.cancelled() ? result_.reason() : stop_reason();
  }
  /// The value, moved out; or throws what the task threw, `task_cancelled` if it was cancelled.
  T get() {
    if (cancelled())
      throw task_cancelled(reason());
    return result_.take();
  }

  /// For the library.
  [[nodiscard]] detail::result<T>& result() noexcept { return result_; }
  void set_id(task_id id) noexcept { id_ = id; }

 private:
  detail::result<T> result_;
  std::optional<task_id> id_;
};

/// The exception of a callback of a task that had thrown before: `what()` is that of the callback's
/// exception, nested is the task's (`std::rethrow_if_nested`).
class WEIR_API callback_failed : public pool_error, public std::nested_exception {
 public:
  /// \param error what the callback has thrown; the exception that is being handled is nested.
  callback_failed(const std::string& text, std::exception_ptr error)
      : pool_error(errc::callback_failed, text), error_(std::move(error)) {}
  ~callback_failed() override;

  /// What the callback has thrown.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

 private:
  std::exception_ptr error_;
};

} // namespace weir
