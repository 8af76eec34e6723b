// SPDX-License-Identifier: MIT
// What tasks tell their pool as they are cancelled, end and are done.
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>

#include <mutex>

namespace weir::detail {

namespace {

constexpr auto at(task_end how) noexcept {
  return static_cast<std::size_t>(how);
}

} // namespace

void task_pool_core::unlink_running(pool_task& t) noexcept {
  pool_group& group = *t.group_;
  unlink_from(first_running_, last_running_, t, &pool_task::of_pool_);
  unlink_from(group.first_running_, group.last_running_, t, &pool_task::of_group_);
}

void task_pool_core::enter_closing(pool_task& t) noexcept {
  t.closing_number_ = next_closing_++;
  append_to(first_closing_, last_closing_, t, &pool_task::of_pool_);
}

void task_pool_core::task_cancelled_now(pool_task& t) noexcept {
  const std::scoped_lock lock(mutex_);
  if (t.state_ == pool_task::state::running) // it ended by a cancellation that nobody asked here
    unlink_running(t);
  t.state_ = pool_task::state::cancelled;
  --running_;
  ++cancelled_;
  enter_closing(t);
}

void task_pool_core::task_tries_again() noexcept {
  const std::scoped_lock lock(mutex_);
  ++total_retried_;
}

void task_pool_core::task_ended_now(pool_task& t, thread_state& thread) noexcept {
  pool_group& group = *t.group_;
  pool_work work;
  run_time_.record(now_of(*home_) - t.since_);
  {
    std::unique_lock lock(mutex_);
    if (t.state_ == pool_task::state::cancelled) {
      --cancelled_;
    } else {
      if (t.state_ == pool_task::state::running)
        unlink_running(t);
      --running_;
      enter_closing(t);
    }
    t.state_ = pool_task::state::ended;
    ++ended_;
    ++totals_[at(t.how_)];
    ++recent_[at(t.how_)];
    if (log().takes(log_level::info)) { // G3
      lock.unlock();
      log_task(log_level::info, "Ended ", t.id_);
      lock.lock();
    }
    --in_use_;
    --group.on_the_way_;
    fill(work);
    if (group.state_ == pool_group::state::wants_permit)
      want(group, work);
  }
  perform(thread, work);
}

void task_pool_core::task_done(pool_task& t, thread_state& thread) noexcept {
  pool_group& group = *t.group_;
  pool_work work;
  bool keep = false;
  std::shared_ptr<task_pool_core> alive;
  std::shared_ptr<task_pool_core> kept;
  {
    const std::scoped_lock lock(mutex_);
    t.done_ = true;
    keep = t.being_stopped_;
    remove(t);
    unlink_from(first_closing_, last_closing_, t, &pool_task::of_pool_);
    remember(t, work);
    --live_;
    --group.live_;
    if (t.slot_ != nullptr)
      add_done(group, *t.slot_);
    if (!group.waiters_.empty())
      tell_group(group, work);
    keep_or_drop(group, work);
    if (idle()) { // whoever waits for that may destroy the pool
      alive = shared_from_this();
      kept = std::move(keep_alive_);
    }
    if (!waiters_.empty() || live_ == 0)
      tell_pool(work);
  }
  perform(thread, work);
  if (!keep)
    t.release(); // G4
}

void task_pool_core::remember(pool_task& t, pool_work& work) noexcept {
  failed_ = failed_ || (t.error_ != nullptr && settings_.history != 0);
  work.forgotten = history_.push({t.id_, t.how_, std::move(t.error_)});
}

} // namespace weir::detail
