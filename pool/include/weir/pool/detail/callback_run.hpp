// SPDX-License-Identifier: MIT
/// \file
/// How the callbacks of a pool's task are run, one after the other: plain ones at once, coroutines
/// under a scope of their own, because the task's may have been stopped.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/log.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::detail {

/// "std::runtime_error", of the exception that is being handled.
[[nodiscard]] WEIR_API std::string current_exception_name();
/// Its `what()`, or nothing.
[[nodiscard]] WEIR_API std::string text_of(const std::exception_ptr& error);
/// "TaskPool-0_Task-3", of pool and id.
[[nodiscard]] WEIR_API std::string task_name_of(std::string_view pool, task_id id);

class WEIR_API callback_run {
 public:
  /// Whose task it is.
  struct host {
    std::string_view pool;
    const log_sink& log;
    std::string_view logger;
    const std::optional<clock_source::duration>& limit;
    task_id id;
    task_scope& scope;
  };

  callback_run() noexcept;
  callback_run(const callback_run&) = delete;
  callback_run& operator=(const callback_run&) = delete;
  ~callback_run();

  /// \param which "end_callback" or "cancel_callback".
  /// \param next goes on when the callback has ended, and calls `ended`.
  /// \param error the task's exception, which that of the callback takes the place of.
  /// \return whether the callback has ended; if not, `next` may be running or gone.
  [[nodiscard]] bool run(const host& of, const task_callback& callback, std::string_view which,
                         job& next, std::exception_ptr& error, thread_state& thread) noexcept;
  /// \return false if `next` has to go home first, and is called again there.
  [[nodiscard]] bool ended(const host& of, std::string_view which, job& next,
                           std::exception_ptr& error, thread_state& thread) noexcept;

 private:
  struct coroutine;

  static void threw(const host& of, std::string_view which, std::exception_ptr& error) noexcept;

  std::unique_ptr<coroutine> coroutine_;
};

} // namespace weir::detail
