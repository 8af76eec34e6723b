// SPDX-License-Identifier: MIT
#include "scheduler.hpp"
#include "worker.hpp"

#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/tracked_task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace weir::detail {

namespace {

/// Tasks that a slot runs in a row before it lets the runtime's other work run.
constexpr unsigned batch = 64;
/// After so many it looks whether there is any, as what its tasks have woken.
constexpr unsigned glance = 8;

} // namespace

void pool_slot::run_slot(job& self, thread_state& thread) noexcept {
  auto& slot = static_cast<pool_slot&>(self);
  pool_engine& pool = *slot.pool_;
  const bool on_worker = thread.home == pool.home_;
  // What a task wakes must not wait for the end of this run.
  thread.chain_budget = 0;
  if (slot.duty_ == duty::clear || slot.duty_ == duty::leave) {
    if (slot.duty_ == duty::clear)
      clear(&slot, thread);
    else
      pool.end_help(slot);
    if (on_worker)
      thread.count_ended(); // last, see task_block::retire
    return;
  }
  unsigned misses = 0;
  for (unsigned turns = 0;; ++turns) {
    if (on_worker && turns != 0 && turns % glance == 0 &&
        (turns == batch || thread.self->has_visible_work(true))) {
      schedule_last(*pool.home_, thread, slot);
      return;
    }
    if (slot.duty_ == duty::run && pool.has_surplus()) {
      slot.give_room(thread); // before the pool may be taken for ended
      if (pool.lower_surplus()) {
        if (pool.give_back(slot, thread))
          break;
        continue;
      }
    }
    if (slot.duty_ == duty::sweep && slot.takes_from_others()) {
      slot.give_room(thread);
      pool.end_help(slot);
      break;
    }
    const taken_call call = pool.queue_->take(slot);
    slot.give_room(thread);
    if (!call) {
      if (!slot.expects_more()) {
        if (slot.duty_ == duty::sweep) {
          pool.end_help(slot);
          break;
        }
        pool.active_.fetch_sub(1, std::memory_order_seq_cst); // P1
        if (pool.give_back(slot, thread))
          break;
        continue;
      }
      // Q1: a submitter has counted its task and is about to push it.
      sync::relax();
      if (++misses % 16 == 0) {
        sync::yield_thread();
        if (on_worker) {
          schedule_last(*pool.home_, thread, slot);
          return;
        }
      }
      continue;
    }
    const bool posted = call.posted();
    const bool undisturbed = slot.duty_ == duty::run && pool.undisturbed();
    if (!undisturbed && slot.takes_from_others() && (posted || !call.item->is_husk()))
        [[unlikely]] {
      pool.put_back(thread, call);
      continue; // and leaves
    }
    if (posted)
      slot.run_posted(call, thread, undisturbed);
    else if (!slot.run_task(*call.item, thread))
      break;
  }
  if (on_worker)
    thread.count_ended(); // last, see task_block::retire
}

bool pool_slot::run_task(pool_item& item, thread_state& thread) noexcept {
  pool_engine& pool = *pool_;
  if (tracked_task* const t = item.tracked()) [[unlikely]]
    t->look_at_deadline();
  task_block& block = item.block();
  since_ = task_block::no_stamp;
  pool.settle_all();
  if (!item.is_husk()) { // a husk never runs
    bump(taken_);
    if (const auto waited_since = block.stamp(); waited_since != task_block::no_stamp) {
      since_ = pool.now();
      pool.queue_delay_.record(std::chrono::nanoseconds(since_ - waited_since));
    }
  }
  // Release: pairs with stop_running. Seq_cst: P5.
  task_.store(reinterpret_cast<std::uintptr_t>(&block), std::memory_order_seq_cst);
  ended_here_ = false;
  // Relaxed: nobody else uses these before the task runs.
  turn_.store(with_runner, std::memory_order_relaxed);
  runner_.store(&thread, std::memory_order_relaxed);
  if (thread.home == pool.home_) {
    thread.discarding = discards();
    thread.self->count_spawned(1); // S1
  }
  block.run(block, thread);
  thread.current = nullptr;
  // Relaxed: only this thread compares it with itself, see go_on.
  runner_.store(nullptr, std::memory_order_relaxed);
  // Acquire-release: P2, pairs with go_on.
  return ended_here_ || turn_.exchange(runner_left, std::memory_order_acq_rel) == ended;
}

bool pool_slot::discards() const noexcept {
  if (duty_ == duty::sweep || pool_->home_->current_state() >= scheduler::state::stopping)
    return true;
  const auto flags = pool_->flags_.load(std::memory_order_seq_cst); // P5
  return (flags & pool_engine::abandoned_flag) != 0 ||
         ((flags & pool_engine::cancelling_flag) != 0 && !pool_->has_others());
}

bool pool_slot::expects_more() const noexcept {
  return duty_ == duty::sweep ? !pool_->queue_->empty(*pool_) : pool_->queue_->waiting(*pool_) > 0;
}

bool pool_slot::takes_from_others() const noexcept {
  const bool for_nobody = duty_ == duty::sweep || (pool_->flags_.load(std::memory_order_seq_cst) &
                                                   pool_engine::abandoned_flag) != 0;
  return for_nobody && pool_->has_others();
}

void pool_slot::run_posted(const taken_call& call, thread_state& thread,
                           bool undisturbed) noexcept {
  bump(taken_);
  if (!undisturbed)
    pool_->settle_all();
  const bool on_worker = thread.home == pool_->home_;
  if (on_worker) {
    thread.discarding =
        undisturbed ? pool_->home_->current_state() >= scheduler::state::stopping : discards();
    thread.self->count_spawned(1); // S1
  }
  const task_end how = call.run_posted(thread);
  thread.current = nullptr;
  bump(ended_[static_cast<std::size_t>(how)]);
  owes_room_ = !pool_->queue_->free_room_nobody_waits_for();
  if (on_worker)
    thread.count_ended();
}

void pool_slot::clear(pool_slot* slot, thread_state& thread) noexcept {
  pool_engine& pool = *slot->pool_;
  // Counted and kept apart from the slot, which another thread may let go on to its end.
  const auto keep = slot->keep_;
  pool.helpers_.fetch_add(1, std::memory_order_seq_cst);
  slot->duty_ = duty::leave;
  bool found = false;
  bool more = false;
  do {
    pool_item* husk = pool.queue_->take_husks(more);
    found = found || husk != nullptr; // the last part of a pass may have none
    while (husk != nullptr) {
      pool_item& item = *husk;
      husk = item.next();
      (void)item.come_into(*slot); // stays a husk
      if (slot->run_task(item, thread))
        continue;
      // Somebody is still at cancelling it, and lets that slot go on.
      pool.helpers_.fetch_add(1, std::memory_order_seq_cst);
      slot = &pool.occupy(duty::leave);
    }
    if (more)
      continue;
    // Seq_cst: pairs with clear_husks; who found this under way has counted its husk before.
    pool.clearing_.store(false, std::memory_order_seq_cst);
  } while (more || (std::exchange(found, false) && pool.queue_->has_many_husks(pool) &&
                    !pool.clearing_.exchange(true, std::memory_order_seq_cst)));
  pool.helpers_.fetch_sub(1, std::memory_order_seq_cst); // the slot is still counted
  pool.end_help(*slot);
}

void leave_slot(pool_item& item, task_end how) noexcept {
  item.slot().task_left(item, how);
}

void leave_slot_unstarted(pool_item& item) noexcept {
  item.slot().task_left(item, std::nullopt);
}

void free_slot(pool_slot& slot, thread_state& thread) noexcept {
  slot.go_on(thread);
}

void pool_slot::task_left(pool_item& item, std::optional<task_end> how) noexcept {
  pool_engine& pool = *pool_;
  const auto mine = task_.load(std::memory_order_relaxed) & ~std::uintptr_t{1};
  auto seen = mine;
  // Acquire-release: pairs with stop_running, which takes a share of the task while it pins it.
  while (mine != 0 && !task_.compare_exchange_weak(seen, 0, std::memory_order_acq_rel,
                                                   std::memory_order_relaxed)) {
    seen = mine;
    sync::relax();
  }
  if (item.is_husk()) {
    pool.queue_->husk_left();
    return;
  }
  if (how) {
    bump(ended_[static_cast<std::size_t>(*how)]);
    if (since_ != task_block::no_stamp)
      pool.run_time_.record(std::chrono::nanoseconds(pool.now() - since_));
  } else {
    bump(cancelled_here_);
  }
  owes_room_ = !pool.queue_->free_room_nobody_waits_for();
}

void pool_slot::give_room(thread_state& thread) noexcept {
  if (std::exchange(owes_room_, false))
    pool_->queue_->room_freed(thread);
}

void pool_slot::go_on(thread_state& thread) noexcept {
  // Relaxed: the thread's own value if it is the runner, anything else if not.
  if (runner_.load(std::memory_order_relaxed) == &thread) {
    ended_here_ = true;
    return;
  }
  const pool_engine& pool = *pool_;
  // Acquire-release: P2, pairs with run_task.
  if (turn_.exchange(ended, std::memory_order_acq_rel) == runner_left)
    submit_accepted(*pool.home_, thread, *this);
}

} // namespace weir::detail
