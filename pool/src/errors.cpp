// SPDX-License-Identifier: MIT
#include <weir/pool/errors.hpp>

namespace weir {

namespace {

std::string quoted(std::string_view before, std::string_view name, std::string_view after) {
  std::string text;
  text.reserve(before.size() + name.size() + after.size());
  return text.append(before).append(name).append(after);
}

} // namespace

pool_error::pool_error(errc code, const std::string& text)
    : error(code, text), text_(std::make_shared<const std::string>(text)) {}

const char* pool_error::what() const noexcept {
  return text_->c_str();
}

already_cancelled::already_cancelled(std::string_view task_name)
    : task_ended(errc::already_cancelled, quoted("'", task_name, "' has been cancelled")) {}

already_ended::already_ended(std::string_view task_name)
    : task_ended(errc::already_ended, quoted("'", task_name, "' has finished running")) {}

task_not_found::task_not_found(task_id id, std::string_view pool)
    : invalid_task_id(errc::task_not_found,
                      quoted("No task with ID " + std::to_string(id) + " found in ", pool, "")) {}

task_group_not_found::task_group_not_found(std::string_view name)
    : invalid_group_name(errc::group_not_found,
                         quoted("No task group named '", name, "' exists in this pool.")) {}

task_group_already_exists::task_group_already_exists(std::string_view name)
    : invalid_group_name(errc::group_exists,
                         quoted("Task group named '", name, "' already exists.")) {}

pool_error::~pool_error() = default;
pool_is_closed::~pool_is_closed() = default;
pool_is_locked::~pool_is_locked() = default;
pool_is_full::~pool_is_full() = default;
pool_still_unlocked::~pool_still_unlocked() = default;
invalid_pool_option::~invalid_pool_option() = default;
task_ended::~task_ended() = default;
already_cancelled::~already_cancelled() = default;
already_ended::~already_ended() = default;
invalid_task_id::~invalid_task_id() = default;
task_not_found::~task_not_found() = default;
invalid_group_name::~invalid_group_name() = default;
task_group_not_found::~task_group_not_found() = default;
task_group_already_exists::~task_group_already_exists() = default;
task_pool_error::~task_pool_error() = default;
not_available::~not_available() = default;

} // namespace weir
