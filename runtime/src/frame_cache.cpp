// SPDX-License-Identifier: MIT
// Frames wander: allocated by one thread, freed by another. Each thread keeps a free list per size
// class and trades whole batches with a depot that all threads share. A depot cell holds one batch
// or nothing, and a batch changes hands as a whole, so that no thread ever reads memory that
// another one may own: no locks, no ABA.
#include "address_sanitizer.hpp"

#include <weir/detail/frame_cache.hpp>
#include <weir/detail/frame_cell.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <new>

namespace weir::detail {

namespace {

constexpr bool caching = !address_sanitizer;

constexpr std::size_t class_of(std::size_t size) noexcept {
  return frame_cache::class_of(size);
}

constexpr std::size_t class_size(std::size_t index) noexcept {
  return frame_cache::class_size(index);
}

constexpr std::size_t largest_small = frame_cache::largest_small;

static_assert(class_size(class_of(24)) == 24 && class_size(class_of(25)) == 56);
static_assert(class_size(class_of(largest_small)) == largest_small);
static_assert(class_size(class_of(largest_small + 1)) == 1024);
static_assert(class_size(class_of(frame_cache::largest)) == frame_cache::largest);
static_assert(class_of(frame_cache::largest) + 1 == frame_cache::class_count);

constexpr std::uint32_t batch_of(std::size_t index) noexcept {
  return frame_cache::batch_of(index);
}

/// Which cells of a class hold a batch is told by the bits of one word, so that a thread learns by
/// one load that there is nothing for it. A set bit is the right to empty its cell.
class depot {
 public:
  frame_cache::node* take(std::size_t index) noexcept {
    shelf& at = shelves_[index];
    auto full = at.full.load(std::memory_order_relaxed); // a hint, the next step decides
    while (full != 0) {
      const auto bit = full & (~full + 1);
      // Acquire: pairs with the release in put, so that the cell and the links are seen.
      full = at.full.fetch_and(~bit, std::memory_order_acquire);
      if ((full & bit) != 0) {
        // Release: pairs with the acquire in put, which writes the cell next.
        return at.cells[static_cast<unsigned>(std::countr_zero(bit))].exchange(
            nullptr, std::memory_order_acq_rel);
      }
    }
    return nullptr;
  }

  bool put(std::size_t index, frame_cache::node* batch) noexcept {
    shelf& at = shelves_[index];
    for (auto empty = ~at.full.load(std::memory_order_relaxed) & all_cells; empty != 0;
         empty &= empty - 1) {
      auto& cell = at.cells[static_cast<unsigned>(std::countr_zero(empty))];
      frame_cache::node* none = nullptr;
      // Acquire: pairs with take. Relaxed on failure: nothing was read.
      if (cell.load(std::memory_order_relaxed) == nullptr &&
          cell.compare_exchange_strong(none, batch, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        // Release: pairs with take.
        at.full.fetch_or(empty & (~empty + 1), std::memory_order_release);
        return true;
      }
    }
    return false;
  }

 private:
  static constexpr std::size_t cell_count = 16;
  static constexpr std::uint32_t all_cells = (std::uint32_t{1} << cell_count) - 1;

  struct alignas(sync::line_size) shelf {
    sync::atomic<std::uint32_t> full{0};
    std::array<sync::atomic<frame_cache::node*>, cell_count> cells{};
  };
  std::array<shelf, frame_cache::class_count> shelves_{};
};

// Never destroyed: frames may be freed by threads that outlive static objects.
constinit depot shared_depot;

void free_batch(frame_cache::node* batch) noexcept {
  while (batch != nullptr) {
    auto* next = batch->next;
    ::operator delete(batch);
    batch = next;
  }
}

/// Empties the thread's cache when the thread's own thread-local objects die.
struct cache_guard {
  explicit cache_guard(frame_cache& owned) noexcept : cache(owned) {
    cache.open = true;
    for (std::size_t i = 0; i < cache.lists.size(); ++i)
      cache.lists[i].room = frame_cache::limit_of(i);
  }
  cache_guard(const cache_guard&) = delete;
  cache_guard& operator=(const cache_guard&) = delete;
  ~cache_guard() {
    cache.open = false;
    for (auto& list : cache.lists) {
      free_batch(list.head);
      list = {};
    }
  }
  frame_cache& cache;
};

bool open_cache(frame_cache& cache) noexcept {
  // Once closed by its guard the cache stays closed: the guard is built only once.
  static thread_local const cache_guard guard(cache);
  return cache.open;
}

} // namespace

void* allocate_coroutine_slow(std::size_t size) {
  if (size <= frame_cells::largest_frame) {
    // Tasks made one after the other have the same cell. Far from those of callers and callees, and
    // by no multiple of a page, whose addresses processors take for equal at first.
    constexpr auto further = frame_cells::window / 2 + 5 * frame_cells::granule;
    static_assert(further / frame_cells::granule * frame_cells::stride % 4096 >= 1024);
    if (frame_head* const cell = cell_here(further); take_cell(cell))
      return cell->frame();
  }
  auto* const head = static_cast<frame_head*>(allocate_frame(sizeof(frame_head) + size));
  head->place().store(frame_head::no_cell, std::memory_order_relaxed); // nobody else knows of it
  return head->frame();
}

void deallocate_coroutine_slow(void* frame, std::size_t size) noexcept {
  deallocate_frame(&frame_head::of(frame), sizeof(frame_head) + size);
}

void* allocate_frame_slow(std::size_t size) {
  if (size > frame_cache::largest)
    return ::operator new(size);
  const std::size_t index = class_of(size);
  frame_cache& cache = this_thread().frames;
  if (caching && (cache.open || open_cache(cache))) {
    if (auto* batch = shared_depot.take(index)) {
      cache.lists[index] = {batch->next, frame_cache::limit_of(index) - (batch_of(index) - 1)};
      return batch;
    }
  }
  return ::operator new(class_size(index));
}

void deallocate_frame_slow(void* memory, std::size_t size) noexcept {
  if (size > frame_cache::largest) {
    ::operator delete(memory);
    return;
  }
  frame_cache& cache = this_thread().frames;
  const std::size_t index = class_of(size);
  auto& list = cache.lists[index];
  ++list.room;
  if (!caching || (!cache.open && !open_cache(cache))) {
    ::operator delete(memory);
    return;
  }
  list.head = ::new (memory) frame_cache::node{list.head};
  if (list.room != 0) { // it has just been opened
    --list.room;
    return;
  }
  // The batch is cut from the front, the part that was used last and is still in this CPU's cache:
  // walking to the far end of a long list costs more than it saves.
  const std::uint32_t count = batch_of(index);
  frame_cache::node* batch = list.head;
  frame_cache::node* last = batch;
  for (std::uint32_t i = 1; i < count; ++i)
    last = last->next;
  list.head = last->next;
  list.room = count - 1; // the limit, less what is left: one more than the limit less a batch
  last->next = nullptr;
  if (!shared_depot.put(index, batch))
    free_batch(batch);
}

} // namespace weir::detail
