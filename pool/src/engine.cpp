// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/pool/detail/engine.hpp>

#include <mutex>
#include <utility>

namespace weir::detail {

front_queue::~front_queue() = default;

pool_engine::pool_engine(scheduler& home, std::size_t size, std::size_t max_waiting,
                         std::unique_ptr<front_queue> queue)
    : home_(&home), size_(size), max_waiting_(max_waiting),
      capacity_(max_waiting == 0 || max_waiting > count_mask - size ? count_mask - 1
                                                                    : size + max_waiting),
      queue_(std::move(queue)) {}

pool_engine::~pool_engine() = default;

bool pool_engine::try_reserve() {
  require_open(*home_);
  auto seen = admitted_.load(std::memory_order_relaxed);
  do {
    if ((seen & closed_flag) != 0)
      throw_error(errc::pool_closed, "the pool is closed and takes no new tasks");
    if ((seen & waiters_flag) != 0 || (seen & count_mask) >= capacity_)
      return false;
    // Acquire: pairs with the release in room_freed; who gets freed room sees the task as ended.
  } while (!admitted_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed));
  return true;
}

void pool_engine::unreserve(thread_state& thread) noexcept {
  room_freed(thread);
}

void pool_engine::admit(thread_state& thread, task_block& task) {
  try {
    task.set_hook(*this);
    queue_->push(task);
  } catch (...) {
    unreserve(thread);
    throw;
  }
  enter(thread);
}

void pool_engine::enter(thread_state& thread) noexcept {
  // Acquire-release: P1, pairs with the subtraction in slot_freed; whoever takes a task for a slot
  // sees it in the queue.
  const auto size = size_; // the engine may be gone after the addition, unless a slot is free
  if (load_.fetch_add(1, std::memory_order_acq_rel) < size)
    start(thread, take());
}

bool pool_engine::admit_or_wait(thread_state& thread, room_waiter& w) {
  if (try_reserve()) {
    admit(thread, *w.task);
    return true;
  }
  std::unique_lock lock(mutex_);
  auto seen = admitted_.load(std::memory_order_relaxed);
  for (;;) {
    if ((seen & closed_flag) != 0)
      throw_error(errc::pool_closed, "the pool is closed and takes no new tasks");
    const bool room = (seen & waiters_flag) == 0 && (seen & count_mask) < capacity_;
    // Acquire-release: P2; room_freed either sees the flag or came before and is seen here.
    if (admitted_.compare_exchange_weak(seen, room ? seen + 1 : seen | waiters_flag,
                                        std::memory_order_acq_rel, std::memory_order_relaxed)) {
      if (room)
        break;
      w.next = nullptr;
      w.previous = last_;
      w.waits = true;
      (first_ == nullptr ? first_ : last_->next) = &w;
      last_ = &w;
      return false;
    }
  }
  lock.unlock();
  admit(thread, *w.task);
  return true;
}

task_block& pool_engine::take() noexcept {
  // P1 says that a task is there; the queue may miss it for a moment while others take theirs.
  for (;;) {
    if (auto* task = queue_->pop())
      return *task;
    sync::relax();
  }
}

void pool_engine::start(thread_state& thread, task_block& task) noexcept {
  // Relaxed: a task that is not stopped here in time starts and runs to its end.
  if (cancelling_.load(std::memory_order_relaxed))
    (void)task.scope().request_stop(stop_cause::shutdown);
  submit_accepted(*home_, thread, task);
}

void pool_engine::slot_freed(thread_state& thread) noexcept {
  // Acquire-release: P1, pairs with enter.
  if (load_.fetch_sub(1, std::memory_order_acq_rel) > size_)
    start(thread, take());
}

void pool_engine::task_published(thread_state& thread) noexcept {
  room_freed(thread);
}

void pool_engine::room_freed(thread_state& thread) noexcept {
  auto seen = admitted_.load(std::memory_order_relaxed);
  for (;;) {
    if ((seen & waiters_flag) != 0) {
      // The caller's room is still counted, which keeps the engine alive (P3).
      if (const auto next = hand_over_room(); next.task != nullptr) {
        admit_waiter(thread, next);
        return;
      }
      seen = admitted_.load(std::memory_order_relaxed);
      continue;
    }
    // Acquire-release: P2, pairs with try_reserve, admit_or_wait and close.
    if (admitted_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                        std::memory_order_relaxed))
      break;
  }
  if (seen == (closed_flag | 1))
    finish_drain();
}

pool_engine::admission pool_engine::hand_over_room() noexcept {
  const std::scoped_lock lock(mutex_);
  if (first_ == nullptr)
    return {};
  // Copied: from here on the submitter's wait may be given up, and `*first_` be gone.
  const admission next{first_->task, first_->resume};
  unlink(*first_);
  return next;
}

void pool_engine::unlink(room_waiter& w) noexcept {
  w.waits = false;
  (w.previous == nullptr ? first_ : w.previous->next) = w.next;
  (w.next == nullptr ? last_ : w.next->previous) = w.previous;
  if (first_ == nullptr) // relaxed: the mutex orders the flag's changes
    admitted_.fetch_and(~waiters_flag, std::memory_order_relaxed);
}

bool pool_engine::withdraw(room_waiter& w) noexcept {
  const std::scoped_lock lock(mutex_);
  if (!w.waits)
    return false;
  // Somebody who waits for room keeps the engine from being drained (P3), but so does whoever holds
  // the room it waits for; nothing is to be finished here.
  unlink(w);
  return true;
}

bool pool_engine::withdraw(waiter& w) noexcept {
  const std::scoped_lock lock(mutex_);
  return !drained_ && std::erase(drain_waiters_, &w) != 0;
}

void pool_engine::admit_waiter(thread_state& thread, const admission& next) noexcept {
  const waiter resume = next.resume;
  task_block& task = *next.task;
  task.set_hook(*this);
  for (;;) {
    try {
      queue_->push(task);
      break;
    } catch (...) {
      sync::yield_thread(); // accepted long ago: wait for memory
    }
  }
  // Once the task has ended, the engine may be gone.
  // Only a waiter with something to resume is still there: nobody else resumes it.
  enter(thread);
  if (resume.home == nullptr)
    return;
  if (job* const resumed = resume.complete())
    schedule(*resume.home, thread, *resumed);
}

void pool_engine::close() noexcept {
  // Acquire-release: P3, pairs with room_freed.
  const auto seen = admitted_.fetch_or(closed_flag, std::memory_order_acq_rel);
  if (seen == 0)
    finish_drain();
}

void pool_engine::cancel_waiting() noexcept {
  cancelling_.store(true, std::memory_order_relaxed);
  close();
}

void pool_engine::finish_drain() noexcept {
  std::vector<waiter*> waiting;
  std::shared_ptr<pool_engine> keep_alive;
  {
    const std::scoped_lock lock(mutex_);
    drained_ = true;
    waiting.swap(drain_waiters_);
    keep_alive.swap(keep_alive_);
    drained_word_.store(1, std::memory_order_relaxed); // the mutex orders it
    sync::futex_wake_all(drained_word_);
  }
  // From here on the engine may be gone, unless `keep_alive` holds it.
  thread_state& thread = this_thread();
  for (const waiter* w : waiting) {
    scheduler& home = *w->home;
    if (job* const resume = w->complete())
      schedule(home, thread, *resume);
  }
}

bool pool_engine::wait_drained(waiter& w) {
  const std::scoped_lock lock(mutex_);
  if (drained_)
    return false;
  drain_waiters_.push_back(&w);
  return true;
}

void pool_engine::wait_drained() noexcept {
  for (;;) {
    {
      // The lock also waits for finish_drain to leave the engine.
      const std::scoped_lock lock(mutex_);
      if (drained_)
        return;
    }
    sync::futex_wait(drained_word_, 0);
  }
}

void pool_engine::keep_until_drained(std::shared_ptr<pool_engine> engine) noexcept {
  auto& self = *engine;
  const std::scoped_lock lock(self.mutex_);
  if (!self.drained_)
    self.keep_alive_ = std::move(engine);
}

} // namespace weir::detail
