// SPDX-License-Identifier: MIT
// The names of tasks, and the lines that a pool logs of them and of its groups. A line for which
// there is no memory is left out.
#include <weir/pool/detail/task_pool_core.hpp>

#include <exception>
#include <string>

namespace weir::detail {

namespace {

/// "std::runtime_error".
std::string name_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (...) {
    return current_exception_name();
  }
}

template <class F>
void if_memory_allows(F&& write) noexcept {
  try {
    write();
  } catch (...) { // no reason for a task to fail
  }
}

} // namespace

std::string task_pool_core::task_name(task_id id) const {
  std::string name;
  name.reserve(str_.size() + 16);
  return name.append(str_).append("_Task-").append(std::to_string(id));
}

void task_pool_core::log_task(log_level level, std::string_view before, task_id id,
                              std::string_view after) const noexcept {
  log()(level, pool_logger, before, str_, "_Task-", id, after);
}

void task_pool_core::log_error(std::string_view what, task_id id,
                               const std::exception_ptr& error) const noexcept {
  if (!log().takes(log_level::error))
    return;
  if_memory_allows([&] {
    log()(log_level::error, pool_logger, name_of(error), " occurred in ", what, task_name(id), ": ",
          text_of(error));
  });
}

void task_pool_core::log_retry(const pool_task& t, std::size_t attempt,
                               const std::exception_ptr& error) const noexcept {
  if (!log().takes(log_level::warning))
    return;
  if_memory_allows([&] {
    log()(log_level::warning, pool_logger, name_of(error), " occurred in attempt ", attempt, " of ",
          t.group_->settings_.retry->attempts, " of ", task_name(t.id_), ": ", text_of(error));
  });
}

void task_pool_core::log_interrupted(const pool_group& group) const noexcept {
  if (!log().takes(log_level::debug))
    return;
  if_memory_allows([&] {
    const auto& expected = group.settings_.expected;
    log()(log_level::debug, pool_logger, "Cancelled group '", group.name_, "' after ",
          *group.interrupted_after_,
          expected && group.settings_.counted ? " out of " + std::to_string(*expected)
                                              : std::string(),
          " tasks have been spawned");
  });
}

void task_pool_core::log_bad_args(const pool_group& group, const std::string& call) const {
  if (group.settings_.simple)
    log()(log_level::error, pool_logger, current_exception_name(), " occurred in '", str_,
          "' while trying to create coroutine: ", call);
  else
    log()(log_level::error, pool_logger, current_exception_name(), " occurred in group '",
          group.name_, "' while trying to create coroutine: ", call);
}

void task_pool_core::log_bad_source(const pool_group& group,
                                    const std::exception_ptr& error) const noexcept {
  if (!log().takes(log_level::error))
    return;
  if_memory_allows([&] {
    log()(log_level::error, pool_logger, name_of(error), " occurred in group '", group.name_,
          "' while reading its arguments: ", text_of(error));
  });
}

} // namespace weir::detail
