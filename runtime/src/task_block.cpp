// SPDX-License-Identifier: MIT
#include <weir/detail/task_block.hpp>
#include <weir/error.hpp>

namespace weir::detail {

task_block::~task_block() = default;

bool task_block::add_waiter(waiter& w) {
  auto seen = waiter_.load(std::memory_order_acquire);
  for (;;) {
    if ((seen & done_bit) != 0)
      return false;
    if ((seen & pointer_mask) != 0)
      throw_error(errc::already_awaited,
                  "another coroutine already awaits this task; a task has one "
                  "result and one waiter");
    // Release on success: pairs with the exchange in complete, which reads `w`.
    // Acquire on failure: pairs with the same exchange, the outcome is seen.
    if (waiter_.compare_exchange_weak(seen, seen | reinterpret_cast<std::uintptr_t>(&w),
                                      std::memory_order_acq_rel, std::memory_order_acquire))
      return true;
  }
}

bool task_block::wait(const sync::time_point* deadline) {
  if (done())
    return true;
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
  // Acquire-release: pairs with the exchange in complete, which either sees the bit and wakes, or
  // came before and is seen here.
  if ((waiter_.fetch_or(threads_bit, std::memory_order_acq_rel) & done_bit) != 0)
    return true;
  while (!done()) {
    if (deadline == nullptr)
      sync::futex_wait(wake_word_, 0);
    else if (!sync::futex_wait_until(wake_word_, 0, *deadline))
      return done();
  }
  return true;
}

void task_block::detach() noexcept {
  // Acquire-release: pairs with the exchange in complete; exactly one side sees the other's bit and
  // reports an unseen error.
  if ((waiter_.fetch_or(detached_bit, std::memory_order_acq_rel) & done_bit) != 0)
    report_unseen();
  release();
}

void task_block::report_unseen() noexcept {
  if (sink_ == nullptr)
    return;
  if (auto error = failure())
    sink_->report(std::move(error));
}

void task_block::complete(thread_state& thread) noexcept {
  thread.current = nullptr;
  if (const auto error = failure(); error != nullptr && !is_part_of_stopping(*home_, error))
    sink_ = sink_of(*home_);
  if (hook_ != nullptr)
    hook_->slot_freed(thread);
  // Acquire-release: pairs with add_waiter, wait and detach (their bits and the waiter are seen)
  // and with every done() (the outcome is seen there).
  const auto seen = waiter_.exchange(done_bit, std::memory_order_acq_rel);
  if ((seen & pointer_mask) != 0) {
    auto& w = *reinterpret_cast<waiter*>(seen & pointer_mask);
    schedule_chained(*w.home, thread, *w.resume);
  }
  if ((seen & threads_bit) != 0) {
    // Release is enough: sleepers look at done() again, the word only ends their sleep.
    wake_word_.store(1, std::memory_order_release);
    sync::futex_wake_all(wake_word_);
  }
  if (hook_ != nullptr)
    hook_->task_published(thread);
  if ((seen & detached_bit) != 0)
    report_unseen();
  release();
  // Last: who waits for the runtime to end finds everything above done.
  thread.count_ended();
}

} // namespace weir::detail
