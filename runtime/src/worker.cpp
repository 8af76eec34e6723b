// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include "scheduler.hpp"

#include <weir/error.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>

namespace weir::detail {

worker::worker(scheduler& owner, std::size_t index)
    : owner_(owner), index_(index), spin_(owner.options().spin),
      random_(static_cast<std::uint32_t>(index * 2654435761U + 1)),
      entrance_(&owner.entrance().add_producer()), consumer_(owner.entrance().consumer()),
      forks_(owner) {}

worker::~worker() = default;

int worker::start_thread(bool searching) {
  keep_alive_ = owner_.weak_from_this().lock();
  if (keep_alive_ == nullptr)
    return ECANCELED; // a late submitter of a runtime that is being destroyed
  arrives_searching_ = searching;
  if (owner_.manual() != nullptr)
    owner_.manual()->woken(); // M1
  const int error = os_thread_.start_with_cells(&thread_main, this, owner_.options().stack_size);
  if (error != 0) {
    keep_alive_.reset();
    if (owner_.manual() != nullptr)
      owner_.manual()->asleep();
  }
  return error;
}

void* worker::thread_main(void* self) noexcept {
  auto& w = *static_cast<worker*>(self);
  // The scheduler, and with it this worker, must outlive the loop even if its owner has let go.
  const std::shared_ptr<scheduler> keep_alive = std::move(w.keep_alive_);
  w.run_loop();
  // Another thread may be in the slot by now.
  if (keep_alive->manual() != nullptr)
    keep_alive->manual()->asleep();
  return nullptr;
}

void worker::call_hook(const std::function<void(std::size_t)>& hook) noexcept {
  if (!hook)
    return;
  try {
    hook(index_);
  } catch (...) {
    owner_.unhandled(std::current_exception());
  }
}

worker::found worker::wait_for_work() noexcept {
  idle_set& idle = owner_.idle();
  const auto limit =
      std::max<std::uint32_t>(1, static_cast<std::uint32_t>(owner_.workers().target() / 2));
  bool searching = std::exchange(arrives_searching_, false) || idle.start_searching(limit);
  for (;;) {
    if (searching) {
      if (auto f = search()) {
        if (idle.stop_searching() && owner_.has_visible_work()) // W2
          wake_another(wake_for::shared_work);
        owner_.wake_keeper_if_missing(); // K2
        return f;
      }
    }
    // W4; a manual clock moves when all sleep (M1), and real time is nothing to it.
    const bool watches = searching && slots_move_ && owner_.manual() == nullptr;
    const bool nobody_searches = idle.push(static_cast<std::uint32_t>(index_), searching, watches);
    if (owner_.current_state() != scheduler::state::open)
      owner_.stop_if_quiescent(); // S3; wakes this worker too if the state is stopped
    if (nobody_searches && owner_.has_visible_work()) // W3
      wake_another();
    owner_.workers().wake_surplus(); // E3
    sleep(watches);
    searching = true;
    if (owner_.current_state() == scheduler::state::stopped) {
      (void)idle.stop_searching(); // nothing is left that W2 could find
      return {};
    }
    if (owner_.workers().has_surplus()) {
      if (idle.stop_searching() && owner_.has_visible_work()) // W2, E2
        wake_another();
      owner_.wake_keeper_if_missing(); // K2
      return {};
    }
  }
}

void worker::unpark(wake_for what) noexcept {
  // A forked child has a copy of this worker; the thread is its parent's.
  if (what == wake_for::shared_work && parker_.sleeps() && !owner_.forked())
    place_.prepare(owner_.placed());
  if (owner_.options().spin.count() != 0) // relaxed: published by the parker
    woken_at_.store(sync::now().time_since_epoch().count(), std::memory_order_relaxed);
  parker_.unpark();
}

void worker::sleep(bool watches) noexcept {
  idle_set& idle = owner_.idle();
  const auto self = static_cast<std::uint32_t>(index_);
  // When to ask whether an elastic runtime has too many workers.
  std::optional<sync::time_point> too_long;
  if (owner_.options().elastic) {
    const auto now = sync::now();
    too_long = now + owner_.options().keep_alive;
    // Relaxed: retire_idle reads it as a hint.
    asleep_since_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  }
  std::optional<sync::time_point> next_watch;
  if (watches)
    next_watch = sync::now() + watch_interval;
  if (owner_.manual() != nullptr)
    owner_.manual()->asleep(); // M1
  for (;;) {
    auto deadline = too_long;
    if (next_watch)
      deadline = std::min(deadline.value_or(*next_watch), *next_watch);
    if (owner_.manual() == nullptr && idle.is_keeper(self)) {
      const auto until = owner_.timer_set().announce_sleep(sleeps_until_); // K1
      const auto now = until == timer_queue::never ? 0 : owner_.now();
      if (until <= now) {
        if (idle.leave_as_keeper(self))
          break;
        continue;
      }
      if (until != timer_queue::never) {
        const auto wake = owner_.wake_time(until, now);
        deadline = std::min(deadline.value_or(wake), wake);
      }
    }
    const auto outcome = parker_.park(deadline ? &*deadline : nullptr);
    if (outcome.slept)
      bump(counters_.parks);
    // Whoever woke this worker has counted it as searching.
    if (outcome.why == parker::woken_by::unpark)
      break;
    if (next_watch && sync::now() >= *next_watch) {
      // W4; whoever is popped here, mostly this worker, ends the watch.
      if (!idle.is_watched() || owner_.wake_sleeper())
        next_watch.reset();
      else
        next_watch = sync::now() + watch_interval; // somebody searches
    }
    if (too_long && sync::now() >= *too_long) {
      owner_.workers().retire_idle(*too_long);
      too_long.reset();
    }
  }
  place_.arrive(owner_.placed());
  if (owner_.options().elastic)
    asleep_since_.store(0, std::memory_order_relaxed);
  // Work that came soon after a short spin would have been found by a long one.
  const sync::time_point::duration woken(woken_at_.load(std::memory_order_relaxed));
  const auto gap = woken - vain_from_.time_since_epoch();
  if (gap.count() >= 0 && gap < owner_.options().spin)
    spin_ = owner_.options().spin;
}

sync::time_point::duration worker::asleep_for(sync::time_point now) const noexcept {
  const auto since = asleep_since_.load(std::memory_order_relaxed);
  const sync::time_point::duration reached = now.time_since_epoch();
  return since == 0 ? sync::time_point::duration(-1) : reached - sync::time_point::duration(since);
}

bool worker::has_visible_work(bool in_slot) const noexcept {
  // Seq_cst: W2's and W3's "read theirs"; pairs with push_next.
  return forks_.has_public() || deque_.size() != 0 || !ring_.empty() ||
         (in_slot && next_.load(std::memory_order_seq_cst) != nullptr);
}

worker_stats worker::stats() const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed; // each is a figure of its own
  return {.run = counters_.run.load(relaxed),
          .spawned = counters_.spawned.load(relaxed),
          .stolen = counters_.stolen.load(relaxed),
          .published_forks = forks_.published(),
          .stolen_forks = counters_.stolen_forks.load(relaxed) + forks_.stolen(),
          .failed_steals = counters_.failed_steals.load(relaxed),
          .parks = counters_.parks.load(relaxed),
          .wakes = counters_.wakes.load(relaxed),
          .injector_takes = counters_.injector_takes.load(relaxed),
          .overflows = counters_.overflows.load(relaxed)};
}

void worker::count_spawned(std::size_t count) noexcept {
  bump(counters_.spawned, count);
}

void worker::spawn(job& j) {
  count_spawned(1); // S1
  if (blocking_depth_ != 0 || !deque_.push(j, ready_deque::spawn_capacity)) {
    packet p(j);
    overflow(p);
  }
  wake_another();
}

void worker::spawn(packet& p) {
  count_spawned(1); // S1
  overflow(p);
  wake_another();
}

void worker::overflow(packet& p) {
  if (!owner_.entrance().push(*entrance_, p)) {
    count_spawned(static_cast<std::size_t>(-1));
    throw std::bad_alloc();
  }
  if (blocking_depth_ == 0)
    bump(counters_.overflows);
}

void worker::push(job& j) noexcept {
  if (blocking_depth_ == 0) {
    if (deque_.push(j))
      return;
    bump(counters_.overflows);
  }
  push_last(j);
}

void worker::push_next(job& j) noexcept {
  if (blocking_depth_ != 0) {
    push_last(j);
    wake_another();
    return;
  }
  // Acquire-release by way of seq_cst: a release for whoever takes the job, W1's "write mine".
  job* const displaced = next_.exchange(&j, std::memory_order_seq_cst);
  if (displaced != nullptr)
    push(*displaced);
  wake_another(displaced == nullptr ? wake_for::next_slot : wake_for::job);
}

void worker::push_last(job& j) noexcept {
  packet p(j);
  // Without memory for a queue block the job goes to the deque, which keeps room for such jobs.
  while (!owner_.entrance().push(*entrance_, p)) {
    if (deque_.push(j))
      return;
    sync::yield_thread();
  }
}

void worker::inject(packet& p) noexcept {
  while (!owner_.entrance().push(*entrance_, p))
    sync::yield_thread();
}

void worker::hand_over() noexcept {
  bool moved = false;
  const auto give = [&](job& j) {
    packet p(j);
    inject(p);
    moved = true;
  };
  if (job* const chained = std::exchange(thread_->chain, nullptr))
    give(*chained);
  // Acquire: pairs with push_next.
  if (job* const next = next_.exchange(nullptr, std::memory_order_acquire))
    give(*next);
  // The oldest first, as they are to run now. Another thread may be faster for one of them.
  while (deque_.size() != 0) {
    if (job* const oldest = deque_.steal())
      give(*oldest);
  }
  while (auto claim = ring_.take()) {
    inject(*claim);
    claim.release();
    moved = true;
  }
  if (moved)
    wake_another();
}

void worker::enter_blocking() noexcept {
  if (blocking_depth_++ != 0)
    return;
  suspended_budget_ = std::exchange(thread_->chain_budget, 0U);
  hand_over();
  owner_.workers().enter_blocking();
}

void worker::leave_blocking() noexcept {
  if (--blocking_depth_ != 0)
    return;
  owner_.workers().leave_blocking();
  thread_->chain_budget = suspended_budget_;
}

void worker::recall(bool searching) noexcept {
  // Release: pairs with the acquire in recalled(); what the crew did before is seen.
  if (owner_.manual() != nullptr)
    owner_.manual()->woken(); // M1
  spare_word_.store(searching ? 2 : 1, std::memory_order_release);
  sync::futex_wake_one(spare_word_);
}

bool worker::recalled() const noexcept {
  return spare_word_.load(std::memory_order_acquire) != 0;
}

bool worker::sleep_as_spare(sync::time_point deadline) noexcept {
  return sync::futex_wait_until(spare_word_, 0, deadline);
}

void worker::accept_recall() noexcept {
  // Relaxed: recalled() has acquired it, and nobody writes it before this worker is a spare again.
  arrives_searching_ = spare_word_.load(std::memory_order_relaxed) == 2;
  spare_word_.store(0, std::memory_order_relaxed);
}

void worker::wake_another(wake_for what) noexcept {
  if (owner_.wake_one(what))
    bump(counters_.wakes);
}

std::uint32_t worker::random() noexcept {
  // Marsaglia, "Xorshift RNGs" (2003).
  random_ ^= random_ << 13;
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  return random_;
}

} // namespace weir::detail
