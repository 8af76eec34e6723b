// SPDX-License-Identifier: MIT
// What a pool is asked and told: its figures, its lock, its places for groups, new groups.
#include <weir/error.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/sleep.hpp>

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
                       std::unique_ptr<group_results> results)
    : settings_(std::move(settings)), results_(std::move(results)), source_(std::move(source)),
      context_(context_ref::of(current_context(this_thread()))) {}

pool_group::~pool_group() = default;

task_pool_core::task_pool_core(scheduler& home, std::string_view kind, task_pool_settings settings)
    : home_(&home), keeps_home_(home), settings_(std::move(settings)),
      str_(pool_name(kind, settings_.name)), limit_(settings_.pool_size), buckets_(64),
      history_(settings_.history) {
  log()(log_level::debug, pool_logger, str_, " initialized");
}

task_pool_core::~task_pool_core() {
  while (first_known_ != nullptr) {
    const auto group = std::move(first_known_->self_);
    first_known_ = group->of_known_.next;
  }
  while (first_failed_ != nullptr) {
    const auto group = std::move(first_failed_->failed_self_);
    first_failed_ = group->next_failed_;
  }
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
  now.waiting_groups = unfinished_groups_;
  now.started = next_id_;
  now.finished = totals_[at(task_end::finished)];
  now.failed = totals_[at(task_end::failed)];
  now.stopped = totals_[at(task_end::cancelled)];
  now.skipped = total_skipped_;
  now.retried = total_retried_;
  now.locked = locked_;
  now.closed = closed_;
  now.waiting = waiting_;
  return now;
}

std::scoped_lock<sync::mutex> task_pool_core::lock_for_caller() const {
  require_not_forked(*home_);
  return std::scoped_lock(mutex_);
}

task_pool_core::counts task_pool_core::snapshot() const {
  const auto lock = lock_for_caller();
  return counts_now();
}

pool_stats task_pool_core::stats() const {
  pool_stats s;
  {
    const auto lock = lock_for_caller();
    const counts now = counts_now();
    s.waiting = now.waiting;
    s.running = now.in_use;
    s.peak_running = now.peak_running;
    s.limit = now.pool_size;
    s.started = now.started;
    s.retried = now.retried;
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
    const auto lock = lock_for_caller();
    limit_ = size;
    fill(work);
  }
  perform(this_thread(), work);
}

bool task_pool_core::lock() {
  pool_work work;
  {
    const auto lock = lock_for_caller();
    if (std::exchange(locked_, true))
      return false;
    refuse_places(place_waiter::answer::locked, work.woken);
  }
  log()(log_level::info, pool_logger, str_, " is locked!");
  perform(this_thread(), work);
  return true;
}

void task_pool_core::unlock() {
  {
    const auto lock = lock_for_caller();
    if (!std::exchange(locked_, false))
      return;
  }
  log()(log_level::info, pool_logger, str_, " was unlocked.");
}

void task_pool_core::check_open() const {
  if (closed_ || shutting_down_)
    throw pool_is_closed();
  if (locked_)
    throw pool_is_locked();
}

std::optional<group_place> task_pool_core::try_place() {
  {
    const auto lock = lock_for_caller();
    check_open();
    if (places_ >= settings_.max_waiting_groups || !place_waiters_.empty())
      return std::nullopt;
    ++places_;
  }
  group_place taken(*this);
  detail::require_open(*home_);
  return taken;
}

void task_pool_core::require_open() const {
  {
    const auto lock = lock_for_caller();
    check_open();
  }
  detail::require_open(*home_);
}

group_place task_pool_core::place() {
  auto taken = try_place();
  if (!taken)
    throw pool_is_full();
  return std::move(*taken);
}

void task_pool_core::give_back_place() noexcept {
  if (is_forked(*home_))
    return;
  pool_work work;
  {
    const std::scoped_lock lock(mutex_);
    free_place(work.woken);
  }
  perform(this_thread(), work);
}

void task_pool_core::free_place(woken_list& woken) noexcept {
  wait_node* const first = place_waiters_.pop_front();
  if (first == nullptr) {
    --places_;
    return;
  }
  static_cast<place_waiter&>(*first).given = place_waiter::answer::place;
  woken.push_back(*first);
}

void task_pool_core::refuse_places(place_waiter::answer why, woken_list& woken) noexcept {
  while (wait_node* const node = place_waiters_.pop_front()) {
    static_cast<place_waiter&>(*node).given = why;
    woken.push_back(*node);
  }
}

void task_pool_core::require_unknown(std::string_view group_name) const {
  const auto lock = lock_for_caller();
  if (groups_.contains(group_name))
    throw task_group_already_exists(group_name);
}

std::shared_ptr<pool_group> task_pool_core::open_group(group_place& place,
                                                       std::shared_ptr<pool_group> group,
                                                       std::string name, std::string_view stem) {
  pool_group& g = *group;
  thread_state& thread = this_thread();
  pool_work work;
  {
    const auto lock = lock_for_caller();
    check_open();
    if (name.empty()) {
      auto& number = group_numbers_[std::string(stem)];
      do
        name = std::string(stem).append(std::to_string(number++));
      while (groups_.contains(name));
    } else if (groups_.contains(name)) {
      throw task_group_already_exists(name);
    }
    g.name_ = std::move(name);
    groups_.emplace(g.name_, &g);
    place.taken_over();
    g.known_ = true;
    append_to(first_known_, last_known_, g, &pool_group::of_known_);
    g.self_ = group;
    g.since_ = now_of(*home_);
    g.opener_ = &thread;
    ++unfinished_groups_;
    recount(g);
    ask_to_prepare(g, work);
  }
  perform(thread, work);
  std::exception_ptr refusal;
  {
    const std::scoped_lock lock(mutex_);
    g.opener_ = nullptr;
    refusal = std::move(g.refusal_);
    if (refusal != nullptr && g.known_) { // G5
      forget_group(g);
      drop_if_done(g, work);
    }
  }
  perform(thread, work);
  if (refusal != nullptr)
    std::rethrow_exception(refusal);
  return group;
}

std::vector<task_id> task_pool_core::group_ids(std::span<const std::string_view> names) const {
  std::vector<task_id> ids;
  const auto lock = lock_for_caller();
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
  const auto lock = lock_for_caller();
  group.ids_.for_each([&](task_id id) { ids.push_back(id); });
  return ids;
}

std::exception_ptr task_pool_core::error_of(const pool_group& group) const {
  const auto lock = lock_for_caller();
  return group.error_;
}

std::vector<result_slot*> task_pool_core::slots_of(const pool_group& group) const {
  const std::scoped_lock lock(mutex_);
  return group.slots_;
}

stop_reason task_pool_core::why_unstarted(const pool_group& group) const noexcept {
  const std::scoped_lock lock(mutex_);
  return group.why_;
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

} // namespace weir::detail
