// SPDX-License-Identifier: MIT
// Frames wander: allocated by one thread, freed by another. Each thread keeps a free list per size
// class and trades whole batches with a depot that all threads share. A depot cell holds one batch
// or nothing, and a batch changes hands by a single exchange, so that no thread ever reads memory
// that another one may own: no locks, no ABA.
#include <weir/detail/frame_cache.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <algorithm>
#include <new>

namespace weir::detail {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool caching = false; // so that a use after free is seen
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool caching = false;
#else
constexpr bool caching = true;
#endif
#else
constexpr bool caching = true;
#endif

/// Small classes are 32 bytes apart and leave the allocator the word that it keeps before each
/// block, so that none of them spills into the next of its own classes.
constexpr std::size_t small_classes = 16;
constexpr std::size_t largest_small = 32 * small_classes - sizeof(void*);

constexpr std::size_t class_of(std::size_t size) noexcept {
  if (size <= largest_small)
    return size <= 24 ? 0 : (size - 25) / 32 + 1;
  return size <= 1024 ? small_classes : size <= 2048 ? small_classes + 1 : small_classes + 2;
}

constexpr std::size_t class_size(std::size_t index) noexcept {
  return index < small_classes ? 32 * (index + 1) - sizeof(void*)
                               : std::size_t{1024} << (index - small_classes);
}

static_assert(class_size(class_of(24)) == 24 && class_size(class_of(25)) == 56);
static_assert(class_size(class_of(largest_small)) == largest_small);
static_assert(class_size(class_of(largest_small + 1)) == 1024);
static_assert(class_size(class_of(frame_cache::largest)) == frame_cache::largest);
static_assert(class_of(frame_cache::largest) + 1 == frame_cache::class_count);

/// Frames in a batch: 8 KiB worth, but neither too few to be worth a trade nor too many to hoard.
constexpr std::uint32_t batch_of(std::size_t index) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(8192 / class_size(index), 4, 32));
}

class depot {
 public:
  frame_cache::node* take(std::size_t index) noexcept {
    for (auto& cell : cells_[index]) {
      // Relaxed: a hint, the exchange decides.
      if (cell.load(std::memory_order_relaxed) == nullptr)
        continue;
      // Acquire: pairs with the release in put, so that the links inside the batch are seen.
      if (auto* batch = cell.exchange(nullptr, std::memory_order_acquire))
        return batch;
    }
    return nullptr;
  }

  bool put(std::size_t index, frame_cache::node* batch) noexcept {
    for (auto& cell : cells_[index]) {
      frame_cache::node* empty = nullptr;
      // Release: pairs with the acquire in take. Relaxed on failure: nothing was read.
      if (cell.load(std::memory_order_relaxed) == nullptr &&
          cell.compare_exchange_strong(empty, batch, std::memory_order_release,
                                       std::memory_order_relaxed))
        return true;
    }
    return false;
  }

 private:
  std::array<std::array<sync::atomic<frame_cache::node*>, 16>, frame_cache::class_count> cells_{};
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
  explicit cache_guard(frame_cache& owned) noexcept : cache(owned) { cache.open = true; }
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

[[gnu::noinline]] void* refill(frame_cache& cache, std::size_t index) {
  if (caching && open_cache(cache)) {
    if (auto* batch = shared_depot.take(index)) {
      cache.lists[index] = {batch->next, batch_of(index) - 1};
      return batch;
    }
  }
  return ::operator new(class_size(index));
}

[[gnu::noinline]] void spill(frame_cache::free_list& list, std::size_t index) noexcept {
  // The batch is cut from the front, the part that was used last and is still in this CPU's cache:
  // walking to the far end of a long list costs more than it saves.
  const std::uint32_t count = batch_of(index);
  frame_cache::node* batch = list.head;
  frame_cache::node* last = batch;
  for (std::uint32_t i = 1; i < count; ++i)
    last = last->next;
  list.head = last->next;
  list.count -= count;
  last->next = nullptr;
  if (!shared_depot.put(index, batch))
    free_batch(batch);
}

} // namespace

void* allocate_frame(std::size_t size) {
  if (size > frame_cache::largest)
    return ::operator new(size);
  const std::size_t index = class_of(size);
  frame_cache& cache = this_thread().frames;
  auto& list = cache.lists[index];
  if (list.head == nullptr)
    return refill(cache, index);
  auto* taken = list.head;
  list.head = taken->next;
  --list.count;
  return taken;
}

void deallocate_frame(void* memory, std::size_t size) noexcept {
  frame_cache& cache = this_thread().frames;
  if (!caching || size > frame_cache::largest || (!cache.open && !open_cache(cache))) {
    ::operator delete(memory);
    return;
  }
  const std::size_t index = class_of(size);
  auto& list = cache.lists[index];
  list.head = ::new (memory) frame_cache::node{list.head};
  if (++list.count >= 2 * batch_of(index))
    spill(list, index);
}

} // namespace weir::detail
