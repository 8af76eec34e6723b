// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/detail/task_block.hpp>
#include <weir/error.hpp>

namespace weir::detail {

task_block::~task_block() {
  (void)take_sink();
}

bool task_block::add_waiter(waiter& w) {
  auto seen = waiter_.load(std::memory_order_acquire);
  for (;;) {
    if ((seen & done_bit) != 0)
      return false;
    if ((seen & pointer_mask) != 0)
      throw_error(errc::already_awaited,
                  "another coroutine already awaits this task; a task has one "
                  "result and one waiter");
    // Release on success: pairs with the exchange in publish, which reads `w`.
    // Acquire on failure: pairs with the same exchange, the outcome is seen.
    if (waiter_.compare_exchange_weak(seen, seen | reinterpret_cast<std::uintptr_t>(&w),
                                      std::memory_order_acq_rel, std::memory_order_acquire))
      return true;
  }
}

bool task_block::remove_waiter(waiter& w) noexcept {
  auto seen = waiter_.load(std::memory_order_acquire);
  while ((seen & done_bit) == 0) {
    // Acquire-release: pairs with the exchange in publish; one of the two gets the waiter.
    if (waiter_.compare_exchange_weak(seen, seen & ~pointer_mask, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      return true;
  }
  (void)w;
  return false;
}

bool task_block::wait(const sync::time_point* deadline) {
  if (done())
    return true;
  require_not_forked();
  if (this_thread().self != nullptr)
    throw_error(
        errc::would_deadlock,
        "a worker thread must not block on a task that has not ended: the task may need this "
        "very worker; co_await it, or wait on a thread that is no worker");
  // A task that is about to end is met without a system call.
  for (int i = 0; i < 200; ++i) {
    sync::relax();
    if (done())
      return true;
  }
  // Acquire-release: pairs with the exchange in publish, which either sees the bit and wakes, or
  // came before and is seen here.
  auto seen = waiter_.fetch_or(threads_bit, std::memory_order_acq_rel) | threads_bit;
  while ((seen & done_bit) == 0) {
    const auto expected = static_cast<std::uint32_t>(seen);
    if (deadline == nullptr)
      sync::futex_wait(wake_word(), expected);
    else if (!sync::futex_wait_until(wake_word(), expected, *deadline))
      return done();
    seen = waiter_.load(std::memory_order_acquire); // as in done
  }
  return true;
}

void task_block::detach() noexcept {
  // Acquire-release: pairs with the exchange in publish; exactly one side sees the other's bit and
  // reports an unseen error.
  if ((waiter_.fetch_or(detached_bit, std::memory_order_acq_rel) & done_bit) != 0)
    report_unseen();
  release();
}

void task_block::report_unseen() noexcept {
  const sink_ref sink = take_sink();
  if (!sink || sink->process != sync::process_id())
    return;
  if (auto error = failure())
    sink->report(std::move(error));
}

std::uintptr_t task_block::publish(thread_state& thread) noexcept {
  // Acquire-release: pairs with add_waiter, wait and detach (their bits and the waiter are seen)
  // and with every done() (the outcome is seen there).
  const auto seen = waiter_.exchange(done_bit, std::memory_order_acq_rel);
  if ((seen & pointer_mask) != 0) {
    const auto& w = *reinterpret_cast<const waiter*>(seen & pointer_mask);
    scheduler& home = *w.home;
    if (job* const resume = w.complete())
      schedule_chained(home, thread, *resume);
  }
  if ((seen & threads_bit) != 0) {
    sync::futex_wake_all(wake_word());
  }
  return seen;
}

void task_block::retire(thread_state& thread) noexcept {
  task_published(thread);
  release();
  // Last: who waits for the runtime to end finds everything above done.
  thread.count_ended();
}

void task_block::complete(thread_state& thread) noexcept {
  thread.current = nullptr;
  if (live_shard_ != 0)
    home().live().remove(*this);
  if (!slot_freed(thread, true))
    return;
  publish_later(thread);
  retire(thread);
}

void task_block::publish_later(thread_state& thread) noexcept {
  {
    // Let go of before the outcome is published: who takes it is the exception's last owner.
    const auto error = failure();
    set_sink(error != nullptr && !is_part_of_stopping(home(), error) ? sink_of(home())
                                                                     : sink_ref());
  }
  if ((publish(thread) & detached_bit) != 0)
    report_unseen();
}

void task_block::end_unstarted() noexcept {
  discard(reason());
  set_sink({}); // no stamp any more
  thread_state& thread = this_thread();
  if (ended_unstarted(thread))
    (void)publish(thread);
  if (leave_in_queue())
    return;
  // A worker has taken it out meanwhile. What that worker would have done is done on a worker too,
  // and not waited for there: discarding runs destructors, which may take their time.
  run = &run_dropped;
  schedule(home(), thread, *this);
}

void task_block::run_dropped(job& self, thread_state& thread) noexcept {
  auto& block = static_cast<task_block&>(self);
  (void)block.slot_freed(thread, false);
  block.retire(thread);
}

void task_block::drop(thread_state& thread, task_scope::claim claimed) noexcept {
  switch (claimed) {
  case task_scope::claim::started:
    discard(stop_requested() ? reason() : stop_reason(stop_cause::shutdown));
    complete(thread);
    return;
  case task_scope::claim::cancelled:
    run_dropped(*this, thread);
    return;
  case task_scope::claim::being_cancelled:
    return;
  }
}

void task_block::announce_live() noexcept {
  home().live().add(*this, reinterpret_cast<std::uintptr_t>(this_thread().self) >> 7);
}

} // namespace weir::detail
