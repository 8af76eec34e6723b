// SPDX-License-Identifier: MIT
// Which tasks of a pool are known, and how they are stopped.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>

#include <algorithm>
#include <mutex>

namespace weir::detail {

pool_task* task_pool_core::find(task_id id) const noexcept {
  pool_task* t = buckets_[id & (buckets_.size() - 1)];
  while (t != nullptr && t->id_ != id)
    t = t->next_in_bucket_;
  return t;
}

void task_pool_core::insert(pool_task& t) {
  if (++known_tasks_ > buckets_.size()) {
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
  return std::ranges::any_of(history_, [id](const task_report& r) { return r.id == id; });
}

void task_pool_core::throw_not_cancellable(task_id id, const pool_task* t, bool ended) const {
  if (t == nullptr && !ended)
    throw task_not_found(id, str_);
  if (ended)
    throw already_ended(task_name(id));
  throw already_cancelled(task_name(id));
}

void task_pool_core::mark_cancelling(pool_task& t, std::vector<pool_task*>& to_stop) {
  to_stop.push_back(&t);
  unlink_running(t);
  t.state_ = pool_task::state::cancelling;
  t.being_stopped_ = true;
}

void task_pool_core::cancel(std::span<const task_id> ids, const stop_reason& reason) {
  std::vector<pool_task*> to_stop;
  to_stop.reserve(ids.size());
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
  std::vector<pool_task*> to_stop;
  to_stop.reserve(1);
  {
    const std::scoped_lock lock(mutex_);
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
  std::vector<pool_task*> to_stop;
  {
    const std::scoped_lock lock(mutex_);
    const auto stopped = std::min(count, running_);
    ids.reserve(stopped);
    to_stop.reserve(stopped);
    while (ids.size() != count && last_running_ != nullptr) {
      pool_task& t = *last_running_;
      ids.push_back(t.id_);
      mark_cancelling(t, to_stop);
    }
  }
  request_stop(to_stop, reason);
  return ids;
}

void task_pool_core::request_stop(std::vector<pool_task*>& tasks,
                                  const stop_reason& reason) noexcept {
  for (pool_task* const t : tasks) {
    (void)t->scope().request_stop(reason);
    bool gone = false;
    {
      const std::scoped_lock lock(mutex_);
      t->being_stopped_ = false;
      gone = t->done_;
    }
    if (gone)
      t->release(); // G4
  }
}

void task_pool_core::forget_group(pool_group& group) noexcept {
  (group.previous_known_ == nullptr ? first_known_ : group.previous_known_->next_known_) =
      group.next_known_;
  (group.next_known_ == nullptr ? last_known_ : group.next_known_->previous_known_) =
      group.previous_known_;
  group.known_ = false;
  groups_.erase(group.name_);
}

void task_pool_core::cancel_group(std::string_view name, const stop_reason& reason) {
  std::shared_ptr<pool_group> group;
  std::vector<pool_task*> to_stop;
  pool_work work;
  std::vector<std::shared_ptr<task_source>> preparing;
  bool feeder_known = false;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = groups_.find(name);
    if (found == groups_.end())
      throw task_group_not_found(name);
    group = found->second;
    feeder_known = group->feeder_known_;
    to_stop.reserve(group->live_);
    forget_group(*group);
    interrupt_any(*group, work, preparing);
    while (group->first_running_ != nullptr)
      mark_cancelling(*group->first_running_, to_stop);
  }
  log()(log_level::debug, pool_logger, str_, " cancelling tasks in group ", group->name_);
  if (feeder_known)
    log()(log_level::debug, pool_logger, str_, " cancelled and forgot meta tasks from group ",
          group->name_);
  for (const auto& source : preparing)
    source->interrupt(reason);
  request_stop(to_stop, reason);
  log()(log_level::debug, pool_logger, str_, " cancelled tasks from group ", group->name_);
  log()(log_level::debug, pool_logger, str_, " forgot task group ", group->name_);
  perform(this_thread(), work);
}

void task_pool_core::cancel_all(const stop_reason& reason, bool tell) {
  if (tell)
    log()(log_level::warning, pool_logger, str_, " cancelling all tasks!");
  std::vector<std::shared_ptr<pool_group>> forgotten;
  std::vector<pool_task*> to_stop;
  std::vector<std::shared_ptr<task_source>> preparing;
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    forgotten.reserve(groups_.size());
    to_stop.reserve(running_);
    while (last_known_ != nullptr) {
      pool_group& group = *last_known_;
      forgotten.push_back(groups_.find(group.name_)->second);
      forget_group(group);
      interrupt_any(group, work, preparing);
      while (group.first_running_ != nullptr)
        mark_cancelling(*group.first_running_, to_stop);
    }
  }
  for (const auto& source : preparing)
    source->interrupt(reason);
  request_stop(to_stop, reason);
  perform(this_thread(), work);
}

void task_pool_core::log_bad_source(const pool_group& group,
                                    const std::exception_ptr& error) const {
  log()(log_level::error, pool_logger, current_exception_name(), " occurred in group '",
        group.name_, "' while reading its arguments: ", text_of(error));
}

} // namespace weir::detail
