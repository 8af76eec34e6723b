// SPDX-License-Identifier: MIT
// How a pool is paused, opened and closed, and who waits until nothing of it is left.
#include <weir/error.hpp>
#include <weir/pool/detail/engine.hpp>

#include <mutex>
#include <utility>

namespace weir::detail {

bool pool_engine::toggle_pause() noexcept {
  return (flags_.fetch_xor(paused_flag, std::memory_order_seq_cst) & paused_flag) == 0;
}

void pool_engine::set_paused(bool paused) noexcept {
  if (paused)
    flags_.fetch_or(paused_flag, std::memory_order_seq_cst);
  else
    flags_.fetch_and(~paused_flag, std::memory_order_seq_cst);
}

void pool_engine::open(std::size_t target) {
  std::uint64_t before = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (closing()) {
      if (!drained_)
        throw_error(errc::pool_closed,
                    "the pool is still closing: await close() before it is started again");
      drained_ = false;
      drained_word_.store(0, std::memory_order_relaxed);    // the mutex orders it
      queue_->runner_came();                                // P8, before it is seen as one
      flags_.store(runner_flag, std::memory_order_seq_cst); // P4
    } else {
      flags_.fetch_and(~paused_flag, std::memory_order_seq_cst);
    }
    before = target_.load(std::memory_order_relaxed); // P7
    if (before < target)
      target_.store(target, std::memory_order_seq_cst); // P1
  }
  limit_changed(before, std::max<std::uint64_t>(before, target), false);
}

void pool_engine::close() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (closing())
      return;
    queue_->closing_began();                                 // P4, before "closed"
    flags_.fetch_or(closed_flag, std::memory_order_seq_cst); // P4
    if (target_.load(std::memory_order_relaxed) == 0)        // P7
      leave_runners();
  }
  queue_->wait_for_takers(); // P4
  if (queue_->shared())
    settle_all(); // a closing one may be alone now
  settle();       // after that: the others may have been drained meanwhile
}

void pool_engine::leave_runners() noexcept {
  // In this order, and has_others looks at them in the other one: for a moment a pool takes itself
  // for another runner, never another one for itself.
  if ((flags_.fetch_and(~runner_flag, std::memory_order_seq_cst) & runner_flag) != 0)
    queue_->runner_left();
}

void pool_engine::cancel_waiting() noexcept {
  bool sweep = false;
  {
    const std::scoped_lock lock(mutex_);
    if (!closing() || drained_)
      return;
    flags_.fetch_or(cancelling_flag, std::memory_order_seq_cst); // P5, before it looks what waits
    leave_runners();
    sweep = !has_others() && !queue_->empty(*this);
    if (sweep)
      helpers_.fetch_add(1, std::memory_order_seq_cst);
  }
  if (sweep)
    activate(this_thread(), pool_slot::duty::sweep);
  if (queue_->shared())
    settle_all();
}

void pool_engine::abandon() noexcept {
  std::uint64_t slots = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (!closing())
      queue_->closing_began();
    flags_.fetch_or(closed_flag | abandoned_flag, std::memory_order_seq_cst); // P4, P5
    leave_runners();
    slots = target_.exchange(0, std::memory_order_seq_cst);
  }
  queue_->wait_for_takers(); // P4
  queue_->detach(*this);
  limit_changed(slots, 0, false);
  bool sweep = false;
  {
    const std::scoped_lock lock(mutex_);
    sweep = !has_others() && !queue_->empty(*this);
    if (sweep) {
      helpers_.fetch_add(1, std::memory_order_seq_cst);
      if (std::exchange(drained_, false)) { // others that shared the queue have left something
        drained_word_.store(0, std::memory_order_relaxed); // the mutex orders it
        queue_->closing_began();
      }
    }
  }
  if (sweep)
    activate(this_thread(), pool_slot::duty::sweep);
  stop_running();
  if (queue_->shared())
    settle_all(); // a closing one may be alone now
  settle();
}

bool pool_engine::drained() const noexcept {
  const std::scoped_lock lock(mutex_);
  return drained_;
}

void pool_engine::settle() noexcept {
  woken_list woken;
  std::uint64_t slots = 0;
  bool sweep = false;
  {
    const std::scoped_lock lock(mutex_);
    if (!closing() || drained_)
      return;
    // In this order: a task goes from "waits for room" to "waits" to "husk" or "in a slot". All
    // seq_cst: P4.
    const bool others = has_others();
    const bool room_wanted = room_waiters_.load(std::memory_order_seq_cst) != 0;
    const bool cares = !others || (flags_.load(std::memory_order_relaxed) & abandoned_flag) == 0;
    const bool waits = cares && queue_->waiting(*this) > 0;
    // Also if what waits goes now: who takes it may belong to a pool that does not know this one.
    const bool left = !others && (waits || !queue_->empty(*this));
    const bool used = active_.load(std::memory_order_seq_cst) != 0 ||
                      helpers_.load(std::memory_order_seq_cst) != 0;
    if (!room_wanted && !waits)
      until_empty_.move_all_to(woken);
    if (!used && left && (!waits || target_.load(std::memory_order_relaxed) == 0)) {
      sweep = true; // no slot will come to it
      helpers_.fetch_add(1, std::memory_order_seq_cst);
    } else if (!used && !room_wanted && !waits) {
      drained_ = true;
      leave_runners();
      queue_->closing_ended();
      slots = target_.exchange(0, std::memory_order_seq_cst);
      until_drained_.move_all_to(woken);
      drained_word_.store(1, std::memory_order_relaxed); // the mutex orders it
      sync::futex_wake_all(drained_word_);
    }
  }
  if (sweep)
    activate(this_thread(), pool_slot::duty::sweep);
  limit_changed(slots, 0, false);
  woken.complete_all();
}

void pool_engine::settle_all() noexcept {
  if (!queue_->shared()) {
    settle_if_closing();
  } else if (queue_->any_closing()) {
    for (const auto& pool : queue_->pools())
      pool->settle_if_closing();
  }
}

bool pool_engine::reached(pool_watcher::until what) noexcept {
  settle_if_closing();
  const std::scoped_lock lock(mutex_);
  if (!closing() || drained_)
    return true;
  // As in settle().
  return what == pool_watcher::until::queue_empty &&
         room_waiters_.load(std::memory_order_seq_cst) == 0 && queue_->waiting(*this) <= 0;
}

void pool_engine::wait_drained() noexcept {
  for (;;) {
    {
      // The lock also waits for settle to leave the engine.
      const std::scoped_lock lock(mutex_);
      if (drained_)
        return;
    }
    sync::futex_wait(drained_word_, 0);
  }
}

void pool_watcher::require_stranger(promise_base& promise) const {
  if (promise.scope().root().belongs_to(pool_.get()))
    throw_error(errc::would_deadlock,
                "a task of a pool must not wait for the end of all the pool's tasks");
}

bool pool_watcher::wait_or_take() noexcept {
  {
    const std::scoped_lock lock(pool_->mutex_);
    if (pool_->drained_ || !pool_->closing())
      return false;
    (what_ == until::drained ? pool_->until_drained_ : pool_->until_empty_).push_back(*this);
  }
  pool_->settle(); // completes this one too, if nothing is left
  return true;
}

bool pool_watcher::withdraw(suspension& self) noexcept {
  auto& watcher = static_cast<pool_watcher&>(self);
  const std::scoped_lock lock(watcher.pool_->mutex_);
  return (watcher.what_ == until::drained ? watcher.pool_->until_drained_
                                          : watcher.pool_->until_empty_)
      .remove(watcher);
}

} // namespace weir::detail
