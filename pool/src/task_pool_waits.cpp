// SPDX-License-Identifier: MIT
// Who waits for what of a pool or a group, and what the pool then tells.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>

#include <algorithm>
#include <mutex>

namespace weir::detail {

namespace {

[[noreturn]] void throw_waits_for_itself() {
  throw_error(errc::would_deadlock,
              "a task of a pool must not wait for the end of the pool's tasks: it is one of them");
}

/// Moves who need not wait any more from one list to the other.
template <class Waiter, class Predicate>
void move_if(wait_list& from, woken_list& to, Predicate&& holds) noexcept {
  wait_list stay;
  while (wait_node* const node = from.pop_front()) {
    if (holds(static_cast<Waiter&>(*node)))
      to.push_back(*node);
    else
      stay.push_back(*node);
  }
  while (wait_node* const node = stay.pop_front())
    from.push_back(*node);
}

} // namespace

bool task_pool_core::holds(const pool_waiter& w) const noexcept {
  switch (w.what) {
  case pool_waiter::kind::idle:
  case pool_waiter::kind::idle_to_close:
    return (w.fail_fast && failed_) || idle();
  case pool_waiter::kind::flushed:
    return first_closing_ == nullptr || first_closing_->closing_number_ >= w.number;
  case pool_waiter::kind::closed:
    return closed_;
  }
  return true;
}

bool task_pool_core::holds(const group_waiter& w) noexcept {
  const pool_group& group = *w.group;
  const bool finished = group.state_ == pool_group::state::finished;
  const bool over = group.over();
  switch (w.what) {
  case group_waiter::kind::all_started:
    return finished;
  case group_waiter::kind::first_started:
    return finished || group.spawned_ >= group.settings_.num_concurrent;
  case group_waiter::kind::done:
    return over;
  case group_waiter::kind::next_done:
    return over || group.first_done_ != nullptr;
  case group_waiter::kind::task_done:
    return over || (w.index < group.slots_.size() && group.slots_[w.index]->done);
  }
  return true;
}

void task_pool_core::tell_pool(pool_work& work) noexcept {
  move_if<pool_waiter>(waiters_, work.woken, [this](pool_waiter& w) {
    const bool go = holds(w);
    w.failed = w.fail_fast && failed_;
    // Closed in the moment in which the pool is idle, so that nothing can be accepted in between.
    if (go && w.what == pool_waiter::kind::idle_to_close && !w.failed)
      closed_ = true;
    return go;
  });
  if (closed_) {
    move_if<pool_waiter>(waiters_, work.woken, [this](const pool_waiter& w) { return holds(w); });
    refuse_places(place_waiter::answer::closed, work.woken);
  }
  if (idle_waits_ != 0 && idle()) {
    idle_word_.fetch_add(1, std::memory_order_relaxed); // the mutex orders it
    sync::futex_wake_all(idle_word_);
  }
}

void task_pool_core::tell_group(pool_group& group, pool_work& work) noexcept {
  if (!group.waiters_.empty())
    move_if<group_waiter>(group.waiters_, work.woken,
                          [](const group_waiter& w) { return holds(w); });
}

bool task_pool_core::wait(pool_waiter& w) {
  const pool_task* const caller = task_of(w.scope());
  const bool flushes = w.what == pool_waiter::kind::flushed;
  pool_work work;
  {
    const auto lock = lock_for_caller();
    // A running task is not waited for by flush, but one in its callbacks is.
    if (caller != nullptr && w.what != pool_waiter::kind::closed &&
        !(flushes && (caller->state_ == pool_task::state::running ||
                      caller->state_ == pool_task::state::cancelling)))
      throw_waits_for_itself();
    if (flushes)
      w.number = next_closing_;
    if (!holds(w)) {
      waiters_.push_back(w);
      return true;
    }
    w.failed = w.fail_fast && failed_;
    if (w.what == pool_waiter::kind::idle_to_close && !w.failed) {
      closed_ = true;
      tell_pool(work);
    }
  }
  work.woken.complete_all();
  return false;
}

bool task_pool_core::withdraw(pool_waiter& w) noexcept {
  const std::scoped_lock lock(mutex_);
  return waiters_.remove(w);
}

bool task_pool_core::wait(group_waiter& w) {
  const pool_task* const caller = task_of(w.scope());
  if (w.what == group_waiter::kind::done && caller != nullptr && caller->group_ == w.group)
    throw_error(errc::would_deadlock,
                "a task must not wait for the end of its own group: it is one of its tasks");
  const auto lock = lock_for_caller();
  if (holds(w))
    return false;
  w.group->waiters_.push_back(w);
  return true;
}

bool task_pool_core::withdraw(group_waiter& w) noexcept {
  const std::scoped_lock lock(mutex_);
  return w.group->waiters_.remove(w);
}

bool task_pool_core::wait(place_waiter& w) {
  const auto lock = lock_for_caller();
  check_open();
  if (places_ < settings_.max_waiting_groups && place_waiters_.empty()) {
    ++places_;
    w.given = place_waiter::answer::place;
    return false;
  }
  place_waiters_.push_back(w);
  return true;
}

bool task_pool_core::withdraw(place_waiter& w) noexcept {
  const std::scoped_lock lock(mutex_);
  return place_waiters_.remove(w);
}

const pool_task* task_pool_core::task_of(task_scope& scope) const noexcept {
  const auto* const t = dynamic_cast<const pool_task*>(&scope.root());
  return t != nullptr && t->core_ == this ? t : nullptr;
}

void task_pool_core::require_locked() const {
  const auto lock = lock_for_caller();
  if (!locked_)
    throw pool_still_unlocked();
}

void task_pool_core::lock_to_close(task_scope* closer) {
  if (closer != nullptr && task_of(*closer) != nullptr)
    throw_waits_for_itself();
  if (!snapshot().closed)
    (void)lock();
}

task_pool_core::gather_start task_pool_core::begin_gather() const {
  gather_start start;
  {
    const std::scoped_lock lock(mutex_);
    start.done = history_.pushed();
    for (const auto state : {pool_task::state::ended, pool_task::state::cancelled}) {
      for (const pool_task* t = first_closing_; t != nullptr; t = t->of_pool_.next) {
        if (t->state_ == state)
          start.closing.emplace_back(t->id_, start.closing.size());
      }
    }
  }
  std::ranges::sort(start.closing);
  return start;
}

gather_report task_pool_core::collect(const gather_start& start, std::exception_ptr* first) {
  gather_report report;
  std::vector<task_report> ring;
  std::size_t oldest = 0;
  std::size_t ended = 0;
  std::size_t done_before = 0; // of those
  pool_group* failed = nullptr;
  pool_work work;
  {
    std::unique_lock lock(mutex_);
    for (;;) { // what needs memory comes first
      const auto needed = history_.needed_when_empty();
      const auto count = history_.size();
      if (ring.size() >= needed && report.tasks.capacity() >= count)
        break;
      lock.unlock();
      ring.resize(needed);
      report.tasks.reserve(count);
      lock.lock();
    }
    for (const pool_group* g = first_failed_; g != nullptr; g = g->next_failed_)
      report.groups.push_back({g->name_, g->error_});
    history_.exchange_ring(ring, oldest, ended);
    const auto newer = history_.pushed() - std::min(history_.pushed(), start.done);
    done_before = ended - static_cast<std::size_t>(std::min<std::uint64_t>(ended, newer));
    failed = std::exchange(first_failed_, nullptr);
    last_failed_ = nullptr;
    failed_groups_ = 0;
    report.finished = std::exchange(recent_[0], 0);
    report.failed = std::exchange(recent_[1], 0);
    report.cancelled = std::exchange(recent_[2], 0);
    failed_ = false;
    // Those whose callbacks still run are forgotten when these have ended.
    ended_ = 0;
    for (const pool_task* t = first_closing_; t != nullptr; t = t->of_pool_.next)
      ended_ += t->state_ == pool_task::state::ended ? 1 : 0;
    for (pool_group* g = first_known_; g != nullptr;) {
      pool_group* const next = g->of_known_.next;
      if (g->state_ == pool_group::state::finished)
        g->feeder_known_ = false;
      if (g->over()) {
        forget_group(*g);
        drop_if_done(*g, work);
      }
      g = next;
    }
    tell_pool(work);
  }
  perform(this_thread(), work);
  while (failed != nullptr) {
    const auto group = std::move(failed->failed_self_);
    failed = group->next_failed_;
  }
  for (std::size_t i = 0; i < ended; ++i)
    report.tasks.push_back(std::move(ring[(oldest + i) % ring.size()]));
  if (first != nullptr) {
    const auto thrown =
        std::ranges::find_if(report.tasks, [](const task_report& r) { return r.error != nullptr; });
    if (thrown != report.tasks.end()) {
      *first = std::exchange(thrown->error, nullptr);
    } else if (!report.groups.empty()) {
      *first = report.groups.front().error;
      report.groups.erase(report.groups.begin());
    }
  }
  using position = std::pair<std::size_t, task_id>;
  const auto position_of = [&](const task_report& r) {
    const auto& closing = start.closing;
    const auto found =
        std::ranges::lower_bound(closing, r.id, {}, [](const auto& p) { return p.first; });
    return found != closing.end() && found->first == r.id ? position(found->second, r.id)
                                                          : position(closing.size(), r.id);
  };
  std::ranges::sort(report.tasks.begin() + static_cast<std::ptrdiff_t>(done_before),
                    report.tasks.end(), {}, position_of);
  return report;
}

std::exception_ptr task_pool_core::take_first_error() {
  const auto has_error = [](const task_report& r) { return r.error != nullptr; };
  std::shared_ptr<pool_group> group; // kept until the lock is open
  std::exception_ptr first;
  const std::scoped_lock lock(mutex_);
  if (task_report* const report = history_.find(has_error); report != nullptr) {
    first = std::exchange(report->error, nullptr);
  } else if (first_failed_ != nullptr) {
    group = take_failed_group();
    first = group->error_;
  }
  failed_ = first_failed_ != nullptr || history_.find(has_error) != nullptr;
  return first;
}

void task_pool_core::wait_idle() noexcept {
  std::unique_lock lock(mutex_);
  ++idle_waits_;
  while (!idle()) {
    const auto seen = idle_word_.load(std::memory_order_relaxed); // the mutex orders it
    lock.unlock();
    sync::futex_wait(idle_word_, seen);
    lock.lock();
  }
}

void task_pool_core::keep_until_idle(std::shared_ptr<task_pool_core> core) noexcept {
  auto& self = *core;
  const std::scoped_lock lock(self.mutex_);
  if (!self.idle())
    self.keep_alive_ = std::move(core);
}

} // namespace weir::detail
