// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/pool/detail/task_table.hpp>
#include <weir/pool/detail/tracked_task.hpp>

#include <algorithm>
#include <utility>

namespace weir::detail {

task_table::task_table() : buckets_(16) {}
task_table::~task_table() = default;

void task_table::insert(tracked_task& t) noexcept {
  if (count_ >= buckets_.size()) {
    try {
      std::vector<tracked_task*> larger(2 * buckets_.size());
      for (tracked_task* chain : buckets_) {
        while (chain != nullptr) {
          tracked_task* const next = chain->next_in_bucket_;
          auto& bucket = larger[chain->id_ & (larger.size() - 1)];
          chain->next_in_bucket_ = bucket;
          bucket = chain;
          chain = next;
        }
      }
      buckets_.swap(larger);
    } catch (...) { // longer chains will do
    }
  }
  t.id_ = next_++;
  ++count_;
  auto& bucket = buckets_[t.id_ & (buckets_.size() - 1)];
  t.next_in_bucket_ = bucket;
  bucket = &t;
}

void task_table::entered(tracked_task& t) noexcept {
  if (t.deadline_ == nullptr)
    return;
  t.as_block().retain();
  t.deadline_->armed = true;
  t.deadline_->arm(t.pool_->home(), this_thread(), t.deadline_->at);
}

void task_table::remove(tracked_task& t) noexcept {
  --count_;
  tracked_task** link = &buckets_[t.id_ & (buckets_.size() - 1)];
  while (*link != &t)
    link = &(*link)->next_in_bucket_;
  *link = t.next_in_bucket_;
}

tracked_task* task_table::find(task_id id) const noexcept {
  tracked_task* t = buckets_[id & (buckets_.size() - 1)];
  while (t != nullptr && t->id_ != id)
    t = t->next_in_bucket_;
  return t;
}

bool task_table::changed(tracked_task& t, change to) noexcept {
  const std::scoped_lock lock(mutex_);
  if (to == change::gone)
    remove(t);
  else
    t.state_ = to == change::ended ? tracked_task::state::ended : tracked_task::state::cancelled;
  // Whatever comes next, it has started or never will.
  return t.deadline_ != nullptr && std::exchange(t.deadline_->armed, false) &&
         t.deadline_->cancel();
}

bool task_table::deadline_reached(tracked_task& t) noexcept {
  const std::scoped_lock lock(mutex_);
  return std::exchange(t.deadline_->armed, false);
}

// Cancelling.

void task_table::to_stop::reserve(std::size_t count) {
  waiting.reserve(count);
  running.reserve(count);
}

void task_table::to_stop::add(tracked_task& t) {
  t.state_ = tracked_task::state::cancelling;
  t.as_block().retain(); // X2
  (t.as_item().is_in_slot() ? running : waiting).push_back(&t);
}

void task_table::to_stop::stop(const stop_reason& reason) noexcept {
  for (const auto* const some : {&waiting, &running}) {
    for (tracked_task* const t : *some) {
      task_block& block = t->as_block();
      (void)block.scope().request_stop(reason);
      block.release();
    }
  }
}

std::error_code task_table::refusal(task_id id) const noexcept {
  tracked_task* const t = find(id);
  if (t == nullptr)
    return id < next_ ? errc::already_ended : errc::task_not_found;
  switch (t->state_) {
  case tracked_task::state::accepted:
    // Asked to stop by its handle, maybe.
    return t->as_block().scope().stop_requested() ? make_error_code(errc::already_cancelled)
                                                  : std::error_code();
  case tracked_task::state::cancelling:
  case tracked_task::state::cancelled:
    return errc::already_cancelled;
  case tracked_task::state::ended:
    return errc::already_ended;
  }
  return {};
}

void task_table::cancel(std::span<const task_id> ids, const stop_reason& reason,
                        std::string_view pool) {
  to_stop found;
  found.reserve(ids.size());
  {
    std::unique_lock lock(mutex_);
    for (const task_id id : ids) {
      const auto why = refusal(id);
      if (!why)
        continue;
      lock.unlock();
      if (why == errc::task_not_found)
        throw task_not_found(id, pool);
      if (why == errc::already_ended)
        throw already_ended(task_name_of(pool, id));
      throw already_cancelled(task_name_of(pool, id));
    }
    for (const task_id id : ids) {
      tracked_task& t = *find(id);
      if (t.state_ == tracked_task::state::accepted) // not twice in this call
        found.add(t);
    }
  }
  found.stop(reason);
}

std::error_code task_table::try_cancel(task_id id, const stop_reason& reason) {
  to_stop found;
  found.reserve(1);
  {
    const std::scoped_lock lock(mutex_);
    if (const auto why = refusal(id))
      return why;
    found.add(*find(id));
  }
  found.stop(reason);
  return {};
}

std::size_t task_table::cancel_all(const stop_reason& reason) {
  to_stop found;
  {
    const std::scoped_lock lock(mutex_);
    found.reserve(count_);
    for (tracked_task* chain : buckets_) {
      for (; chain != nullptr; chain = chain->next_in_bucket_) {
        if (!refusal(chain->id_))
          found.add(*chain);
      }
    }
  }
  const auto by_id = [](const tracked_task* a, const tracked_task* b) { return a->id() < b->id(); };
  std::ranges::sort(found.waiting, by_id);
  std::ranges::sort(found.running, by_id);
  const std::size_t count = found.waiting.size() + found.running.size();
  found.stop(reason);
  return count;
}

} // namespace weir::detail
