// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>

#include <algorithm>
#include <mutex>

namespace weir::detail {

namespace {

std::string pool_name(std::string_view kind, const std::string& name) {
  // Relaxed: a number that nobody else gets.
  static constinit sync::atomic<std::uint64_t> next{0};
  std::string made(kind);
  const auto index = next.fetch_add(1, std::memory_order_relaxed);
  return made.append("-").append(name.empty() ? std::to_string(index) : name);
}

constexpr auto at(task_end how) noexcept {
  return static_cast<std::size_t>(how);
}

} // namespace

task_source::~task_source() = default;
void task_source::interrupt(const stop_reason&) noexcept {}
group_results::~group_results() = default;

pool_group::pool_group(group_settings settings, std::unique_ptr<task_source> source,
                       std::unique_ptr<group_results> results) noexcept
    : settings_(std::move(settings)), results_(std::move(results)), source_(std::move(source)),
      context_(context_ref::of(current_context(this_thread()))) {}

pool_group::~pool_group() = default;

task_pool_core::task_pool_core(scheduler& home, std::string_view kind, task_pool_settings settings)
    : home_(&home), settings_(std::move(settings)), str_(pool_name(kind, settings_.name)),
      limit_(settings_.pool_size), buckets_(64) {
  log()(log_level::debug, pool_logger, str_, " initialized");
}

task_pool_core::~task_pool_core() = default;

std::string task_pool_core::task_name(task_id id) const {
  std::string name;
  name.reserve(str_.size() + 16);
  return name.append(str_).append("_Task-").append(std::to_string(id));
}

std::size_t task_pool_core::left_of(const pool_group& group) noexcept {
  if (group.state_ == pool_group::state::finished)
    return 0;
  if (!group.settings_.expected)
    return group.prepared_ != nullptr ? 1 : 0;
  const auto begun = group.spawned_ + group.skipped_;
  return *group.settings_.expected - std::min(*group.settings_.expected, begun);
}

void task_pool_core::recount(pool_group& group) noexcept {
  waiting_ -= group.left_;
  group.left_ = left_of(group);
  waiting_ += group.left_;
}

task_pool_core::counts task_pool_core::counts_now() const noexcept {
  counts now;
  now.pool_size = limit_;
  now.in_use = in_use_;
  now.running = running_;
  now.cancelled = cancelled_;
  now.ended = ended_;
  now.peak_running = peak_;
  now.groups = groups_.size();
  now.started = next_id_;
  now.finished = totals_[at(task_end::finished)];
  now.failed = totals_[at(task_end::failed)];
  now.stopped = totals_[at(task_end::cancelled)];
  now.skipped = total_skipped_;
  now.locked = locked_;
  now.closed = closed_;
  now.waiting = waiting_;
  return now;
}

task_pool_core::counts task_pool_core::snapshot() const {
  const std::scoped_lock lock(mutex_);
  return counts_now();
}

pool_stats task_pool_core::stats() const {
  pool_stats s;
  {
    const std::scoped_lock lock(mutex_);
    const counts now = counts_now();
    s.waiting = now.waiting;
    s.running = now.in_use;
    s.peak_running = now.peak_running;
    s.limit = now.pool_size;
    s.started = now.started;
    s.finished = now.finished;
    s.failed = now.failed;
    s.cancelled = now.stopped + total_dropped_;
  }
  s.ended = s.finished + s.failed + s.cancelled;
  s.accepted = s.waiting + s.running + s.ended;
  s.queue_delay = queue_delay_.snapshot();
  s.run_time = run_time_.snapshot();
  return s;
}

void task_pool_core::set_pool_size(std::size_t size) {
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    limit_ = size;
    fill(work);
  }
  perform(this_thread(), work);
}

void task_pool_core::lock() {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(locked_, true))
      return;
  }
  log()(log_level::info, pool_logger, str_, " is locked!");
}

void task_pool_core::unlock() {
  {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(locked_, false))
      return;
  }
  log()(log_level::info, pool_logger, str_, " was unlocked.");
}

void task_pool_core::require_open() const {
  {
    const std::scoped_lock lock(mutex_);
    if (closed_ || shutting_down_)
      throw pool_is_closed();
    if (locked_)
      throw pool_is_locked();
  }
  detail::require_open(*home_);
}

void task_pool_core::require_unknown(std::string_view group_name) const {
  const std::scoped_lock lock(mutex_);
  if (groups_.contains(group_name))
    throw task_group_already_exists(group_name);
}

std::shared_ptr<pool_group> task_pool_core::open_group(std::shared_ptr<pool_group> group,
                                                       std::string name, std::string_view stem) {
  pool_group& g = *group;
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_ || shutting_down_)
      throw pool_is_closed();
    if (locked_)
      throw pool_is_locked();
    if (name.empty()) {
      auto& number = group_numbers_[std::string(stem)];
      do
        name = std::string(stem).append(std::to_string(number++));
      while (groups_.contains(name));
    } else if (groups_.contains(name)) {
      throw task_group_already_exists(name);
    }
    g.name_ = std::move(name);
    groups_.emplace(g.name_, group);
    g.known_ = true;
    g.previous_known_ = last_known_;
    (last_known_ == nullptr ? first_known_ : last_known_->next_known_) = &g;
    last_known_ = &g;
    g.self_ = group;
    g.since_ = now_of(*home_);
    ++unfinished_groups_;
    recount(g);
    forget_old_groups(work);
    work.first_prepare = work.last_prepare = &g;
  }
  perform(this_thread(), work);
  return group;
}

std::vector<task_id> task_pool_core::group_ids(std::span<const std::string_view> names) const {
  std::vector<task_id> ids;
  const std::scoped_lock lock(mutex_);
  for (const auto name : names) {
    const auto found = groups_.find(name);
    if (found == groups_.end())
      throw task_group_not_found(name);
    found->second->ids_.for_each([&](task_id id) { ids.push_back(id); });
  }
  return ids;
}

std::vector<task_id> task_pool_core::ids_of(const pool_group& group) const {
  std::vector<task_id> ids;
  const std::scoped_lock lock(mutex_);
  group.ids_.for_each([&](task_id id) { ids.push_back(id); });
  return ids;
}

std::vector<result_slot*> task_pool_core::slots_of(const pool_group& group) const {
  const std::scoped_lock lock(mutex_);
  return group.slots_;
}

result_slot* task_pool_core::take_done(pool_group& group) noexcept {
  const std::scoped_lock lock(mutex_);
  result_slot* const taken = group.first_done_;
  if (taken != nullptr) {
    group.first_done_ = taken->next_done;
    if (group.first_done_ == nullptr)
      group.last_done_ = nullptr;
  }
  return taken;
}

// Starting.

void task_pool_core::perform(thread_state& thread, pool_work& work) noexcept {
  for (;;) {
    while (pool_task* const t = work.first_start) {
      work.first_start = t->next_;
      submit_accepted(*home_, thread, *t);
    }
    work.last_start = nullptr;
    work.woken.complete_all();
    if (!work.ended.empty()) {
      auto ended = std::exchange(work.ended, {});
      for (auto& e : ended) {
        if (e.interrupted_after && log().takes(log_level::debug)) {
          const auto& expected = e.group->settings_.expected;
          log()(log_level::debug, pool_logger, "Cancelled group '", e.group->name_, "' after ",
                *e.interrupted_after,
                expected && e.group->settings_.counted ? " out of " + std::to_string(*expected)
                                                       : std::string(),
                " tasks have been spawned");
        }
        if (e.prepared != nullptr)
          e.prepared->destroy_unstarted();
      }
    }
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
    log_bad_source(group, error);
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
  const std::scoped_lock lock(mutex_);
  if (slot != nullptr) {
    slot->index = group.slots_.size();
    group.slots_.push_back(slot);
  }
  if (how == task_source::step::skipped) {
    ++group.skipped_;
    ++total_skipped_;
    if (slot != nullptr) {
      slot->done = true;
      (group.last_done_ == nullptr ? group.first_done_ : group.last_done_->next_done) = slot;
      group.last_done_ = slot;
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
    group.next_work_ = nullptr;
    (work.last_prepare == nullptr ? work.first_prepare : work.last_prepare->next_work_) = &group;
    work.last_prepare = &group;
  } else {
    if (error != nullptr) {
      group.error_ = error;
      group_errors_.push_back({group.name_, error});
      failed_ = true;
      tell_pool(work);
    }
    finish_group(group, work, false);
  }
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
    before = before->previous_in_line_;
  group.previous_in_line_ = before;
  group.next_in_line_ = before == nullptr ? first_in_line_ : before->next_in_line_;
  (before == nullptr ? first_in_line_ : before->next_in_line_) = &group;
  (group.next_in_line_ == nullptr ? last_in_line_ : group.next_in_line_->previous_in_line_) =
      &group;
}

void task_pool_core::leave_line(pool_group& group) noexcept {
  pool_group* const before = group.previous_in_line_;
  pool_group* const after = group.next_in_line_;
  (before == nullptr ? first_in_line_ : before->next_in_line_) = after;
  (after == nullptr ? last_in_line_ : after->previous_in_line_) = before;
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
  peak_ = std::max(peak_, running_);
  t.id_ = next_id_++;
  t.state_ = pool_task::state::running;
  insert(t);
  group.ids_.add(t.id_);
  ++group.live_;
  ++group.spawned_;
  recount(group);
  t.of_pool_ = {nullptr, last_running_};
  (last_running_ == nullptr ? first_running_ : last_running_->of_pool_.next) = &t;
  last_running_ = &t;
  t.of_group_ = {nullptr, group.last_running_};
  (group.last_running_ == nullptr ? group.first_running_ : group.last_running_->of_group_.next) =
      &t;
  group.last_running_ = &t;
  t.next_ = nullptr;
  (work.last_start == nullptr ? work.first_start : work.last_start->next_) = &t;
  work.last_start = &t;
  group.state_ = pool_group::state::preparing;
  group.next_work_ = nullptr;
  (work.last_prepare == nullptr ? work.first_prepare : work.last_prepare->next_work_) = &group;
  work.last_prepare = &group;
  if (!group.waiters_.empty())
    tell_group(group, work);
}

void task_pool_core::finish_group(pool_group& group, pool_work& work, bool interrupted) noexcept {
  group.state_ = pool_group::state::finished;
  recount(group);
  --unfinished_groups_;
  work.ended.push_back({group.self_, std::move(group.source_),
                        std::exchange(group.prepared_, nullptr),
                        interrupted ? std::optional(group.spawned_) : std::nullopt});
  tell_group(group, work);
  over_if_done(group, work);
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

void task_pool_core::interrupt_any(pool_group& group, pool_work& work,
                                   std::vector<std::shared_ptr<task_source>>& preparing) noexcept {
  if (group.state_ == pool_group::state::preparing) {
    group.cancelled_ = true; // whoever prepares will see it
    preparing.push_back(group.source_);
  } else if (group.state_ != pool_group::state::finished) {
    interrupt(group, work);
  }
}

// Ending.

void task_pool_core::unlink_running(pool_task& t) noexcept {
  const auto unlink = [&t](pool_task*& first, pool_task*& last, auto links) {
    auto& own = t.*links;
    (own.previous == nullptr ? first : (own.previous->*links).next) = own.next;
    (own.next == nullptr ? last : (own.next->*links).previous) = own.previous;
  };
  unlink(first_running_, last_running_, &pool_task::of_pool_);
  unlink(t.group_->first_running_, t.group_->last_running_, &pool_task::of_group_);
}

void task_pool_core::enter_closing(pool_task& t) noexcept {
  t.closing_number_ = next_closing_++;
  t.of_pool_ = {nullptr, last_closing_};
  (last_closing_ == nullptr ? first_closing_ : last_closing_->of_pool_.next) = &t;
  last_closing_ = &t;
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
      log()(log_level::info, pool_logger, "Ended ", task_name(t.id_));
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
    auto& own = t.of_pool_;
    (own.previous == nullptr ? first_closing_ : own.previous->of_pool_.next) = own.next;
    (own.next == nullptr ? last_closing_ : own.next->of_pool_.previous) = own.previous;
    remember(t, work);
    --live_;
    --group.live_;
    if (t.slot_ != nullptr) {
      t.slot_->done = true;
      (group.last_done_ == nullptr ? group.first_done_ : group.last_done_->next_done) = t.slot_;
      group.last_done_ = t.slot_;
    }
    if (!group.waiters_.empty())
      tell_group(group, work);
    over_if_done(group, work);
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
  if (settings_.history == 0) {
    work.forgotten = std::move(t.error_);
    return;
  }
  if (history_.size() == settings_.history) {
    work.forgotten = std::move(history_.front().error);
    history_.pop_front();
  }
  failed_ = failed_ || t.error_ != nullptr;
  history_.push_back({t.id_, t.how_, std::move(t.error_)});
}

void task_pool_core::over_if_done(pool_group& group, pool_work& work) noexcept {
  if (group.state_ == pool_group::state::finished && group.live_ == 0 && group.self_ != nullptr)
    work.ended.push_back({std::move(group.self_), nullptr, nullptr, std::nullopt});
}

void task_pool_core::abandon(thread_state& thread) noexcept {
  pool_work work;
  std::vector<std::shared_ptr<task_source>> preparing;
  {
    const std::scoped_lock lock(mutex_);
    shutting_down_ = true;
    for (pool_group* g = first_known_; g != nullptr; g = g->next_known_) {
      interrupt_any(*g, work, preparing);
    }
  }
  for (const auto& source : preparing)
    source->interrupt(stop_cause::shutdown);
  perform(thread, work);
}

// Cancelling.

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

void task_pool_core::log_bad_args(const pool_group& group, const std::string& call) const {
  if (group.settings_.simple)
    log()(log_level::error, pool_logger, current_exception_name(), " occurred in '", str_,
          "' while trying to create coroutine: ", call);
  else
    log()(log_level::error, pool_logger, current_exception_name(), " occurred in group '",
          group.name_, "' while trying to create coroutine: ", call);
}

} // namespace weir::detail
