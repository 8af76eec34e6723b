// SPDX-License-Identifier: MIT
// A worker's loop: which job it runs next, and where it finds one.
#include "scheduler.hpp"
#include "worker.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace weir::detail {

void worker::run_loop() noexcept {
  const auto& options = owner_.options();
  sync::name_this_thread(options.thread_name, index_);
  thread_state& thread = this_thread();
  thread_ = &thread;
  thread.self = this;
  thread.home = &owner_;
  thread.ended = &counters_.ended;
  learn_stack_limit(thread);
  place_.bind();

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
        group_ends_.hand_in(*thread_); // J5
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
      if (!f && !group_ends_.empty()) {
        group_ends_.hand_in(*thread_); // J5; and whoever waited for that is next
        f = take_local();
      }
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
  group_ends_.hand_in_before(*f.work, thread); // J5
  thread.discarding = owner_.current_state() >= scheduler::state::stopping;
  thread.chain_budget = chain_length;
  thread.fork_budget = fork_budget;
  std::uint64_t jobs = 1;
  f.work->run(*f.work, thread);
  if (f.slot)
    f.slot.release();
  while (thread.chain != nullptr) {
    group_ends_.hand_in(thread); // J5; chains nothing, because the place is taken
    job* const chained = std::exchange(thread.chain, nullptr);
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
  return {};
}

worker::found worker::steal_next() noexcept {
  const crew& workers = owner_.workers();
  for (std::size_t i = 0; i < watched_count_; ++i) {
    const watched_slot seen = watched_[i];
    worker& victim = workers.at(seen.worker);
    // Relaxed: how many jobs have run is a hint.
    if (victim.counters_.run.load(std::memory_order_relaxed) != seen.ran) {
      slots_move_ = true;
    } else if (victim.next_.load(std::memory_order_relaxed) != nullptr) {
      // Acquire: pairs with push_next.
      if (job* next = victim.next_.exchange(nullptr, std::memory_order_acquire)) {
        bump(counters_.stolen);
        return {next, {}};
      }
    }
  }
  watched_count_ = 0;
  const std::size_t count = workers.slots();
  // From behind the last one, so that each has its turn.
  std::size_t at = next_victim_;
  for (std::size_t i = 0; i < count && watched_count_ < watched_.size(); ++i, ++at) {
    at = at < count ? at : 0;
    const worker& other = workers.at(at);
    if (at != index_ && other.next_.load(std::memory_order_relaxed) != nullptr)
      watched_[watched_count_++] = {at, other.counters_.run.load(std::memory_order_relaxed)};
  }
  next_victim_ = at;
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
  watched_count_ = 0; // what was seen before this search says nothing
  slots_move_ = false;
  // Each round reads lines that other workers write: often at first, then less often.
  int pauses = 4;
  for (;;) {
    for (int round = 0; round < 8; ++round) {
      if (auto f = take_injected())
        return f;
      if (auto f = take_any_due())
        return f;
      if (auto f = steal())
        return f;
      if (round % 4 == 3) {
        if (auto f = steal_next())
          return f;
      }
      sync::relax(pauses);
    }
    pauses = 32;
    if (!spins || owner_.current_state() != scheduler::state::open)
      return {};
    if (sync::now() - begin >= spin_) {
      vain_from_ = begin;
      spin_ = std::max(spin_ / 2, owner_.options().spin / 16);
      return {};
    }
  }
}

} // namespace weir::detail
