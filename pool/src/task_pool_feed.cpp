// SPDX-License-Identifier: MIT
// How groups get their tasks prepared, stand in line for room, start tasks and end.
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>

#include <algorithm>
#include <mutex>
#include <new>

namespace weir::detail {

namespace {

bool is_bad_alloc(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

} // namespace

void task_pool_core::perform(thread_state& thread, pool_work& work) noexcept {
  for (;;) {
    while (pool_task* const t = work.first_start) {
      work.first_start = t->next_;
      submit_accepted(*home_, thread, *t);
    }
    work.last_start = nullptr;
    work.woken.complete_all();
    while (pool_group* const ended = work.first_ended) {
      work.first_ended = ended->next_ended_;
      const auto group = std::move(ended->ended_self_);
      const auto source = std::move(ended->source_);
      if (group->interrupted_after_)
        log_interrupted(*group);
      if (pool_task* const leftover = std::exchange(group->leftover_, nullptr); leftover != nullptr)
        leftover->destroy_unstarted();
    }
    work.last_ended = nullptr;
    while (const auto dropped = std::move(work.dropped))
      work.dropped = std::move(dropped->next_dropped_);
    work.unreported.reset();
    pool_group* const next = work.first_prepare;
    if (next == nullptr)
      return;
    work.first_prepare = next->next_work_;
    if (work.first_prepare == nullptr)
      work.last_prepare = nullptr;
    prepare(thread, *next, work);
  }
}

void task_pool_core::prepare(thread_state& thread, pool_group& group, pool_work& work) noexcept {
  pool_task* made = nullptr;
  result_slot* slot = nullptr;
  auto how = task_source::step::exhausted;
  std::exception_ptr error;
  // What the task is made of belongs to who has made the group, not to whoever runs here.
  task_scope* const current = std::exchange(thread.current, nullptr);
  try {
    const ambient_context here(group.context_.get());
    how = group.source_->produce(*this, group, made, slot);
    if (how == task_source::step::stopped)
      error = group.source_->stopped_by;
  } catch (...) {
    error = std::current_exception();
  }
  thread.current = current;
  if (how != task_source::step::later)
    prepared(group, how, made, slot, error, work);
}

void task_pool_core::prepared(pool_group& group, task_source::step how, pool_task* made,
                              result_slot* slot, const std::exception_ptr& error) noexcept {
  pool_work work;
  prepared(group, how, made, slot, error, work);
  perform(this_thread(), work);
}

void task_pool_core::prepared(pool_group& group, task_source::step how, pool_task* made,
                              result_slot* slot, const std::exception_ptr& error,
                              pool_work& work) noexcept {
  if (made != nullptr)
    made->since_ = group.settings_.counted ? group.since_ : now_of(*home_);
  std::exception_ptr failure = error;
  bool tell = how == task_source::step::exhausted; // else the line has been written
  {
    const std::scoped_lock lock(mutex_);
    try {
      reserve_for(group, slot, made != nullptr);
    } catch (...) {
      failure = std::current_exception();
      how = task_source::step::exhausted;
      tell = true;
      group.leftover_ = std::exchange(made, nullptr);
      slot = nullptr;
    }
    if (slot != nullptr) {
      slot->index = group.slots_.size();
      group.slots_.push_back(slot);
    }
    if (how == task_source::step::skipped) {
      ++group.skipped_;
      ++total_skipped_;
      if (slot != nullptr) {
        add_done(group, *slot);
        tell_group(group, work);
      }
    }
    group.prepared_ = made;
    recount(group);
    if (how == task_source::step::interrupted ||
        ((group.cancelled_ || shutting_down_) && how != task_source::step::exhausted)) {
      interrupt(group, work);
    } else if (how == task_source::step::made) {
      want(group, work);
    } else if (how == task_source::step::skipped) {
      ask_to_prepare(group, work);
    } else {
      if (failure != nullptr)
        fail_group(group, failure, work);
      finish_group(group, work, false);
    }
    tell = tell && failure != nullptr && group.refusal_ == nullptr;
  }
  if (tell)
    log_bad_source(group, failure);
}

void task_pool_core::reserve_for(pool_group& group, const result_slot* slot, bool made) {
  if (slot != nullptr && group.slots_.size() == group.slots_.capacity())
    group.slots_.reserve(2 * group.slots_.size() + 1);
  if (made) {
    group.ids_.reserve_one();
    history_.reserve_one();
  }
}

void task_pool_core::fail_group(pool_group& group, const std::exception_ptr& error,
                                pool_work& work) noexcept {
  if (group.opener_ == &this_thread() && group.spawned_ + group.skipped_ == 0 &&
      is_bad_alloc(error)) {
    group.refusal_ = error;
    return;
  }
  group.error_ = error;
  total_dropped_ += left_of(group);
  if (settings_.history == 0) // as with tasks, nobody waits less for what is not kept
    return;
  group.failed_self_ = group.self_;
  (last_failed_ == nullptr ? first_failed_ : last_failed_->next_failed_) = &group;
  last_failed_ = &group;
  if (++failed_groups_ > settings_.history)
    work.unreported = take_failed_group();
  failed_ = true;
  tell_pool(work);
}

std::shared_ptr<pool_group> task_pool_core::take_failed_group() noexcept {
  auto group = std::move(first_failed_->failed_self_);
  first_failed_ = group->next_failed_;
  if (first_failed_ == nullptr)
    last_failed_ = nullptr;
  --failed_groups_;
  return group;
}

void task_pool_core::add_done(pool_group& group, result_slot& slot) noexcept {
  slot.done = true;
  (group.last_done_ == nullptr ? group.first_done_ : group.last_done_->next_done) = &slot;
  group.last_done_ = &slot;
}

void task_pool_core::ask_to_prepare(pool_group& group, pool_work& work) noexcept {
  group.next_work_ = nullptr;
  (work.last_prepare == nullptr ? work.first_prepare : work.last_prepare->next_work_) = &group;
  work.last_prepare = &group;
}

void task_pool_core::want(pool_group& group, pool_work& work) noexcept {
  if (group.on_the_way_ >= group.settings_.num_concurrent) {
    group.state_ = pool_group::state::wants_permit;
    return;
  }
  ++group.on_the_way_;
  stand_in_line(group);
  fill(work);
}

void task_pool_core::stand_in_line(pool_group& group) noexcept {
  group.state_ = pool_group::state::wants_room;
  // Smaller priorities first; the newest last among its equals.
  pool_group* before = last_in_line_;
  while (before != nullptr && before->settings_.priority > group.settings_.priority)
    before = before->in_line_.previous;
  pool_group* const after = before == nullptr ? first_in_line_ : before->in_line_.next;
  group.in_line_ = {after, before};
  (before == nullptr ? first_in_line_ : before->in_line_.next) = &group;
  (after == nullptr ? last_in_line_ : after->in_line_.previous) = &group;
}

void task_pool_core::leave_line(pool_group& group) noexcept {
  unlink_from(first_in_line_, last_in_line_, group, &pool_group::in_line_);
}

void task_pool_core::fill(pool_work& work) noexcept {
  while (in_use_ < limit_ && first_in_line_ != nullptr) {
    pool_group& next = *first_in_line_;
    leave_line(next);
    start(next, work);
  }
}

void task_pool_core::start(pool_group& group, pool_work& work) noexcept {
  pool_task& t = *std::exchange(group.prepared_, nullptr);
  ++in_use_;
  ++live_;
  ++running_;
  peak_ = std::max(peak_, in_use_);
  t.id_ = next_id_++;
  t.state_ = pool_task::state::running;
  insert(t);
  group.ids_.add(t.id_);
  ++group.live_;
  ++group.spawned_;
  recount(group);
  append_to(first_running_, last_running_, t, &pool_task::of_pool_);
  append_to(group.first_running_, group.last_running_, t, &pool_task::of_group_);
  t.next_ = nullptr;
  (work.last_start == nullptr ? work.first_start : work.last_start->next_) = &t;
  work.last_start = &t;
  group.state_ = pool_group::state::preparing;
  ask_to_prepare(group, work);
  if (!group.waiters_.empty())
    tell_group(group, work);
}

void task_pool_core::finish_group(pool_group& group, pool_work& work, bool interrupted) noexcept {
  group.state_ = pool_group::state::finished;
  recount(group);
  --unfinished_groups_;
  free_place(work.woken);
  if (group.prepared_ != nullptr) {
    history_.unreserve_one();
    group.leftover_ = std::exchange(group.prepared_, nullptr);
  }
  if (interrupted)
    group.interrupted_after_ = group.spawned_;
  group.ended_self_ = group.self_;
  group.next_ended_ = nullptr;
  (work.last_ended == nullptr ? work.first_ended : work.last_ended->next_ended_) = &group;
  work.last_ended = &group;
  tell_group(group, work);
  keep_or_drop(group, work);
  if (idle())
    tell_pool(work);
}

void task_pool_core::interrupt(pool_group& group, pool_work& work) noexcept {
  group.cancelled_ = true;
  total_dropped_ += left_of(group);
  if (group.state_ == pool_group::state::wants_room)
    leave_line(group);
  finish_group(group, work, true);
}

void task_pool_core::interrupt_any(pool_group& group, const stop_reason& reason, pool_work& work,
                                   pool_group*& preparing) noexcept {
  if (!group.cancelled_)
    group.why_ = reason;
  if (group.state_ == pool_group::state::preparing) {
    group.cancelled_ = true; // whoever prepares will see it
    if (!std::exchange(group.interrupted_, true)) {
      group.interrupted_self_ = group.self_;
      group.interrupted_source_ = group.source_;
      group.next_interrupted_ = std::exchange(preparing, &group);
    }
  } else if (group.state_ != pool_group::state::finished) {
    interrupt(group, work);
  }
}

void task_pool_core::drop_if_done(pool_group& group, pool_work& work) noexcept {
  if (!group.known_ && group.over() && group.self_ != nullptr) {
    group.next_dropped_ = std::move(work.dropped);
    work.dropped = std::move(group.self_);
  }
}

void task_pool_core::keep_or_drop(pool_group& group, pool_work& work) noexcept {
  if (group.known_ && group.over()) {
    append_to(first_over_, last_over_, group, &pool_group::of_over_);
    if (++over_groups_ > settings_.history) {
      pool_group& oldest = *first_over_;
      forget_group(oldest);
      drop_if_done(oldest, work);
    }
  }
  drop_if_done(group, work);
}

} // namespace weir::detail
