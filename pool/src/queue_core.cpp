// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/queue_core.hpp>
#include <weir/pool/detail/tracked_task.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace weir::detail {

bool pool_item::is_in_slot_of(const void* owner) const noexcept {
  return (place_.load(std::memory_order_relaxed) & in_slot) != 0 && &slot().pool() == owner;
}

queue_core::queue_core(std::unique_ptr<front_queue> items, std::size_t max_waiting)
    : items_(std::move(items)), max_waiting_(max_waiting) {}

queue_core::~queue_core() = default;

void queue_core::attach(const std::shared_ptr<pool_engine>& pool) {
  const std::scoped_lock lock(mutex_);
  for (const auto& other : pools_) {
    if (&other.engine->home() != &pool->home())
      throw_error(errc::invalid_option, "pools that share a queue must belong to the same runtime");
  }
  pools_.reserve(pools_.size() + 1);
  counted_.push_back(pool.get());
  pools_.push_back({pool.get(), pool});
  if (counted_.size() > 1 || accepted_before_ != 0)
    shared_.store(true, std::memory_order_seq_cst);
  runner_came();
}

void queue_core::detach(const pool_engine& pool) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto at = std::find_if(pools_.begin(), pools_.end(),
                               [&](const member& each) { return each.engine == &pool; });
  if (at != pools_.end())
    pools_.erase(at);
}

void queue_core::forget(const pool_engine& pool) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto at = std::find(counted_.begin(), counted_.end(), &pool);
  if (at == counted_.end())
    return;
  accepted_before_ += pool.accepted_.sum();
  counted_.erase(at);
}

std::vector<std::shared_ptr<pool_engine>> queue_core::pools() const noexcept {
  for (;;) {
    try {
      std::vector<std::shared_ptr<pool_engine>> all;
      const std::scoped_lock lock(mutex_);
      all.reserve(pools_.size()); // now: a share must not be let go of under the lock
      for (const auto& each : pools_) {
        if (auto pool = each.share.lock())
          all.push_back(std::move(pool));
      }
      return all;
    } catch (...) {
      sync::yield_thread(); // what waits was accepted: wait for memory
    }
  }
}

std::int64_t queue_core::waiting(const pool_engine& seen_by) const noexcept {
  // Seq_cst: Q1. Gone first, so that the difference is never too small. Modulo 2^32, as who takes
  // counts; less than half of that waits.
  const auto gone = items_->taken() +
                    static_cast<std::uint32_t>(withdrawn_.load(std::memory_order_seq_cst)) -
                    static_cast<std::uint32_t>(returned_.load(std::memory_order_seq_cst));
  const auto left = [&](std::uint64_t accepted) {
    return std::int64_t{static_cast<std::int32_t>(static_cast<std::uint32_t>(accepted) - gone)};
  };
  if (!shared())
    return left(seen_by.accepted_.sum());
  const std::scoped_lock lock(mutex_);
  std::uint64_t accepted = accepted_before_;
  for (const auto* pool : counted_)
    accepted += pool->accepted_.sum();
  return left(accepted);
}

void cancelled_unstarted(pool_item& item, thread_state& thread) noexcept {
  if (queue_core* const core = item.become_husk())
    core->withdrawn(thread);
}

void queue_core::withdrawn(thread_state& thread) noexcept {
  husks_.fetch_add(1, std::memory_order_seq_cst);
  withdrawn_.fetch_add(1, std::memory_order_seq_cst); // Q1, after the husk was counted
  room_freed(thread);
  if (shared()) {
    const auto all = pools();
    for (const auto& pool : all)
      pool->settle_if_closing();
    for (const auto& pool : all) {
      if (!has_many_husks(*pool) || pool->clear_husks(thread))
        return;
    }
    return;
  }
  std::shared_ptr<pool_engine> only;
  {
    const std::scoped_lock lock(mutex_);
    if (!pools_.empty())
      only = pools_.front().share.lock();
  }
  if (only == nullptr)
    return; // whoever ends the last pool takes everything out
  only->settle_if_closing();
  if (has_many_husks(*only))
    (void)only->clear_husks(thread);
}

bool queue_core::has_many_husks(const pool_engine& seen_by) const noexcept {
  // So that clearing costs a constant for each husk.
  const auto husks = husks_.load(std::memory_order_seq_cst);
  return husks >= 64 && husks >= waiting(seen_by);
}

// Room.

std::uint64_t queue_core::capacity() const noexcept {
  // Seq_cst: Q2, whoever raises it looks for waiters afterwards.
  const auto slots =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, slots_.load(std::memory_order_seq_cst)));
  return max_waiting_ > count_mask - 1 - slots ? count_mask - 1 : slots + max_waiting_;
}

bool queue_core::try_reserve() noexcept {
  if (!bounded())
    return true;
  auto seen = room_.load(std::memory_order_relaxed);
  do {
    if ((seen & waiters_flag) != 0 || (seen & count_mask) >= capacity())
      return false;
    // Acquire: pairs with the release of whoever gives room back.
  } while (!room_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                        std::memory_order_relaxed));
  return true;
}

bool queue_core::reserve_or_wait(room_waiter& w) noexcept {
  if (try_reserve())
    return true;
  const std::scoped_lock lock(mutex_);
  auto seen = room_.load(std::memory_order_relaxed);
  for (;;) {
    const bool room = (seen & waiters_flag) == 0 && (seen & count_mask) < capacity();
    // Acquire-release: Q2; who gives room back either sees the flag or came before and is seen.
    if (!room_.compare_exchange_weak(seen, room ? seen + 1 : seen | waiters_flag,
                                     std::memory_order_acq_rel, std::memory_order_relaxed))
      continue;
    if (room)
      return true;
    w.next = nullptr;
    w.previous = last_;
    w.waits = true;
    (first_ == nullptr ? first_ : last_->next) = &w;
    last_ = &w;
    // Seq_cst: P4, pairs with settle.
    w.pool->room_waiters_.fetch_add(1, std::memory_order_seq_cst);
    return false;
  }
}

void queue_core::unlink(room_waiter& w) noexcept {
  w.waits = false;
  (w.previous == nullptr ? first_ : w.previous->next) = w.next;
  (w.next == nullptr ? last_ : w.next->previous) = w.previous;
  if (first_ == nullptr) // relaxed: the mutex orders the flag's changes
    room_.fetch_and(~waiters_flag, std::memory_order_relaxed);
}

bool queue_core::withdraw(room_waiter& w) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (!w.waits)
      return false;
    unlink(w);
    w.pool->room_waiters_.fetch_sub(1, std::memory_order_seq_cst);
  }
  if (w.pool->closing())
    w.pool->settle();
  return true;
}

queue_core::admission queue_core::next_admission() noexcept {
  if (first_ == nullptr)
    return {};
  // Copied: from here on the submitter's wait may be given up, and `*first_` be gone.
  room_waiter& oldest = *first_;
  admission next{oldest.item, oldest.pool->shared_from_this(), oldest.resume};
  // In this order: P4, pairs with settle.
  (void)oldest.pool->accepted_.add(this_thread());
  oldest.pool->stamp_accepted(*next.item); // nobody can cancel it yet, see task_block::stamp
  if (tracked_task* const t = next.item->tracked()) // from now on its id may be cancelled: Q3
    next.pool->tasks().enter(*t, [] {});
  oldest.pool->room_waiters_.fetch_sub(1, std::memory_order_seq_cst);
  unlink(oldest);
  return next;
}

void queue_core::admit(thread_state& thread, const admission& next) noexcept {
  next.pool->push_accepted(thread, *next.item);
  next.pool->settle_if_closing(); // P4: behind its last slot, maybe
  // Only a waiter with something to resume is still there: nobody else resumes it.
  if (next.resume.home == nullptr)
    return;
  scheduler& home = *next.resume.home;
  if (job* const resumed = next.resume.complete())
    schedule(home, thread, *resumed);
}

void queue_core::room_freed(thread_state& thread) noexcept {
  if (!bounded())
    return;
  auto seen = room_.load(std::memory_order_relaxed);
  for (;;) {
    if ((seen & waiters_flag) != 0 && (seen & count_mask) <= capacity()) {
      admission next;
      {
        const std::scoped_lock lock(mutex_);
        next = next_admission();
      }
      if (next.item != nullptr) {
        admit(thread, next);
        return;
      }
      seen = room_.load(std::memory_order_relaxed);
      continue;
    }
    // Release: pairs with try_reserve and reserve_or_wait. Seq_cst: Q2, pairs with
    // capacity_changed.
    if (!room_.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst,
                                     std::memory_order_relaxed))
      continue;
    if ((seen & waiters_flag) != 0 && (seen & count_mask) <= capacity()) [[unlikely]]
      admit_waiting(thread); // the limit was raised just now
    return;
  }
}

bool queue_core::free_room_nobody_waits_for() noexcept {
  if (!bounded())
    return true;
  auto seen = room_.load(std::memory_order_relaxed);
  do {
    if ((seen & waiters_flag) != 0)
      return false;
    // Release: pairs with try_reserve and reserve_or_wait. Nobody waits, so that nobody is missed.
  } while (!room_.compare_exchange_weak(seen, seen - 1, std::memory_order_release,
                                        std::memory_order_relaxed));
  return true;
}

void queue_core::capacity_changed(std::int64_t by, thread_state& thread) noexcept {
  slots_.fetch_add(by, std::memory_order_seq_cst); // Q2
  if (bounded() && by > 0)
    admit_waiting(thread);
}

void queue_core::admit_waiting(thread_state& thread) noexcept {
  for (;;) {
    admission next;
    {
      const std::scoped_lock lock(mutex_);
      auto seen = room_.load(std::memory_order_seq_cst); // Q2
      do {
        if (first_ == nullptr || (seen & count_mask) >= capacity())
          return;
        // Acquire: as in try_reserve.
      } while (!room_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed));
      next = next_admission();
    }
    admit(thread, next);
  }
}

} // namespace weir::detail
