// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/error.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/tracked_task.hpp>
#include <weir/pool/errors.hpp>
#include <weir/sleep.hpp>

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

namespace weir::detail {

pool_engine::pool_engine(scheduler& home, std::shared_ptr<queue_core> queue,
                         std::uint64_t time_every)
    : home_(&home), queue_(std::move(queue)),
      time_mask_(time_every == 0 ? ~std::uint64_t{0} : std::bit_ceil(time_every) - 1) {}

pool_engine::~pool_engine() {
  queue_->detach(*this);
  queue_->forget(*this);
  for (auto& chunk : chunks_)
    delete[] chunk.load(std::memory_order_acquire); // pairs with make_chunk
}

// Submitting.

void pool_engine::require_open() const {
  detail::require_open(*home_);
  const auto flags = flags_.load(std::memory_order_relaxed); // looked at again when it is counted
  if ((flags & closed_flag) != 0)
    throw pool_is_closed();
  if ((flags & paused_flag) != 0)
    throw not_available::paused();
}

std::uint64_t pool_engine::count(thread_state& thread) {
  // Seq_cst: P1, P4, Q1.
  const auto number = accepted_.add(thread);
  if (closing()) {
    take_back_count(thread);
    queue_->room_freed(thread);
    throw pool_is_closed();
  }
  return number;
}

template <class Task>
void pool_engine::push_counted(thread_state& thread, Task& task) {
  try {
    push_entered(task);
  } catch (...) {
    take_back_count(thread);
    queue_->room_freed(thread);
    throw;
  }
  see_to_slot(thread);
}

void pool_engine::push_entered(const word_call& callable) {
  queue_->push(callable);
}

void pool_engine::push_entered(pool_item& item) {
  if (tracked_task* const t = item.tracked()) [[unlikely]]
    tasks_.enter(*t, [&] { queue_->push(item); });
  else
    queue_->push(item);
}

void pool_engine::admit(thread_state& thread, pool_item& item) {
  const auto number = count(thread);
  if (!item.posted()) {
    if ((number & time_mask_) == time_mask_)
      item.block().stamp(now());
    item.belong_to(*queue_);
  }
  try {
    push_counted(thread, item);
  } catch (...) {
    if (!item.posted())
      item.block().stamp(task_block::no_stamp);
    throw;
  }
}

void pool_engine::help_ended() noexcept {
  helpers_.fetch_sub(1, std::memory_order_seq_cst); // P4; the caller holds the engine
  settle_if_closing();
}

void pool_engine::admit(thread_state& thread, const word_call& callable) {
  (void)count(thread);
  push_counted(thread, callable);
}

void pool_engine::take_back_count(thread_state& thread) noexcept {
  accepted_.take_back(thread);
  settle_all();
}

bool pool_engine::admit_or_wait(thread_state& thread, room_waiter& w) {
  require_open();
  w.pool = this;
  w.item->belong_to(*queue_); // Q3
  if (!queue_->reserve_or_wait(w))
    return false;
  admit(thread, *w.item);
  return true;
}

void pool_engine::stamp_accepted(pool_item& item) noexcept {
  if (time_mask_ == 0)
    item.block().stamp(now());
}

void pool_engine::push_accepted(thread_state& thread, pool_item& item) noexcept {
  push_surely(item);
  see_to_slot(thread);
}

template <class Task>
void pool_engine::push_surely(Task& task) noexcept {
  for (;;) {
    try {
      queue_->push(task);
      return;
    } catch (...) {
      sync::yield_thread(); // accepted long ago: wait for memory
    }
  }
}

void pool_engine::put_back(thread_state& thread, const taken_call& call) noexcept {
  queue_->count_returned();
  if (call.item == nullptr) {
    push_surely(call.word);
  } else {
    if (!call.item->posted())
      call.item->belong_to(*queue_);
    push_surely(*call.item);
  }
  see_to_others(thread);
}

void pool_engine::see_to_slot(thread_state& thread) noexcept {
  if (has_free_slot() && acquire())
    activate(thread);
  else if (queue_->shared()) [[unlikely]]
    see_to_others(thread);
}

void pool_engine::see_to_others(thread_state& thread) noexcept {
  for (const auto& pool : queue_->pools()) {
    if (pool->acquire()) {
      pool->activate(thread);
      return;
    }
  }
}

void pool_engine::see_to_waiting(thread_state& thread) noexcept {
  for (auto waiting = queue_->waiting(*this); waiting > 0 && acquire(); --waiting)
    activate(thread);
}

std::int64_t pool_engine::now() const noexcept {
  return now_of(*home_).time_since_epoch().count();
}

// Slots.

bool pool_engine::acquire() noexcept {
  // Seq_cst: P1.
  auto seen = active_.load(std::memory_order_seq_cst);
  do {
    if (seen >= target_.load(std::memory_order_seq_cst))
      return false;
  } while (!active_.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst));
  auto peak = peak_.load(std::memory_order_relaxed); // a figure
  while (peak <= seen && !peak_.compare_exchange_weak(peak, seen + 1, std::memory_order_relaxed)) {
  }
  return true;
}

bool pool_engine::lower_surplus() noexcept {
  auto seen = active_.load(std::memory_order_relaxed);
  while (seen > target_.load(std::memory_order_relaxed)) {
    if (active_.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst)) // P1
      return true;
  }
  return false;
}

bool pool_engine::give_back(pool_slot& slot, thread_state& thread) noexcept {
  // P1: after `active_` was lowered.
  if (queue_->waiting(*this) > 0) {
    if (acquire())
      return false;
    if (queue_->shared())
      see_to_others(thread);
  }
  release_slot(slot);
  return true;
}

void pool_engine::end_help(pool_slot& slot) noexcept {
  helpers_.fetch_sub(1, std::memory_order_seq_cst); // P4; `keep_` holds the engine
  release_slot(slot);
}

void pool_engine::release_slot(pool_slot& slot) noexcept {
  const auto keep = std::move(slot.keep_); // maybe the last share
  put_free(slot);
  settle_if_closing();
}

pool_slot& pool_engine::occupy(pool_slot::duty what) noexcept {
  pool_slot& slot = free_slot();
  slot.keep_ = shared_from_this();
  slot.duty_ = what;
  return slot;
}

void pool_engine::activate(thread_state& thread, pool_slot::duty what) noexcept {
  submit_accepted(*home_, thread, occupy(what));
}

pool_slot* pool_engine::slot_at(std::uint32_t index) const noexcept {
  const std::uint64_t place = std::uint64_t{index} + first_chunk;
  const auto chunk =
      static_cast<std::uint32_t>(std::bit_width(place) - std::bit_width(first_chunk));
  // Acquire: pairs with make_chunk. Seq_cst: P5.
  pool_slot* const slots = chunks_[chunk].load(std::memory_order_seq_cst);
  return slots == nullptr ? nullptr : slots + (place - (std::uint64_t{first_chunk} << chunk));
}

void pool_engine::make_chunk(std::uint32_t chunk) noexcept {
  const std::size_t count = std::size_t{first_chunk} << chunk;
  pool_slot* made = nullptr;
  while (made == nullptr) {
    try {
      made = new pool_slot[count];
    } catch (...) {
      sync::yield_thread(); // a task was accepted for it: wait for memory
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    made[i].pool_ = this;
    made[i].index_ = static_cast<std::uint32_t>(count - first_chunk + i);
  }
  pool_slot* none = nullptr;
  // Release: pairs with slot_at. Seq_cst: P5.
  if (!chunks_[chunk].compare_exchange_strong(none, made, std::memory_order_seq_cst,
                                              std::memory_order_relaxed))
    delete[] made;
}

pool_slot& pool_engine::free_slot() noexcept {
  // The tag in the upper half keeps a slot that comes back meanwhile from being mistaken.
  auto seen = free_.load(std::memory_order_acquire);
  while (static_cast<std::uint32_t>(seen) != 0) {
    pool_slot& slot = *slot_at(static_cast<std::uint32_t>(seen) - 1);
    const std::uint64_t next = slot.next_free_.load(std::memory_order_relaxed);
    // Acquire: pairs with the release in put_free; what its last user left is seen.
    if (free_.compare_exchange_weak(seen, ((seen >> 32) + 1) << 32 | next,
                                    std::memory_order_acq_rel, std::memory_order_acquire))
      return slot;
  }
  // Seq_cst: P5. Who iterates takes chunks that are missing for empty.
  const auto index = slots_.fetch_add(1, std::memory_order_seq_cst);
  for (;;) {
    if (pool_slot* const slot = slot_at(index))
      return *slot;
    make_chunk(static_cast<std::uint32_t>(std::bit_width(std::uint64_t{index} + first_chunk) -
                                          std::bit_width(first_chunk)));
  }
}

void pool_engine::put_free(pool_slot& slot) noexcept {
  auto seen = free_.load(std::memory_order_relaxed);
  do
    slot.next_free_.store(static_cast<std::uint32_t>(seen), std::memory_order_relaxed);
  // Release: pairs with free_slot.
  while (!free_.compare_exchange_weak(seen, ((seen >> 32) + 1) << 32 | (slot.index_ + 1),
                                      std::memory_order_acq_rel, std::memory_order_relaxed));
}

template <class F>
void pool_engine::for_each_slot(const F& f) const noexcept {
  const auto count = slots_.load(std::memory_order_seq_cst); // P5
  for (std::uint32_t i = count; i != 0; --i) {
    if (pool_slot* const slot = slot_at(i - 1))
      f(*slot);
  }
}

bool pool_engine::clear_husks(thread_state& thread) noexcept {
  // Seq_cst: after the husk was counted; pairs with clear.
  if (clearing_.exchange(true, std::memory_order_seq_cst))
    return true;
  {
    const std::scoped_lock lock(mutex_);
    if (drained_) {
      clearing_.store(false, std::memory_order_seq_cst);
      return false;
    }
    helpers_.fetch_add(1, std::memory_order_seq_cst);
  }
  activate(thread, pool_slot::duty::clear);
  return true;
}

// Control.

std::size_t pool_engine::scale(std::int64_t by, std::size_t least, std::size_t most,
                               bool hard) noexcept {
  std::uint64_t before = 0;
  std::uint64_t wanted = 0;
  {
    const std::scoped_lock lock(mutex_);
    before = target_.load(std::memory_order_relaxed); // P7
    if (closing())
      return static_cast<std::size_t>(before);
    // Without overflow: both are far below 2^63.
    const auto sum = static_cast<std::int64_t>(before) +
                     std::clamp<std::int64_t>(by, -(std::int64_t{1} << 40), std::int64_t{1} << 40);
    wanted = static_cast<std::uint64_t>(
        std::clamp(sum, static_cast<std::int64_t>(least), static_cast<std::int64_t>(most)));
    target_.store(wanted, std::memory_order_seq_cst); // P1, before see_to_waiting looks who waits
  }
  limit_changed(before, wanted, hard);
  return static_cast<std::size_t>(wanted);
}

void pool_engine::limit_changed(std::uint64_t before, std::uint64_t now, bool hard) noexcept {
  if (now == before)
    return;
  thread_state& thread = this_thread();
  queue_->capacity_changed(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(before),
                           thread);
  if (now > before) {
    see_to_waiting(thread);
  } else if (hard) {
    const auto busy = std::min<std::uint64_t>(running(), before);
    if (busy > now)
      stop_running(static_cast<std::size_t>(busy - now));
  }
}

std::size_t pool_engine::stop_running(std::size_t at_most) noexcept {
  std::size_t stopped = 0;
  for_each_slot([&](pool_slot& slot) {
    if (stopped == at_most)
      return;
    auto seen = slot.task_.load(std::memory_order_seq_cst); // P5
    // Acquire: pairs with run_task. A task that is pinned by another thread is stopped by that one.
    if (seen == 0 || (seen & 1) != 0 ||
        !slot.task_.compare_exchange_strong(seen, seen | 1, std::memory_order_acq_rel,
                                            std::memory_order_relaxed))
      return;
    auto& block = *reinterpret_cast<task_block*>(seen);
    block.retain();
    slot.task_.store(seen, std::memory_order_release); // pairs with task_left
    if (block.scope().request_stop(stop_cause::shutdown))
      ++stopped;
    block.release();
  });
  return stopped;
}

std::size_t pool_engine::size() const noexcept {
  return static_cast<std::size_t>(
      std::max(active_.load(std::memory_order_relaxed), target_.load(std::memory_order_relaxed)));
}

std::size_t pool_engine::waiting() const noexcept {
  return static_cast<std::size_t>(std::max<std::int64_t>(0, queue_->waiting(*this)));
}

pool_engine::figures pool_engine::look_at_slots() const noexcept {
  figures sum;
  for_each_slot([&](const pool_slot& slot) {
    constexpr auto relaxed = std::memory_order_relaxed; // figures
    // Taken before ended: who runs now may be missed, but nobody is counted who does not.
    const auto taken = slot.taken_.load(relaxed);
    std::uint64_t over = 0;
    for (std::size_t i = 0; i < sum.ended.size(); ++i) {
      const auto ended = slot.ended_[i].load(relaxed);
      sum.ended[i] += ended;
      over += ended;
    }
    const auto unstarted = slot.cancelled_here_.load(relaxed);
    sum.unstarted += unstarted;
    over += unstarted;
    sum.running += taken > over ? 1 : 0;
  });
  // A slot that was looked at before another one took its place.
  sum.running = std::min<std::uint64_t>(sum.running, peak_.load(std::memory_order_relaxed));
  return sum;
}

std::size_t pool_engine::running() const noexcept {
  return static_cast<std::size_t>(look_at_slots().running);
}

pool_stats pool_engine::stats() const noexcept {
  pool_stats now;
  const auto cancelled_waiting = queue_->cancelled();
  const auto [ended, unstarted, running] = look_at_slots();
  now.finished = ended[static_cast<std::size_t>(task_end::finished)];
  now.failed = ended[static_cast<std::size_t>(task_end::failed)];
  now.cancelled = ended[static_cast<std::size_t>(task_end::cancelled)];
  now.running = static_cast<std::size_t>(running);
  now.started = now.finished + now.failed + now.cancelled + running;
  now.cancelled += cancelled_waiting + unstarted;
  now.ended = now.finished + now.failed + now.cancelled;
  // Last: all that was counted above was accepted before.
  const auto accepted = accepted_.sum();
  now.waiting = static_cast<std::size_t>(
      accepted > now.ended + now.running ? accepted - now.ended - now.running : 0);
  now.accepted = now.waiting + now.running + now.ended;
  now.peak_running = static_cast<std::size_t>(peak_.load(std::memory_order_relaxed));
  now.limit = target();
  now.queue_delay = queue_delay_.snapshot();
  now.run_time = run_time_.snapshot();
  return now;
}

} // namespace weir::detail
