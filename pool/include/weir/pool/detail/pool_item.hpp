// SPDX-License-Identifier: MIT
/// \file
/// What waits in a pool's front queue: a task's control block, or a posted callable.
#pragma once

#include <weir/detail/submit.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/pool/stats.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

namespace weir::detail {

class pool_slot;
class queue_core;
class tracked_task;

/// The pool's part of a task. Made by the submitter, linked by the queue, then held by a slot.
class WEIR_API pool_item : public end_hook {
 public:
  static constexpr std::int64_t not_measured = std::numeric_limits<std::int64_t>::min();

  pool_item(const pool_item&) = delete;
  pool_item& operator=(const pool_item&) = delete;

  /// What a slot runs.
  [[nodiscard]] virtual job& work() noexcept = 0;
  /// Null for what nobody can stop.
  [[nodiscard]] virtual task_block* block() noexcept = 0;
  /// Ends an item that nobody else has seen.
  virtual void discard_unsubmitted() noexcept = 0;

  /// Before it is pushed.
  void belong_to(queue_core& queue) noexcept {
    // Relaxed: pushing publishes it.
    place_.store(reinterpret_cast<std::uintptr_t>(&queue), std::memory_order_relaxed);
  }
  /// By the slot that has taken it, before the task starts.
  void come_into(pool_slot& slot) noexcept {
    // Release: pairs with the acquire in queue() of a thread that cancels the task just now.
    place_.store(reinterpret_cast<std::uintptr_t>(&slot) | in_slot, std::memory_order_release);
  }
  [[nodiscard]] queue_core& queue() const noexcept;
  /// Whether a slot has taken it: a hint, unless the caller knows that it stays so.
  [[nodiscard]] bool is_in_slot() const noexcept {
    return (place_.load(std::memory_order_relaxed) & in_slot) != 0;
  }
  /// Only in a slot, by whom the task runs or ends.
  [[nodiscard]] pool_slot& slot() const noexcept {
    return *reinterpret_cast<pool_slot*>(place_.load(std::memory_order_relaxed) & ~in_slot);
  }

  /// Set when the task was cancelled before it started: what is left in the queue is a husk. Read
  /// by the slot after the task's end, which comes after (C0), and as a hint by who clears husks.
  [[nodiscard]] bool is_husk() const noexcept { return husk_.load(std::memory_order_relaxed); }

  bool ended_unstarted(thread_state& thread) noexcept override;
  [[nodiscard]] bool belongs_to(const void* owner) const noexcept override;

  /// What the task has besides; null for most.
  [[nodiscard]] tracked_task* tracked() noexcept { return tracked_ ? as_tracked() : nullptr; }

  /// Of the queue.
  pool_item* next = nullptr;
  /// By the runtime's clock: since when it waits, then since when it runs.
  std::int64_t stamp = not_measured;

 protected:
  pool_item() noexcept {}
  ~pool_item() = default;

  void set_tracked() noexcept { tracked_ = true; }

 private:
  static constexpr std::uintptr_t in_slot = 1;

  [[nodiscard]] virtual tracked_task* as_tracked() noexcept { return nullptr; }

  sync::atomic<std::uintptr_t> place_{0};
  sync::atomic<bool> husk_{false};
  bool tracked_ = false;
};

/// An item of a queue that is ordered by weight.
class weighted_item : public pool_item {
 public:
  int weight = 4;
  // Of the queue.
  std::uint64_t arrival = 0;
  weighted_item* child = nullptr;
  weighted_item* rest = nullptr;
  weighted_item* last = nullptr;

 protected:
  weighted_item() noexcept {}
  ~weighted_item() = default;
};

/// A posted callable in a packet, for queues that hold packets. When it has run, the first byte of
/// the storage says how it has ended.
template <class F>
void run_in_packet(job& self, thread_state& thread) noexcept {
  auto& p = static_cast<packet&>(self);
  F& f = *std::launder(reinterpret_cast<F*>(p.storage));
  auto how = task_end::cancelled;
  if (!thread.discarding) {
    try {
      std::invoke(std::move(f));
      how = task_end::finished;
    } catch (const task_cancelled&) {
    } catch (...) {
      how = task_end::failed;
      report_unhandled(thread, std::current_exception());
    }
  }
  std::destroy_at(&f);
  p.storage[0] = static_cast<std::byte>(how);
}

/// Tell a slot of a task's end, in this order.
WEIR_API void leave_slot(pool_item& item, task_end how) noexcept;
WEIR_API void free_slot(pool_slot& slot, thread_state& thread) noexcept;

/// A control block (`call_block`, `coroutine_call_block`) that can wait in a queue of `Item`s.
template <class Block, class Item>
class pooled final : public Block, public Item {
 public:
  template <class... Parts>
  explicit pooled(scheduler& home, Parts&&... parts) : Block(home, std::forward<Parts>(parts)...) {
    this->set_hook(*this);
  }

  [[nodiscard]] job& work() noexcept override { return *this; }
  [[nodiscard]] task_block* block() noexcept override { return this; }
  void discard_unsubmitted() noexcept override { task_block::discard_unsubmitted(); }

 private:
  bool slot_freed(thread_state&) noexcept override {
    leave_slot(*this, how_ended());
    return true;
  }
  void task_published(thread_state& thread) noexcept override { free_slot(this->slot(), thread); }

  [[nodiscard]] task_end how_ended() const noexcept {
    // The outcome of a husk is published: somebody may be taking it.
    if (this->is_husk() || this->outcome.cancelled())
      return task_end::cancelled;
    return this->outcome.failed() ? task_end::failed : task_end::finished;
  }
};

/// A posted callable.
template <class F, class Item>
class posted_item final : public job, public Item {
 public:
  static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned callables are not supported: capture a std::unique_ptr");

  template <class G>
  explicit posted_item(std::in_place_t, G&& f) : job(&run_posted), f_(std::forward<G>(f)) {}

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

  [[nodiscard]] job& work() noexcept override { return *this; }
  [[nodiscard]] task_block* block() noexcept override { return nullptr; }
  void discard_unsubmitted() noexcept override { delete this; }

 private:
  static void run_posted(job& self, thread_state& thread) noexcept {
    std::unique_ptr<posted_item> owned(&static_cast<posted_item&>(self));
    auto how = task_end::cancelled;
    if (!thread.discarding) {
      try {
        std::invoke(std::move(owned->f_));
        how = task_end::finished;
      } catch (const task_cancelled&) {
      } catch (...) {
        how = task_end::failed;
        report_unhandled(thread, std::current_exception());
      }
    }
    leave_slot(*owned, how);
    pool_slot& slot = owned->slot();
    owned.reset();
    free_slot(slot, thread);
    thread.count_ended();
  }
  bool slot_freed(thread_state&) noexcept override { return true; }
  void task_published(thread_state&) noexcept override {}

  F f_;
};

/// A task that has been made but not submitted yet, as the pool and as its handle see it.
template <class T>
struct new_task {
  new_task(pool_item& as_item, result_block<T>& as_block) noexcept
      : item(&as_item), block(&as_block) {}
  pool_item* item;
  result_block<T>* block;
};

/// The control block for `f(args...)`, with both references still the caller's. Throws as
/// `make_block`.
template <class Item, class F, class... Args>
[[nodiscard]] new_task<submit_result_t<F, Args...>> make_pooled(scheduler& home, F&& f,
                                                                Args&&... args) {
  require_callable(f);
  auto* const made = new pooled<block_for<F, Args...>, Item>(home, std::forward<F>(f),
                                                             std::forward<Args>(args)...);
  return {*made, *made};
}

} // namespace weir::detail
