// SPDX-License-Identifier: MIT
#include <weir/detail/scheduler.hpp>
#include <weir/pool/detail/callback_run.hpp>
#include <weir/pool/reports.hpp>
#include <weir/this_task.hpp>
#include <weir/with_timeout.hpp>

#include <cstdlib>
#include <typeinfo>

#include <cxxabi.h>

namespace weir {

callback_failed::~callback_failed() = default;

namespace detail {

std::string current_exception_name() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr)
    return "an exception";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type->name(), nullptr, nullptr, &status), &std::free);
  return name != nullptr ? name.get() : type->name();
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return {};
  }
}

std::string task_name_of(std::string_view pool, task_id id) {
  std::string name(pool);
  return name.append("_Task-").append(std::to_string(id));
}

namespace {

/// The later exception, with the earlier one nested.
void keep_both(std::exception_ptr& earlier, const std::exception_ptr& later) {
  const std::string what = text_of(later);
  try {
    std::rethrow_exception(earlier);
  } catch (...) {
    earlier = std::make_exception_ptr(callback_failed(what, later));
  }
}

/// With the token of the coroutine that runs it.
task<> call_with_token(const task_callback& callback, task_id id) {
  co_await callback.start(id, this_task::stop_token());
}

task<> call_with_limit(const task_callback& callback, task_id id, clock_source::duration limit) {
  co_await with_timeout(call_with_token(callback, id), limit);
}

} // namespace

struct callback_run::coroutine {
  explicit coroutine(task_scope& of_task) noexcept
      : scope(task_scope::child_of{of_task, of_task.context()}) {}
  coroutine(const coroutine&) = delete;
  coroutine& operator=(const coroutine&) = delete;
  ~coroutine() = default;

  task_scope scope;
  result<void> outcome;
  task<> frame;
};

callback_run::callback_run() noexcept = default;
callback_run::~callback_run() = default;

bool callback_run::run(const host& of, const task_callback& callback, std::string_view which,
                       job& next, std::exception_ptr& error, thread_state& thread) noexcept {
  if (!callback)
    return true;
  if (!callback.is_coroutine()) {
    try {
      callback.call(of.id);
    } catch (...) {
      threw(of, which, error);
    }
    return true;
  }
  if (thread.home != &of.scope.root().home()) // the runtime is gone: nobody could resume it
    return true;
  try {
    coroutine_ = std::make_unique<coroutine>(of.scope);
    thread.current = &coroutine_->scope;
    coroutine_->frame = of.limit ? call_with_limit(callback, of.id, *of.limit)
                                 : callback.start(of.id, coroutine_->scope.token());
  } catch (...) {
    thread.current = nullptr;
    threw(of, which, error);
    coroutine_.reset();
    return true;
  }
  if (coroutine_->frame.startable()) {
    auto* const frame = coroutine_->frame.begin(coroutine_->outcome);
    if (frame != nullptr && !frame->start(next, coroutine_->scope))
      return false;
  }
  return ended(of, which, next, error, thread);
}

bool callback_run::ended(const host& of, std::string_view which, job& next,
                         std::exception_ptr& error, thread_state& thread) noexcept {
  task_scope& scope = coroutine_->scope;
  if (scope.visits()) {
    // The task goes on at home.
    scheduler& home = of.scope.root().home();
    scope.end_visit(thread);
    scope.set_home(home);
    schedule(home, thread, next);
    return false;
  }
  thread.current = nullptr;
  if (coroutine_->outcome.failed()) {
    try {
      std::rethrow_exception(coroutine_->outcome.error());
    } catch (...) {
      threw(of, which, error);
    }
  }
  coroutine_.reset();
  return true;
}

/// While the exception is being handled.
void callback_run::threw(const host& of, std::string_view which,
                         std::exception_ptr& error) noexcept {
  const auto thrown = std::current_exception();
  try {
    if (of.log.takes(log_level::error))
      of.log(log_level::error, of.logger, current_exception_name(), " occurred in ", which, " of ",
             task_name_of(of.pool, of.id), ": ", text_of(thrown));
  } catch (...) { // no memory for the line
  }
  if (error == nullptr) {
    error = thrown;
    return;
  }
  try {
    keep_both(error, thrown);
  } catch (...) { // no memory: the earlier one stays
  }
}

} // namespace detail

} // namespace weir
