// SPDX-License-Identifier: MIT
// The life of one task of a pool, from its first step to its end.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>

#include <utility>

namespace weir::detail {

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
    (void)scope().request_stop(stop_cause::not_started_in_time);
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

callback_run::host pool_task::callback_host() noexcept {
  return {core_->str(), core_->log(), pool_logger, core_->settings().callback_timeout,
          id_,          scope()};
}

bool pool_task::run_callback(const task_callback& callback, std::string_view which,
                             run_function next, thread_state& thread) noexcept {
  if (callback && callback.is_coroutine())
    run = next;
  return callbacks_.run(callback_host(), callback, which, *this, error_, thread);
}

bool pool_task::callback_ended(std::string_view which, thread_state& thread) noexcept {
  return callbacks_.ended(callback_host(), which, *this, error_, thread);
}

void pool_task::count_retry(std::size_t attempt, const std::exception_ptr& error) noexcept {
  core_->task_tries_again();
  core_->log_retry(*this, attempt, error);
}

} // namespace weir::detail
