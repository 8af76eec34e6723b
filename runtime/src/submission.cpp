// SPDX-License-Identifier: MIT
// How work enters a runtime: the scheduler's part of it, and what the headers call.
#include "scheduler.hpp"

#include <weir/error.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

namespace weir::detail {

namespace {

[[noreturn]] void refuse(scheduler::state seen) {
  if (seen == scheduler::state::forked)
    throw_forked();
  throw_error(errc::stopped, "the runtime has been stopped or drained and takes no new tasks");
}

} // namespace

void scheduler::require_open(const thread_state& thread) const {
  // Relaxed: an early refusal; submitting looks again.
  const auto now = state_.load(std::memory_order_relaxed);
  if (now != state::open && (now != state::draining || thread.home != this))
    refuse(now);
}

injector::producer* scheduler::open_submission(thread_state& thread) {
  if (thread.home == this) {
    require_open(thread);
    return nullptr;
  }
  auto& producer = injector_.of_thread(thread);
  producer.enter();
  // Seq_cst: S2, after the announcement.
  const auto now = state_.load(std::memory_order_seq_cst);
  if (now != state::open) [[unlikely]] {
    producer.leave();
    refuse(now);
  }
  return &producer;
}

void scheduler::require_not_sealed() const {
  // Relaxed: only this thread can have sealed the scheduler inside its submission, by way of a
  // callable that stops its runtime while it is copied or moved.
  if (sealed_.load(std::memory_order_relaxed)) [[unlikely]]
    refuse(state::stopped);
}

void scheduler::submit(thread_state& thread, packet& p) {
  auto& producer = injector_.of_thread(thread);
  const submission_guard guard(producer);
  // Seq_cst: S2, after the guard's announcement.
  if (const auto now = state_.load(std::memory_order_seq_cst); now != state::open) [[unlikely]]
    refuse(now);
  accept(producer, p);
}

void scheduler::submit(injector::producer& producer, packet& p) {
  require_not_sealed();
  accept(producer, p);
}

inline void scheduler::accept(injector::producer& producer, packet& p) {
  bump(producer.accepted); // S1
  if (!injector_.push(producer, p)) {
    bump(producer.accepted, static_cast<std::uint64_t>(-1));
    throw std::bad_alloc();
  }
  wake_from_outside();
}

void scheduler::submit(injector::producer& producer, packet_source& source, std::size_t count) {
  require_not_sealed();
  bump(producer.accepted, count);
  if (!injector_.push(producer, source, count)) {
    bump(producer.accepted, -static_cast<std::uint64_t>(count));
    throw std::bad_alloc();
  }
  wake_from_outside();
}

void scheduler::submit(thread_state& thread, injector::producer* producer, job& j) {
  if (producer == nullptr) {
    thread.self->spawn(j);
    return;
  }
  packet p(j);
  submit(*producer, p);
}

void scheduler::submit(thread_state& thread, injector::producer* producer,
                       std::span<job* const> jobs) {
  if (producer == nullptr) {
    thread.self->count_spawned(jobs.size());
    for (job* j : jobs)
      thread.self->push(*j);
    thread.self->wake_another();
    return;
  }
  class source final : public packet_source {
   public:
    explicit source(std::span<job* const> jobs) noexcept : jobs_(jobs) {}
    packet next() noexcept override { return packet(*jobs_[at_++]); }

   private:
    std::span<job* const> jobs_;
    std::size_t at_ = 0;
  };
  source packets(jobs);
  submit(*producer, packets, jobs.size());
}

void scheduler::schedule(thread_state& thread, job& j) noexcept {
  if (thread.home == this)
    thread.self->push_next(j);
  else
    schedule_last(thread, j);
}

void scheduler::schedule_last(thread_state& thread, job& j) noexcept {
  if (thread.home == this) {
    thread.self->push_last(j);
    thread.self->wake_another();
    return;
  }
  inject(thread, j);
}

void scheduler::schedule_fork(thread_state& thread, job& j) noexcept {
  if (thread.home == this) {
    thread.self->push(j);
    thread.self->wake_another();
    return;
  }
  inject(thread, j);
}

void scheduler::submit_accepted(thread_state& thread, accepted_job& j) noexcept {
  if (thread.home == this) {
    thread.self->count_spawned(1); // S1
    thread.self->push_last(j);
    thread.self->wake_another();
    return;
  }
  for (;;) {
    try {
      submission_entry entry(*this);
      entry.submit(j);
      return;
    } catch (const weir::error&) {
      break;
    } catch (...) {
      sync::yield_thread(); // no memory: the task was accepted, so wait for some
    }
  }
  drop(thread, j);
}

void scheduler::drop(thread_state& thread, accepted_job& j) noexcept {
  // A task's end may start others of its pool, which are dropped too: in turn, not in depth.
  (thread.last_dropped == nullptr ? thread.first_dropped : thread.last_dropped->next_job) = &j;
  thread.last_dropped = &j;
  if (thread.dropping)
    return;
  // The thread may be a worker of another runtime in the middle of a task: its counters, current
  // task and chain are not this task's business.
  const auto ended = std::exchange(thread.ended, nullptr);
  const auto current = std::exchange(thread.current, nullptr);
  const auto budget = std::exchange(thread.chain_budget, 0U);
  const auto discarding = std::exchange(thread.discarding, true);
  thread.dropping = true;
  while (accepted_job* const next = thread.first_dropped) {
    thread.first_dropped = std::exchange(next->next_job, nullptr);
    if (thread.first_dropped == nullptr)
      thread.last_dropped = nullptr;
    next->run(*next, thread);
  }
  thread.dropping = false;
  thread.discarding = discarding;
  thread.chain_budget = budget;
  thread.current = current;
  thread.ended = ended;
}

void scheduler::inject(thread_state& thread, job& j) noexcept {
  for (;;) {
    try {
      auto& producer = injector_.of_thread(thread);
      // Once the job is in the queue it may run, and with it this runtime may end.
      const submission_guard guard(producer);
      packet p(j);
      if (injector_.push(producer, p)) {
        wake_from_outside();
        return;
      }
    } catch (...) {
      // No memory for this thread's producer: the job must run all the same, so wait for some.
    }
    sync::yield_thread();
  }
}

void scheduler::wake_from_outside(wake_for what) noexcept {
  if (wake_one(what))
    outside_wakes_.fetch_add(1, std::memory_order_relaxed); // a figure
}

void require_open(scheduler& target) {
  target.require_open(this_thread());
}

namespace {

injector::producer* producer_of(void* opaque) noexcept {
  return static_cast<injector::producer*>(opaque);
}

} // namespace

submission_entry::submission_entry(scheduler& target)
    : target_(target), thread_(this_thread()), producer_(target.open_submission(thread_)) {}

submission_entry::~submission_entry() {
  if (producer_ != nullptr)
    producer_of(producer_)->leave();
}

bool submission_entry::wants_packets() const noexcept {
  return from_outside() || thread_.self->has_many_ready();
}

void submission_entry::submit(packet& p) {
  if (from_outside())
    target_.submit(*producer_of(producer_), p);
  else
    thread_.self->spawn(p);
}

void submission_entry::submit(packet_source& source, std::size_t count) {
  target_.submit(*producer_of(producer_), source, count);
}

void submission_entry::submit(job& j) {
  target_.submit(thread_, producer_of(producer_), j);
}

void submission_entry::submit(std::span<job* const> jobs) {
  target_.submit(thread_, producer_of(producer_), jobs);
}

void submit_from_outside(scheduler& target, thread_state& thread, packet& p) {
  target.submit(thread, p);
}

void submit_accepted(scheduler& target, thread_state& thread, accepted_job& j) noexcept {
  target.submit_accepted(thread, j);
}

void schedule(scheduler& target, thread_state& thread, job& j) noexcept {
  target.schedule(thread, j);
}

void schedule_last(scheduler& target, thread_state& thread, job& j) noexcept {
  target.schedule_last(thread, j);
}

void schedule_fork(scheduler& target, thread_state& thread, job& j) noexcept {
  target.schedule_fork(thread, j);
}

void schedule_chained(scheduler& target, thread_state& thread, job& j) noexcept {
  if (thread.home == &target && thread.chain == nullptr && thread.chain_budget != 0) {
    --thread.chain_budget;
    thread.chain = &j;
    return;
  }
  target.schedule(thread, j);
}

} // namespace weir::detail
