// SPDX-License-Identifier: MIT
/// \file
/// What waits in a pool's front queue: a task, or a posted callable.
#pragma once

#include <weir/detail/submit.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/pool/stats.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weir::detail {

class pool_slot;
class queue_core;
class tracked_task;

/// The queue's part of what waits: one word. That of a task stands directly before its control
/// block, so that one is found from the other without a pointer, and uses the block's link.
///
/// `place_` says where it is: in a queue, in a slot, or a husk, which is what is left in the queue
/// of a task that was cancelled there. Whoever takes it out and whoever cancels it change the word
/// by one operation each, so that both agree whether it became a husk or was taken before. For a
/// posted callable, which nobody can cancel, the word is the function that runs it.
class pool_item {
 public:
  /// Calls a posted callable, or drops it if `thread_state::discarding` is set, and destroys it.
  using posted_function = task_end (*)(pool_item& self, thread_state& thread) noexcept;

  pool_item(const pool_item&) = delete;
  pool_item& operator=(const pool_item&) = delete;

  [[nodiscard]] bool posted() const noexcept {
    return (place_.load(std::memory_order_relaxed) & posted_bit) != 0; // never changes
  }
  /// Only of a posted callable.
  [[nodiscard]] task_end run_posted(thread_state& thread) noexcept {
    const auto function = place_.load(std::memory_order_relaxed) & ~posted_bit;
    return reinterpret_cast<posted_function>(function)(*this, thread);
  }
  /// Only of a task.
  [[nodiscard]] inline task_block& block() noexcept;

  /// Before it is pushed, or pushed back.
  void belong_to(queue_core& queue) noexcept {
    // Relaxed: pushing publishes it.
    place_.store(reinterpret_cast<std::uintptr_t>(&queue) | mark(), std::memory_order_relaxed);
  }
  /// By who takes a task out. \return false if it is a husk.
  [[nodiscard]] bool come_into(pool_slot& slot) noexcept {
    const auto mine = reinterpret_cast<std::uintptr_t>(&slot) | in_slot | mark();
    // Acquire-release: pairs with become_husk; one of the two comes first.
    if ((place_.exchange(mine, std::memory_order_acq_rel) & husk) == 0)
      return true;
    place_.store(mine | husk, std::memory_order_relaxed); // its canceller does not look again
    return false;
  }
  /// By who cancels a task that has not started. \return its queue if it waits there and has become
  /// a husk; null if a slot has taken it.
  [[nodiscard]] queue_core* become_husk() noexcept {
    auto seen = place_.load(std::memory_order_relaxed);
    while ((seen & in_slot) == 0) {
      // Acquire-release: pairs with come_into.
      if (place_.compare_exchange_weak(seen, seen | husk, std::memory_order_acq_rel,
                                       std::memory_order_relaxed))
        return reinterpret_cast<queue_core*>(seen & ~bits);
    }
    return nullptr;
  }
  /// By a slot that has taken it; as a hint by who clears husks.
  [[nodiscard]] bool is_husk() const noexcept {
    const auto seen = place_.load(std::memory_order_relaxed);
    return (seen & posted_bit) == 0 && (seen & husk) != 0;
  }
  /// Whether a slot has taken it: a hint, unless the caller knows that it stays so.
  [[nodiscard]] bool is_in_slot() const noexcept {
    return (place_.load(std::memory_order_relaxed) & in_slot) != 0;
  }
  /// Only in a slot, by whom the task runs or ends.
  [[nodiscard]] pool_slot& slot() const noexcept {
    return *reinterpret_cast<pool_slot*>(place_.load(std::memory_order_relaxed) & ~bits);
  }
  /// Whether it is in a slot of `owner`, a pool.
  [[nodiscard]] WEIR_API bool is_in_slot_of(const void* owner) const noexcept;
  /// What the task has besides; null for most.
  [[nodiscard]] inline tracked_task* tracked() noexcept;

  /// Of a task that is `tracked()`, when it is made.
  void set_tracked() noexcept { place_.store(tracked_bit, std::memory_order_relaxed); }

  /// Of the queue: where it is in an order by weight, while it waits; a link of a husk that was
  /// taken out.
  [[nodiscard]] inline int weight() noexcept;
  inline void set_weight(int weight) noexcept;
  [[nodiscard]] inline pool_item* next() noexcept;
  inline void set_next(pool_item* item) noexcept;

 protected:
  pool_item() noexcept {}
  explicit pool_item(posted_function run) noexcept
      : place_(reinterpret_cast<std::uintptr_t>(run) | posted_bit) {}
  ~pool_item() = default;

 private:
  static constexpr std::uintptr_t in_slot = 1;
  static constexpr std::uintptr_t husk = 2;
  static constexpr std::uintptr_t tracked_bit = 4; // of a task: never changes
  static constexpr std::uintptr_t bits = in_slot | husk | tracked_bit;
  // No address of a program has it.
  static constexpr std::uintptr_t posted_bit = std::uintptr_t{1} << 63;

  [[nodiscard]] std::uintptr_t mark() const noexcept {
    return place_.load(std::memory_order_relaxed) & tracked_bit;
  }
  /// What follows this word: a task's control block, or a posted callable's weight.
  template <class T>
  [[nodiscard]] T& following() noexcept {
    return *std::launder(
        reinterpret_cast<T*>(reinterpret_cast<std::byte*>(this) + sizeof(pool_item)));
  }

  sync::atomic<std::uintptr_t> place_{0};
};

/// Calls `f` in a slot, or drops it, and routes what it throws.
template <class F>
[[nodiscard]] task_end run_unawaited(F& f, thread_state& thread) noexcept {
  if (thread.discarding)
    return task_end::cancelled;
  try {
    std::invoke(std::move(f));
    return task_end::finished;
  } catch (const task_cancelled&) {
    return task_end::cancelled;
  } catch (...) {
    report_unhandled(thread, std::current_exception());
    return task_end::failed;
  }
}

/// A posted callable of a word that moves as bytes: waits without an item.
struct word_call {
  using function = task_end (*)(std::uintptr_t word, thread_state& thread) noexcept;

  template <class F>
  static constexpr bool fits =
      sizeof(F) <= sizeof(std::uintptr_t) && alignof(F) <= alignof(std::uintptr_t) &&
      std::is_trivially_copyable_v<F> && std::is_trivially_destructible_v<F>;

  word_call() noexcept {}
  template <class F>
  explicit word_call(const F& f) noexcept : run(&run_word<F>) {
    static_assert(fits<F>);
    std::memcpy(&word, std::addressof(f), sizeof(F));
  }

  void set_weight(int by) noexcept { weight = by; }

  function run = nullptr;
  std::uintptr_t word = 0;
  int weight = 0;

 private:
  template <class F>
  static task_end run_word(std::uintptr_t word, thread_state& thread) noexcept {
    alignas(F) std::byte room[sizeof(F)];
    std::memcpy(room, &word, sizeof(F));
    return run_unawaited(*std::launder(reinterpret_cast<F*>(room)), thread);
  }
};

/// Tell a slot of a task's end, in this order.
WEIR_API void leave_slot(pool_item& item, task_end how) noexcept;
/// Instead of the first, if the task was cancelled before it started.
WEIR_API void leave_slot_unstarted(pool_item& item) noexcept;
WEIR_API void free_slot(pool_slot& slot, thread_state& thread) noexcept;
/// A task has been cancelled before it started.
WEIR_API void cancelled_unstarted(pool_item& item, thread_state& thread) noexcept;

/// A control block (`call_block`, `coroutine_call_block`) that can wait in a pool's queue.
template <class Block>
class pooled : public Block {
  struct made_item final : pool_item {};

 public:
  template <class... Parts>
  explicit pooled(scheduler& home, Parts&&... parts) : Block(home, std::forward<Parts>(parts)...) {
    ::new (static_cast<void*>(item_address(this))) made_item;
  }

  static void* operator new(std::size_t size) {
    return static_cast<std::byte*>(allocate_frame(room_for_item() + size)) + room_for_item();
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(static_cast<std::byte*>(memory) - room_for_item(), room_for_item() + size);
  }

  [[nodiscard]] pool_item& item() noexcept {
    return *std::launder(reinterpret_cast<made_item*>(item_address(this)));
  }

 protected:
  [[nodiscard]] task_end how_it_ended() const noexcept {
    return this->outcome.cancelled() ? task_end::cancelled
           : this->outcome.failed()  ? task_end::failed
                                     : task_end::finished;
  }
  void task_published(thread_state& thread) noexcept override { free_slot(item().slot(), thread); }
  [[nodiscard]] bool belongs_to(const void* owner) noexcept override {
    return item().is_in_slot_of(owner);
  }
  [[nodiscard]] bool holds_slot_of(const void* owner) noexcept override {
    return item().is_in_slot_of(owner);
  }

 private:
  static_assert(std::is_trivially_destructible_v<made_item>);

  static constexpr std::size_t room_for_item() noexcept {
    return (sizeof(made_item) + alignof(pooled) - 1) / alignof(pooled) * alignof(pooled);
  }
  static std::byte* item_address(pooled* self) noexcept {
    return reinterpret_cast<std::byte*>(self) - sizeof(made_item);
  }

  bool slot_freed(thread_state&, bool started) noexcept override {
    // The outcome of one that has not started is published: somebody may be taking it.
    if (started)
      leave_slot(item(), how_it_ended());
    else
      leave_slot_unstarted(item());
    return true;
  }
  bool ended_unstarted(thread_state& thread) noexcept override {
    cancelled_unstarted(item(), thread);
    return true;
  }
};

task_block& pool_item::block() noexcept {
  return following<task_block>(); // `pooled` has it there
}

tracked_task* pool_item::tracked() noexcept {
  const auto seen = place_.load(std::memory_order_relaxed);
  return (seen & (posted_bit | tracked_bit)) == tracked_bit ? block().tracked_part() : nullptr;
}

int pool_item::weight() noexcept {
  return posted() ? following<int>() : block().weight;
}

void pool_item::set_weight(int weight) noexcept {
  if (posted())
    following<int>() = weight;
  else
    block().weight = weight;
}

pool_item* pool_item::next() noexcept {
  return static_cast<pool_item*>(block().next_item);
}

void pool_item::set_next(pool_item* item) noexcept {
  block().next_item = item;
}

/// A posted callable.
template <class F>
class posted_item final : public pool_item {
 public:
  static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned callables are not supported: capture a std::unique_ptr");

  template <class G>
  explicit posted_item(std::in_place_t, G&& f) : pool_item(&run), f_(std::forward<G>(f)) {}

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

 private:
  static task_end run(pool_item& self, thread_state& thread) noexcept {
    const std::unique_ptr<posted_item> owned(static_cast<posted_item*>(&self));
    return run_unawaited(owned->f_, thread);
  }

  [[maybe_unused]] int weight_ = 0; // see pool_item::following
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
template <class F, class... Args>
[[nodiscard]] new_task<submit_result_t<F, Args...>> make_pooled(scheduler& home, F&& f,
                                                                Args&&... args) {
  require_callable(f);
  auto* const made =
      new pooled<block_for<F, Args...>>(home, std::forward<F>(f), std::forward<Args>(args)...);
  return {made->item(), *made};
}

} // namespace weir::detail
