// SPDX-License-Identifier: MIT
// Which tasks of a pool are known, and how they, their groups and the pool are stopped.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>

#include <algorithm>
#include <mutex>
#include <new>

namespace weir::detail {

pool_task* task_pool_core::find(task_id id) const noexcept {
  pool_task* t = buckets_[id & (buckets_.size() - 1)];
  while (t != nullptr && t->id_ != id)
    t = t->next_in_bucket_;
  return t;
}

void task_pool_core::insert(pool_task& t) noexcept {
  if (++known_tasks_ > buckets_.size()) {
    try {
      std::vector<pool_task*> larger(2 * buckets_.size());
      for (pool_task* chain : buckets_) {
        while (chain != nullptr) {
          pool_task* const next = chain->next_in_bucket_;
          auto& bucket = larger[chain->id_ & (larger.size() - 1)];
          chain->next_in_bucket_ = bucket;
          bucket = chain;
          chain = next;
        }
      }
      buckets_.swap(larger);
    } catch (const std::bad_alloc&) { // then they are longer
    }
  }
  auto& bucket = buckets_[t.id_ & (buckets_.size() - 1)];
  t.next_in_bucket_ = bucket;
  bucket = &t;
}

void task_pool_core::remove(pool_task& t) noexcept {
  --known_tasks_;
  pool_task** link = &buckets_[t.id_ & (buckets_.size() - 1)];
  while (*link != &t)
    link = &(*link)->next_in_bucket_;
  *link = t.next_in_bucket_;
}

bool task_pool_core::in_history(task_id id) const noexcept {
  bool found = false;
  history_.for_each([&](const task_report& r) { found = found || r.id == id; });
  return found;
}

void task_pool_core::throw_not_cancellable(task_id id, const pool_task* t, bool ended) const {
  if (t == nullptr && !ended)
    throw task_not_found(id, str_);
  if (ended)
    throw already_ended(task_name(id));
  throw already_cancelled(task_name(id));
}

void task_pool_core::mark_cancelling(pool_task& t, stop_list& to_stop) noexcept {
  unlink_running(t);
  t.state_ = pool_task::state::cancelling;
  t.being_stopped_ = true;
  t.of_group_.next = nullptr;
  (to_stop.last == nullptr ? to_stop.first : to_stop.last->of_group_.next) = &t;
  to_stop.last = &t;
}

void task_pool_core::cancel(std::span<const task_id> ids, const stop_reason& reason) {
  require_not_forked(*home_);
  stop_list to_stop;
  {
    std::unique_lock lock(mutex_);
    for (const task_id id : ids) {
      pool_task* const t = find(id);
      if (t == nullptr || t->state_ != pool_task::state::running) {
        const bool ended = t == nullptr ? in_history(id) : t->state_ == pool_task::state::ended;
        lock.unlock();
        throw_not_cancellable(id, t, ended);
      }
    }
    for (const task_id id : ids) {
      pool_task& t = *find(id);
      if (t.state_ == pool_task::state::running) // not twice in this call
        mark_cancelling(t, to_stop);
    }
  }
  request_stop(to_stop, reason);
}

std::error_code task_pool_core::try_cancel(task_id id, const stop_reason& reason) {
  stop_list to_stop;
  {
    const auto lock = lock_for_caller();
    pool_task* const t = find(id);
    if (t == nullptr)
      return in_history(id) ? errc::already_ended : errc::task_not_found;
    if (t->state_ != pool_task::state::running)
      return t->state_ == pool_task::state::ended ? errc::already_ended : errc::already_cancelled;
    mark_cancelling(*t, to_stop);
  }
  request_stop(to_stop, reason);
  return {};
}

std::vector<task_id> task_pool_core::stop(std::size_t count, const stop_reason& reason) {
  std::vector<task_id> ids;
  stop_list to_stop;
  {
    const auto lock = lock_for_caller();
    ids.reserve(std::min(count, running_));
    while (ids.size() != count && last_running_ != nullptr) {
      pool_task& t = *last_running_;
      ids.push_back(t.id_);
      mark_cancelling(t, to_stop);
    }
  }
  request_stop(to_stop, reason);
  return ids;
}

void task_pool_core::request_stop(const stop_list& tasks, const stop_reason& reason) noexcept {
  for (pool_task* t = tasks.first; t != nullptr;) {
    pool_task* const next = t->of_group_.next;
    (void)t->scope().request_stop(reason);
    bool gone = false;
    {
      const std::scoped_lock lock(mutex_);
      t->being_stopped_ = false;
      gone = t->done_;
    }
    if (gone)
      t->release(); // G4
    t = next;
  }
}

void task_pool_core::interrupt_sources(pool_group* preparing, const stop_reason& reason) noexcept {
  while (preparing != nullptr) {
    const auto group = std::move(preparing->interrupted_self_);
    const auto source = std::move(group->interrupted_source_);
    preparing = group->next_interrupted_;
    source->interrupt(reason);
  }
}

void task_pool_core::forget_group(pool_group& group) noexcept {
  unlink_from(first_known_, last_known_, group, &pool_group::of_known_);
  if (group.over()) {
    unlink_from(first_over_, last_over_, group, &pool_group::of_over_);
    --over_groups_;
  }
  group.known_ = false;
  groups_.erase(group.name_);
}

void task_pool_core::cancel_group(std::string_view name, const stop_reason& reason) {
  std::shared_ptr<pool_group> group;
  {
    const auto lock = lock_for_caller();
    if (const auto found = groups_.find(name); found != groups_.end())
      group = found->second->self_;
  }
  if (group == nullptr || !cancel_group(*group, reason))
    throw task_group_not_found(name);
}

bool task_pool_core::cancel_group(pool_group& group, const stop_reason& reason) {
  stop_list to_stop;
  pool_work work;
  pool_group* preparing = nullptr;
  bool feeder_known = false;
  {
    const auto lock = lock_for_caller();
    if (!group.known_)
      return false;
    feeder_known = group.feeder_known_;
    forget_group(group);
    interrupt_any(group, reason, work, preparing);
    while (group.first_running_ != nullptr)
      mark_cancelling(*group.first_running_, to_stop);
    drop_if_done(group, work);
  }
  log()(log_level::debug, pool_logger, str_, " cancelling tasks in group ", group.name_);
  if (feeder_known)
    log()(log_level::debug, pool_logger, str_, " cancelled and forgot meta tasks from group ",
          group.name_);
  interrupt_sources(preparing, reason);
  request_stop(to_stop, reason);
  log()(log_level::debug, pool_logger, str_, " cancelled tasks from group ", group.name_);
  log()(log_level::debug, pool_logger, str_, " forgot task group ", group.name_);
  perform(this_thread(), work);
  return true;
}

void task_pool_core::cancel_all(const stop_reason& reason) {
  require_not_forked(*home_);
  log()(log_level::warning, pool_logger, str_, " cancelling all tasks!");
  stop_everything(reason);
}

void task_pool_core::stop_everything(const stop_reason& reason) noexcept {
  stop_list to_stop;
  pool_group* preparing = nullptr;
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    while (last_known_ != nullptr) {
      pool_group& group = *last_known_;
      forget_group(group);
      interrupt_any(group, reason, work, preparing);
      while (group.first_running_ != nullptr)
        mark_cancelling(*group.first_running_, to_stop);
      drop_if_done(group, work);
    }
  }
  interrupt_sources(preparing, reason);
  request_stop(to_stop, reason);
  perform(this_thread(), work);
}

void task_pool_core::abandon(thread_state& thread) noexcept {
  pool_work work;
  pool_group* preparing = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    shutting_down_ = true;
    refuse_places(place_waiter::answer::closed, work.woken);
    for (pool_group* g = first_known_; g != nullptr; g = g->of_known_.next)
      interrupt_any(*g, stop_cause::shutdown, work, preparing);
  }
  interrupt_sources(preparing, stop_cause::shutdown);
  perform(thread, work);
}

void task_pool_core::shut_down() noexcept {
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    shutting_down_ = true;
    refuse_places(place_waiter::answer::closed, work.woken);
  }
  stop_everything(stop_cause::shutdown);
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    tell_pool(work);
  }
  perform(this_thread(), work);
}

} // namespace weir::detail
