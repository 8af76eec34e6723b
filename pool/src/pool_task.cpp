// SPDX-License-Identifier: MIT
// The life of one task of a pool, from its first step to its end.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/this_task.hpp>
#include <weir/with_timeout.hpp>

#include <memory>
#include <new>

namespace weir {

callback_failed::~callback_failed() = default;

namespace detail {

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

/// A coroutine callback runs under a scope of its own: the task's may have been stopped.
struct pool_task::callback_run {
  explicit callback_run(task_scope& of_task) noexcept
      : scope(task_scope::child_of{of_task, of_task.context()}) {}
  callback_run(const callback_run&) = delete;
  callback_run& operator=(const callback_run&) = delete;
  ~callback_run() = default;

  task_scope scope;
  result<void> outcome;
  task<> coroutine;
};

pool_task::pool_task(task_pool_core& core, pool_group& group, run_function first) noexcept
    : task_block(core.home(), first), core_(&core), group_(&group) {
  // Who cancels the task before it starts leaves its end to the worker: callbacks are to be called.
  (void)scope().claim_start(true);
}

pool_task::~pool_task() = default;

bool pool_task::begin_run(thread_state& thread) noexcept {
  task_pool_core& core = *core_;
  const auto now = now_of(home());
  core.queue_delay_.record(now - std::exchange(since_, now));
  if (thread.discarding) {
    (void)scope().request_stop(stop_cause::shutdown);
    core.abandon(thread);
  }
  const auto& start_by = group_->settings_.start_by;
  if (start_by && now > *start_by)
    (void)scope().request_stop(stop_cause::timed_out);
  if (scope().stop_requested()) {
    discard(scope().reason());
    settle(thread, task_end::cancelled, nullptr);
    return false;
  }
  core.log_task(log_level::info, "Started ", id_);
  thread.current = &scope();
  return true;
}

void pool_task::settle(thread_state& thread, task_end how, std::exception_ptr error) noexcept {
  thread.current = nullptr;
  how_ = how;
  error_ = std::move(error);
  task_pool_core& core = *core_;
  if (error_ != nullptr)
    core.log_error("", id_, error_);
  if (how == task_end::cancelled) {
    core.log_task(log_level::debug, "Cancelling ", id_, " ...");
    core.task_cancelled_now(*this);
    core.log_task(log_level::debug, "Cancelled ", id_);
    if (!run_callback(group_->settings_.cancel_callback, "cancel_callback",
                      &run_after_cancel_callback, thread))
      return;
  }
  end(thread);
}

void pool_task::run_after_cancel_callback(job& self, thread_state& thread) noexcept {
  auto& t = static_cast<pool_task&>(self);
  if (t.callback_ended("cancel_callback", thread))
    t.end(thread);
}

void pool_task::end(thread_state& thread) noexcept {
  core_->task_ended_now(*this, thread);
  if (run_callback(group_->settings_.end_callback, "end_callback", &run_after_end_callback, thread))
    finish(thread);
}

void pool_task::run_after_end_callback(job& self, thread_state& thread) noexcept {
  auto& t = static_cast<pool_task&>(self);
  if (t.callback_ended("end_callback", thread))
    t.finish(thread);
}

void pool_task::finish(thread_state& thread) noexcept {
  if (slot_ != nullptr)
    deliver(error_);
  core_->task_done(*this, thread); // the pool may be gone now
  complete(thread);
}

bool pool_task::run_callback(const task_callback& callback, std::string_view which,
                             run_function next, thread_state& thread) noexcept {
  if (!callback)
    return true;
  if (!callback.is_coroutine()) {
    try {
      callback.call(id_);
    } catch (...) {
      callback_threw(which, std::current_exception());
    }
    return true;
  }
  if (thread.self == nullptr) // the runtime is gone: nobody could resume it
    return true;
  try {
    callback_ = std::make_unique<callback_run>(scope());
    const auto& limit = core_->settings().callback_timeout;
    thread.current = &callback_->scope;
    callback_->coroutine = limit ? call_with_limit(callback, id_, *limit)
                                 : callback.start(id_, callback_->scope.token());
  } catch (...) {
    thread.current = nullptr;
    callback_threw(which, std::current_exception());
    callback_.reset();
    return true;
  }
  run = next;
  if (callback_->coroutine.startable()) {
    auto* const coroutine = callback_->coroutine.begin(callback_->outcome);
    if (coroutine != nullptr && !coroutine->start(*this, callback_->scope))
      return false;
  }
  return callback_ended(which, thread);
}

bool pool_task::callback_ended(std::string_view which, thread_state& thread) noexcept {
  if (callback_->scope.visits()) {
    // The task goes on at home.
    callback_->scope.end_visit(thread);
    callback_->scope.set_home(home());
    schedule(home(), thread, *this);
    return false;
  }
  thread.current = nullptr;
  if (callback_->outcome.failed())
    callback_threw(which, callback_->outcome.error());
  callback_.reset();
  return true;
}

void pool_task::callback_threw(std::string_view which, const std::exception_ptr& error) noexcept {
  core_->log_error(which == "end_callback" ? "end_callback of " : "cancel_callback of ", id_,
                   error);
  if (error_ == nullptr) {
    error_ = error;
    return;
  }
  try {
    keep_both(error_, error);
  } catch (...) { // no memory: the earlier one stays
  }
}

void pool_task::count_retry(std::size_t attempt, const std::exception_ptr& error) noexcept {
  core_->task_tries_again();
  core_->log_retry(*this, attempt, error);
}

} // namespace detail

} // namespace weir
