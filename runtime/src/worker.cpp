// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include "scheduler.hpp"

#include <weir/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>

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
  const int error = os_thread_.start(&thread_main, this, owner_.options().stack_size);
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

void worker::run_loop() noexcept {
  const auto& options = owner_.options();
  sync::name_this_thread(options.thread_name, index_);
  thread_state& thread = this_thread();
  thread_ = &thread;
  thread.self = this;
  thread.home = &owner_;
  thread.ended = &counters_.ended;
  learn_stack_limit(thread);

  bool leaves = false;
  do {
    forks_.attach(thread);
    call_hook(options.on_worker_start);
    hand_over(); // what the hook has submitted while memory was short
    owner_.workers().arrived();
    leaves = !work();
    call_hook(options.on_worker_stop);
    if (leaves)
      hand_over();
    forks_.detach();
  } while (leaves && owner_.workers().returns(*this));

  // Another thread may be in this slot by now (E1).
  thread.self = nullptr;
  thread.home = nullptr;
  thread.ended = nullptr;
  thread.discarding = false;
  thread.retired = true;
}

bool worker::work() noexcept {
  crew& workers = owner_.workers();
  blocking_depth_ = 0;
  bool stopped = false;
  for (;;) {
    found f = wait_for_work();
    if (!f && owner_.current_state() == scheduler::state::stopped) {
      stopped = true;
      break;
    }
    bool surplus = false;
    while (f) {
      execute(f);
      // Not before it has finished what it has left of a loop.
      if (workers.has_surplus() && !forks_.has_rest()) [[unlikely]] {
        surplus = true;
        break;
      }
      f = take_local();
      if (f)
        continue;
      f = take_injected();
      if (f)
        continue;
      f = take_rest();
    }
    if (surplus || workers.has_surplus()) {
      hand_over(); // E2; and a search looks at other workers' queues only
      if (!workers.keeps_place(*this))
        break;
    }
  }
  blocking_depth_ = 1;
  return stopped;
}

void worker::execute(found f) noexcept {
  thread_state& thread = *thread_;
  thread.discarding = owner_.current_state() >= scheduler::state::stopping;
  thread.chain_budget = chain_length;
  thread.fork_budget = fork_budget;
  std::uint64_t jobs = 1;
  f.work->run(*f.work, thread);
  if (f.slot)
    f.slot.release();
  while (job* const chained = std::exchange(thread.chain, nullptr)) {
    ++jobs;
    chained->run(*chained, thread);
  }
  thread.current = nullptr;
  thread.chain_budget = 0; // nothing is chained outside of a job
  thread.fork_budget = 0;
  bump(counters_.run, jobs);
}

worker::found worker::take_at_beat() noexcept {
  switch (until_beat_) {
  case 2:
    return take_injected();
  case 1:
    return {deque_.steal(), {}};
  default: {
    // What is left of a loop first, so that neither tasks nor timers that keep coming hold it up.
    const auto ran = counters_.run.load(std::memory_order_relaxed); // its own
    if (forks_.has_rest() && ran - left_loop_at_ >= beat) {
      left_loop_at_ = ran;
      until_beat_ = 1;
      return take_rest();
    }
    const found due = take_due();
    // The next call comes here again as long as a streak of due timers lasts.
    until_beat_ = due_left_ != 0 ? 1 : beat;
    return due;
  }
  }
}

bool worker::others_wait() noexcept {
  if (!ring_.empty() || owner_.injector_may_have_work()) {
    until_beat_ = 3;
    return true;
  }
  const auto look = owner_.timer_set().next_look();
  if (look != timer_queue::never && look <= owner_.now()) {
    until_beat_ = 1;
    return true;
  }
  // Much of what is there may belong to the very region that asks: to unwind for that each time
  // would cost more than it is worth. Relaxed: taking it decides.
  const bool some = deque_.size() != 0 || next_.load(std::memory_order_relaxed) != nullptr;
  if (!some || ++patience_ < 16)
    return false;
  patience_ = 0;
  until_beat_ = 2;
  return true;
}

bool worker::should_leave_loop() noexcept {
  if (!others_wait())
    return false;
  left_loop_at_ = counters_.run.load(std::memory_order_relaxed); // its own
  return true;
}

worker::found worker::take_rest() noexcept {
  if (!forks_.take_rest(stolen_fork_.taken))
    return {};
  return {&stolen_fork_, {}};
}

worker::found worker::take_local() noexcept {
  if (--until_beat_ < 3) [[unlikely]] {
    if (auto f = take_at_beat())
      return f;
  }
  // Acquire: pairs with the release half of the exchange in push_next. The load spares the locked
  // exchange when there is nothing.
  if (streak_ < next_streak && next_.load(std::memory_order_relaxed) != nullptr) {
    if (job* next = next_.exchange(nullptr, std::memory_order_acquire)) {
      ++streak_;
      return {next, {}};
    }
  }
  streak_ = 0;
  if (job* newest = deque_.pop())
    return {newest, {}};
  if (next_.load(std::memory_order_relaxed) != nullptr) {
    if (job* next = next_.exchange(nullptr, std::memory_order_acquire))
      return {next, {}};
  }
  return {};
}

namespace {

/// Writes what the queue hands out into the ring's free slots.
class ring_iterator {
 public:
  explicit ring_iterator(batch_ring& ring) noexcept : ring_(&ring) {}
  packet& operator*() const noexcept { return ring_->free_slot(at_); }
  ring_iterator& operator++() noexcept {
    ++at_;
    return *this;
  }
  ring_iterator operator++(int) noexcept {
    auto old = *this;
    ++at_;
    return old;
  }

 private:
  batch_ring* ring_;
  std::size_t at_ = 0;
};

} // namespace

worker::found worker::take_injected() noexcept {
  for (;;) {
    if (auto claim = ring_.take())
      return {&*claim, claim};
    const std::size_t room = ring_.room();
    if (room == 0) {
      // The next slot is still being moved out by a thief, which takes a moment.
      sync::relax();
      return {};
    }
    const std::size_t n = owner_.entrance().take(consumer_, ring_iterator(ring_), room);
    if (n == 0)
      return {};
    ring_.publish(n);
    // Seq_cst: I2, after the packets became visible in the ring.
    counters_.injector_takes.store(counters_.injector_takes.load(std::memory_order_relaxed) + n,
                                   std::memory_order_seq_cst);
  }
}

void worker::stolen_job::run_stolen(job& self, thread_state& thread) noexcept {
  const stolen_fork taken = static_cast<stolen_job&>(self).taken;
  taken.execute(thread, thread.self->forks_, thread.self);
}

worker::found worker::steal_fork_of(fork_stack& victim) noexcept {
  if (!victim.steal(stolen_fork_.taken))
    return {};
  bump(counters_.stolen_forks);
  return {&stolen_fork_, {}};
}

worker::found worker::steal_from(worker& victim) noexcept {
  if (auto f = steal_fork_of(victim.forks_))
    return f;
  if (job* first = victim.deque_.steal()) {
    // Half of a long deque, so that thieves do not come back for each job.
    const auto extra = std::min<std::int64_t>(victim.deque_.size() / 2, 32);
    std::uint64_t moved = 1;
    for (std::int64_t i = 0; i < extra; ++i) {
      job* another = victim.deque_.steal();
      if (another == nullptr)
        break;
      push(*another);
      ++moved;
    }
    bump(counters_.stolen, moved);
    return {first, {}};
  }
  if (auto claim = victim.ring_.take()) {
    // Moved out, not run in place: a long task must not keep the victim from refilling its ring.
    stolen_ = std::move(*claim);
    claim.release();
    bump(counters_.stolen);
    return {&stolen_, {}};
  }
  if (victim.next_.load(std::memory_order_relaxed) != nullptr) {
    // Acquire: pairs with push_next.
    if (job* next = victim.next_.exchange(nullptr, std::memory_order_acquire)) {
      bump(counters_.stolen);
      return {next, {}};
    }
  }
  return {};
}

bool worker::fire_due(timer_shard& shard, found& first) noexcept {
  // With a manual clock one by one, so that on a single worker also the tasks run in this order.
  std::array<timer*, due_batch> due{};
  const std::size_t count =
      shard.take_due(due_at_, std::span(due).first(owner_.manual() != nullptr ? 1 : due_batch));
  std::array<job*, due_batch> jobs{};
  std::size_t ready = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (job* const resumed = due[i]->fire(*thread_))
      jobs[ready++] = resumed;
  }
  // The deque's next pops take them in their order; others may steal them meanwhile.
  for (std::size_t i = ready; i > 1; --i)
    push(*jobs[i - 1]);
  if (ready > 1)
    wake_another();
  if (ready != 0)
    first = {jobs[0], {}};
  return count != 0;
}

worker::found worker::take_due() noexcept {
  timers& set = owner_.timer_set();
  timer_shard& own = set.of_worker(index_);
  timer_shard& other = set.of_worker(++next_shard_);
  found first;
  if (std::min(own.next_look(), other.next_look()) == timer_queue::never) {
    due_left_ = 0;
    return first;
  }
  // The time is read once for a streak: what was due then still is.
  if (due_left_ == 0)
    due_at_ = owner_.now();
  const bool some = fire_due(own, first) || fire_due(other, first);
  due_left_ = !some ? 0 : due_left_ == 0 ? due_streak : due_left_ - 1;
  return first;
}

worker::found worker::take_any_due() noexcept {
  timers& set = owner_.timer_set();
  while (set.next_look() != timer_queue::never) {
    due_at_ = owner_.now();
    found first;
    bool some = false;
    for (std::size_t i = 0; i < set.count() && !some; ++i)
      some = fire_due(set.of_worker(index_ + i), first);
    if (!some)
      break;
    due_left_ = due_streak;
    until_beat_ = 1;
    if (first)
      return first;
    // It may have made other jobs ready, in this worker's own places, where nobody searches for it.
    if (job* const next = next_.exchange(nullptr, std::memory_order_acquire)) // as in take_local
      return {next, {}};
    if (job* const newest = deque_.pop())
      return {newest, {}};
  }
  return {};
}

worker::found worker::steal() noexcept {
  const fork_guests& guests = owner_.guests();
  for (std::size_t i = 0; i < guests.size(); ++i) {
    if (auto f = steal_fork_of(guests.at(i)))
      return f;
  }
  const std::size_t count = owner_.workers().slots();
  if (count == 1)
    return {};
  std::size_t at = random() % count;
  for (std::size_t i = 0; i < count; ++i, at = at + 1 == count ? 0 : at + 1) {
    if (at == index_)
      continue;
    if (auto f = steal_from(owner_.workers().at(at)))
      return f;
  }
  bump(counters_.failed_steals);
  return {};
}

worker::found worker::search() noexcept {
  const bool spins = owner_.options().spin.count() != 0;
  const auto begin = spins ? sync::now() : sync::time_point();
  for (;;) {
    for (int round = 0; round < 8; ++round) {
      if (auto f = take_injected())
        return f;
      if (auto f = take_any_due())
        return f;
      if (auto f = steal())
        return f;
      for (int i = 0; i < 4; ++i)
        sync::relax();
    }
    if (!spins || owner_.current_state() != scheduler::state::open)
      return {};
    if (sync::now() - begin >= spin_) {
      vain_from_ = begin;
      spin_ = std::max(spin_ / 2, owner_.options().spin / 16);
      return {};
    }
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
          wake_another();
        owner_.wake_keeper_if_missing(); // K2
        return f;
      }
    }
    const bool nobody_searches = idle.push(static_cast<std::uint32_t>(index_), searching);
    if (owner_.current_state() != scheduler::state::open)
      owner_.stop_if_quiescent(); // S3; wakes this worker too if the state is stopped
    if (nobody_searches && owner_.has_visible_work()) // W3
      wake_another();
    owner_.workers().wake_surplus(); // E3
    sleep();
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

void worker::unpark() noexcept {
  if (owner_.options().spin.count() != 0) // relaxed: published by the parker
    woken_at_.store(sync::now().time_since_epoch().count(), std::memory_order_relaxed);
  parker_.unpark();
}

void worker::sleep() noexcept {
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
  if (owner_.manual() != nullptr)
    owner_.manual()->asleep(); // M1
  for (;;) {
    auto deadline = too_long;
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
    if (too_long && sync::now() >= *too_long) {
      owner_.workers().retire_idle(*too_long);
      too_long.reset();
    }
  }
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

bool worker::has_visible_work() const noexcept {
  // Seq_cst: W2's and W3's "read theirs"; pairs with push_next.
  return forks_.has_public() || deque_.size() != 0 || !ring_.empty() ||
         next_.load(std::memory_order_seq_cst) != nullptr;
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
  if (job* displaced = next_.exchange(&j, std::memory_order_seq_cst))
    push(*displaced);
  wake_another();
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

void worker::wake_another() noexcept {
  if (owner_.wake_one())
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
