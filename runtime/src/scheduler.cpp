// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/error.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <system_error>

namespace weir::detail {

void error_sink::report(std::exception_ptr error) noexcept {
  count(unhandled);
  if (handler) {
    handler(std::move(error)); // noexcept: a handler that throws ends the process
    return;
  }
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "weir: a task that nobody waits for has thrown: %s\n", e.what());
  } catch (...) {
    std::fputs(
        "weir: a task that nobody waits for has thrown something that is no std::exception\n",
        stderr);
  }
  std::terminate();
}

namespace {

/// The runtimes that exist in this process, for whoever requests stop of a task: it may run on any
/// of them, or have ended with its own. Never destroyed. In a forked child the page is empty: the
/// lock is free, and the parent's runtimes are not there.
struct directory {
  sync::mutex mutex;
  scheduler* first;
};

directory& existing() {
  static const sync::wiped_page& page = []() -> const sync::wiped_page& {
    const auto& made = *new sync::wiped_page;
    ::new (made.get()) directory{};
    return made;
  }();
  return *static_cast<directory*>(page.get());
}

error_sink* make_sink(const scheduler_options& options) {
  auto made = std::make_unique<error_sink>();
  made->handler = options.on_unhandled_exception;
  return made.release();
}

} // namespace

scheduler::scheduler(scheduler_options options)
    : options_(std::move(options)), sink_(make_sink(options_)),
      state_(*::new(page_.get()) sync::atomic<state>(state::open)),
      idle_(options_.max_workers + options_.max_blocking), crew_(*this),
      manual_(options_.clock->manual()),
      // One queue for a manual clock, so that equal deadlines keep their order across workers.
      timers_(manual_ != nullptr ? 1 : std::min<std::size_t>(options_.max_workers, 64), now()) {
  directory& all = existing();
  if (manual_ != nullptr)
    manual_->attach(*this);
  const std::scoped_lock lock(all.mutex);
  next_existing_ = std::exchange(all.first, this);
}

scheduler::~scheduler() {
  {
    directory& all = existing();
    const std::scoped_lock lock(all.mutex);
    scheduler** at = &all.first;
    while (*at != this)
      at = &(*at)->next_existing_;
    *at = next_existing_;
  }
  if (manual_ != nullptr)
    manual_->detach(*this);
  guests_.wait_for_all();
  // The submitter of the task that ended this runtime may still be on its way out.
  injector_.wait_for_submitters(this_thread());
}

void scheduler::start() {
  const auto [count, code] = crew_.start();
  if (code == 0)
    return;
  request(state::stopping);
  if (count == 0)
    stop_if_quiescent(); // no worker is there to do it
  wait_stopped();
  join();
  throw error(errc::thread_start_failed,
              "worker thread " + std::to_string(count + 1) + " of " +
                  std::to_string(options_.workers) +
                  " could not be started: " + std::generic_category().message(code));
}

void scheduler::request(state wanted) noexcept {
  auto seen = state_.load(std::memory_order_seq_cst);
  if (seen == state::forked)
    return;
  // Seq_cst: S2 on this side, and pairs with current_state on workers that go to sleep.
  while (seen < wanted && !state_.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst)) {
  }
  const bool stops = seen < wanted && wanted == state::stopping;
  if (seen == state::open && wanted != state::open) {
    injector_.wait_for_submitters(this_thread());
    crew_.close(); // E6
    // Seq_cst: pairs with stop_if_quiescent; a worker that saw false is woken below.
    sealed_.store(true, std::memory_order_seq_cst);
  }
  wake_all();
  if (stops)
    live_.stop_all();
}

bool scheduler::wait_stopped(const sync::time_point* deadline) noexcept {
  // Acquire: pairs with the release in stop_if_quiescent.
  while (stopped_word_.load(std::memory_order_acquire) == 0) {
    if (deadline == nullptr)
      sync::futex_wait(stopped_word_, 0);
    else if (!sync::futex_wait_until(stopped_word_, 0, *deadline))
      return stopped_word_.load(std::memory_order_acquire) != 0;
  }
  return true;
}

std::uint64_t scheduler::left() const noexcept {
  const auto over = ended();
  return accepted() - over;
}

void scheduler::join() noexcept {
  crew_.join();
}

void scheduler::detach() noexcept {
  crew_.detach();
}

void scheduler::wake(std::uint32_t index, wake_for what) noexcept {
  if (manual_ != nullptr)
    manual_->woken(); // M1
  crew_.at(index).unpark(what);
}

void scheduler::wake_for_forks(thread_state& thread) noexcept {
  if (thread.home == this)
    thread.self->wake_another(wake_for::shared_work);
  else
    wake_from_outside(wake_for::shared_work);
}

std::size_t scheduler::idle_workers(const thread_state& thread) const noexcept {
  if (!idle_.somebody_idle())
    return 0;
  return crew_.target() - (thread.home == this ? 1 : 0);
}

bool scheduler::steal_fork(const fork_stack& thief, std::size_t& at, stolen_fork& taken) noexcept {
  const std::size_t workers = crew_.slots();
  const std::size_t count = workers + guests_.size();
  for (std::size_t i = 0; i < count; ++i) {
    at = at + 1 < count ? at + 1 : 0;
    fork_stack& victim = at < workers ? crew_.at(at).forks() : guests_.at(at - workers);
    if (&victim != &thief && victim.steal(taken))
      return true;
  }
  return false;
}

bool scheduler::has_public_fork() const noexcept {
  for (std::size_t i = 0; i < crew_.slots(); ++i) {
    if (crew_.at(i).forks().has_public())
      return true;
  }
  return guests_.have_public();
}

void scheduler::enter_guest(thread_state& thread) {
  injector::producer* const through = open_submission(thread);
  if (through == nullptr) {
    thread.self->count_spawned(1);
    return;
  }
  bump(through->accepted); // S1
  guests_.enter();
  through->leave();
}

void scheduler::leave_guest(thread_state& thread) noexcept {
  if (thread.home == this) {
    thread.count_ended();
    return;
  }
  guests_.count_ended();
  if (current_state() != state::open)
    stop_if_quiescent(); // S3
  guests_.leave();
}

void scheduler::poison_forks() noexcept {
  for (std::size_t i = 0; i < crew_.slots(); ++i)
    crew_.at(i).forks().poison();
  for (std::size_t i = 0; i < guests_.size(); ++i)
    guests_.at(i).poison();
}

bool scheduler::wake_sleeper(wake_for what) noexcept {
  const auto index = idle_.pop_if_nobody_searches();
  if (!index)
    return false;
  wake(*index, what);
  return true;
}

void scheduler::wake_all() noexcept {
  while (const auto index = idle_.pop())
    wake(*index);
}

void scheduler::wake_keeper_if_missing() noexcept {
  if (manual_ != nullptr || !idle_.sleeps_without_keeper() ||
      timers_.next_look() == timer_queue::never)
    return;
  if (const auto index = idle_.pop())
    wake(*index);
}

void scheduler::wake_for_timers() noexcept {
  if (const auto index = idle_.pop())
    wake(*index);
}

sync::time_point scheduler::wake_time(timer_queue::key until, timer_queue::key now) const noexcept {
  if (options_.clock == &clock_source::steady())
    return time_of(until);
  return sync::now() + (time_of(until) - time_of(now));
}

void scheduler::arm(timer& t, thread_state& thread, timer_queue::key deadline) noexcept {
  timers_.of_worker(thread.home == this ? thread.self->index() : 0).arm(t, deadline);
  // From here on the timer may have fired and be gone.
  if (manual_ != nullptr)
    return;
  // K1, in this order.
  if (const auto keeper = idle_.find_keeper();
      keeper && crew_.at(*keeper).sleeps_until() > deadline)
    crew_.at(*keeper).poke();
  wake_keeper_if_missing();
}

bool scheduler::injector_may_have_work() const noexcept {
  // I3: taken first.
  std::uint64_t taken = 0;
  for (std::size_t i = 0; i < crew_.slots(); ++i)
    taken += crew_.at(i).injector_takes();
  return injector_.published() > taken;
}

bool scheduler::has_visible_work() const noexcept {
  // The injector before the rings: packets move from here to there (I2).
  if (injector_may_have_work())
    return true;
  const bool in_slots = !idle_.is_watched(); // W4
  for (std::size_t i = 0; i < crew_.slots(); ++i) {
    if (crew_.at(i).has_visible_work(in_slots))
      return true;
  }
  if (guests_.have_public())
    return true;
  const auto look = timers_.next_look();
  return look != timer_queue::never && look <= now();
}

std::uint64_t scheduler::ended() const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < crew_.slots(); ++i)
    sum += crew_.at(i).ended();
  return sum + guests_.ended();
}

std::uint64_t scheduler::accepted() const noexcept {
  std::uint64_t sum = injector_.accepted();
  for (std::size_t i = 0; i < crew_.slots(); ++i)
    sum += crew_.at(i).spawned();
  return sum;
}

void scheduler::stop_if_quiescent() noexcept {
  // Seq_cst: S2 and S3, pairs with request.
  if (!sealed_.load(std::memory_order_seq_cst))
    return; // whoever seals wakes everybody afterwards
  const bool settled = crew_.settled();
  const auto over = ended();
  if (settled && over == accepted()) {
    auto seen = state_.load(std::memory_order_seq_cst);
    while (seen != state::stopped &&
           !state_.compare_exchange_weak(seen, state::stopped, std::memory_order_seq_cst)) {
    }
    // Release: pairs with wait_stopped.
    stopped_word_.store(1, std::memory_order_release);
    sync::futex_wake_all(stopped_word_);
  }
  // Also for a worker that went to sleep after another one had moved the state and woken everybody.
  if (current_state() == state::stopped)
    wake_all();
}

void scheduler::unhandled(std::exception_ptr error) noexcept {
  sink_->report(std::move(error));
}

runtime_stats scheduler::stats() const {
  runtime_stats snapshot;
  snapshot.ended = ended();
  snapshot.accepted = accepted();
  for (std::size_t i = 0; i < crew_.slots(); ++i) {
    snapshot.workers.push_back(crew_.at(i).stats());
    snapshot.total += snapshot.workers.back();
  }
  crew_.fill(snapshot);
  snapshot.outside_wakes = outside_wakes_.load(std::memory_order_relaxed);
  constexpr auto relaxed = std::memory_order_relaxed;
  snapshot.awaited_exceptions = sink_->awaited.load(relaxed);
  snapshot.grouped_exceptions = sink_->grouped.load(relaxed);
  snapshot.unhandled_exceptions = sink_->unhandled.load(relaxed);
  snapshot.suppressed_exceptions = sink_->suppressed.load(relaxed);
  return snapshot;
}

// What the headers call.

void timer::arm(scheduler& target, thread_state& thread,
                clock_source::time_point deadline) noexcept {
  target.arm(*this, thread, key_of(deadline));
}

bool timer::cancel() noexcept {
  return shard_->cancel(*this);
}

scheduler_share::scheduler_share(scheduler& kept) : kept_(kept.shared_from_this()) {}

scheduler_share::~scheduler_share() {
  if (kept_->forked()) // its locks may be held by threads that are not here
    (void)new std::shared_ptr<scheduler>(std::move(kept_));
}

bool is_part_of_stopping(scheduler& home, const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const task_cancelled&) {
    return true;
  } catch (const weir::error& e) {
    // A task that submits while its runtime stops is refused.
    return e.code() == errc::stopped && home.current_state() != scheduler::state::open;
  } catch (...) {
    return false;
  }
}

void report_unhandled(thread_state& thread, std::exception_ptr error) noexcept {
  if (!is_part_of_stopping(*thread.home, error))
    thread.home->unhandled(std::move(error));
}

void count_grouped(scheduler& home) noexcept {
  error_sink::count(home.sink()->grouped);
}

void count_suppressed(scheduler& home) noexcept {
  error_sink::count(home.sink()->suppressed);
}

sink_ref sink_of(scheduler& target) noexcept {
  return target.sink();
}

void poison_forks() noexcept {
  directory& all = existing();
  const std::scoped_lock lock(all.mutex);
  for (scheduler* s = all.first; s != nullptr; s = s->next_existing())
    s->poison_forks();
}

bool is_forked(const scheduler& target) noexcept {
  return target.forked();
}

void require_not_forked(const scheduler& target) {
  if (target.forked())
    throw_forked();
}

} // namespace weir::detail
