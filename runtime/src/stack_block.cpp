// SPDX-License-Identifier: MIT
#include "stack_block.hpp"

#include <weir/detail/frame_cell.hpp>

#include <cerrno>
#include <cstdint>
#include <mutex>
#include <new>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// If the program brings LeakSanitizer, it must know that frames may own memory.
// NOLINTNEXTLINE: the sanitizer's name
extern "C" [[gnu::weak]] void __lsan_register_root_region(const void* begin, std::size_t size);

namespace weir::detail {

namespace {

/// More is refused by every system; sums stay far from the end of the address space.
constexpr std::size_t largest_stack = std::size_t{1} << 46;

/// Bytes of a stack that is not in use.
constexpr std::size_t kept = std::size_t{64} << 10;

std::size_t default_stack_size() noexcept {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0)
    return 0;
  std::size_t size = 0;
  if (pthread_attr_getstacksize(&attributes, &size) != 0)
    size = 0;
  pthread_attr_destroy(&attributes);
  return size;
}

constexpr std::uintptr_t round_up(std::uintptr_t value, std::uintptr_t to) noexcept {
  return (value + to - 1) / to * to;
}

} // namespace

struct stack_block::list {
  explicit list(int of) noexcept : process_id(of) {}
  const int process_id;
  std::mutex mutex;
  stack_block* first = nullptr;
};

stack_block* stack_block::map(std::size_t stack_size) noexcept {
  // From below: a page that nobody may touch, the stack, the cells, and this object.
  constexpr std::size_t cells = frame_cells::first + frame_cells::size;
  static_assert(cells % alignof(stack_block) == 0);
  const std::size_t page = sync::page_size();
  const std::size_t wanted = page + stack_size + round_up(cells + sizeof(stack_block), page);
  // Not reserved: little of it is ever used.
  void* const mapped = mmap(nullptr, wanted + frame_cells::reach, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  // The stack ends at a multiple of `reach`; what is too much goes back.
  auto* const low = static_cast<std::byte*>(mapped);
  const auto first_end = reinterpret_cast<std::uintptr_t>(low) + page + stack_size;
  const std::size_t before = round_up(first_end, frame_cells::reach) - first_end;
  std::byte* const guard = low + before;
  if (before != 0)
    (void)munmap(low, before);
  (void)munmap(guard + wanted, frame_cells::reach - before);
  // Large pages would cost megabytes.
  (void)madvise(guard, wanted, MADV_NOHUGEPAGE);
  if (mprotect(guard, page, PROT_NONE) != 0) {
    (void)munmap(guard, wanted);
    return nullptr;
  }
  std::byte* const end = guard + page + stack_size;
  if (__lsan_register_root_region != nullptr)
    __lsan_register_root_region(end, cells);
  return ::new (end + cells) stack_block(guard + page, stack_size);
}

stack_block::list* stack_block::left_blocks() noexcept {
  // Never destroyed. A forked child has one of its own: the mutex of its parent's may be locked by
  // a thread that is not there, and who has forked may run on a stack in its list.
  constinit static sync::atomic<list*> current{nullptr};
  // Acquire, here and below: pairs with the release below.
  list* seen = current.load(std::memory_order_acquire);
  const int process = sync::process_id();
  while (seen == nullptr || seen->process_id != process) {
    auto* const made = new (std::nothrow) list(process);
    if (made == nullptr)
      return nullptr;
    if (current.compare_exchange_strong(seen, made, std::memory_order_acq_rel,
                                        std::memory_order_acquire))
      return made;
    delete made;
  }
  return seen;
}

bool stack_block::is_free() const noexcept {
  // Acquire: pairs with the release in run().
  const int id = thread_id_.load(std::memory_order_acquire);
  if (id == joined)
    return true;
  return id != starting && syscall(SYS_tgkill, getpid(), id, 0) != 0 && errno == ESRCH;
}

stack_block* stack_block::take(std::size_t stack_size) noexcept {
  const std::size_t wanted = stack_size != 0 ? stack_size : default_stack_size();
  if (!has_cells || wanted == 0 || wanted > largest_stack)
    return nullptr;
  // Coarsely, so that there are few different ones; and sanitizers want more than the smallest.
  const std::size_t size = round_up(wanted, frame_cells::reach);
  if (list* const left = left_blocks()) {
    const std::scoped_lock lock(left->mutex);
    for (stack_block** at = &left->first; *at != nullptr; at = &(*at)->next_) {
      stack_block* const found = *at;
      if (found->stack_size_ == size && found->is_free()) {
        *at = found->next_;
        found->thread_id_.store(starting, std::memory_order_relaxed); // the mutex orders it
        return found;
      }
    }
  }
  return map(size);
}

void stack_block::put(stack_block& block) noexcept {
  if (list* const left = left_blocks()) {
    const std::scoped_lock lock(left->mutex);
    block.next_ = left->first;
    left->first = &block;
  }
}

void stack_block::give_back(stack_block& left) noexcept {
  left.thread_id_.store(joined, std::memory_order_relaxed); // the mutex orders it
  // What has been used of the stack is of no use to anybody, but the next thread will use the top
  // again: pages given back cost it faults.
  static_assert(kept < frame_cells::reach);
  (void)madvise(left.stack_, left.stack_size_ - kept, MADV_DONTNEED);
  put(left);
}

void stack_block::give_up(stack_block& running) noexcept {
  put(running);
}

void* stack_block::run(void* block) noexcept {
  auto& self = *static_cast<stack_block*>(block);
  const auto entry = self.entry_;
  void* const argument = self.argument_;
  this_thread().cells =
      reinterpret_cast<std::uintptr_t>(self.stack_) + self.stack_size_ - frame_cells::reach;
  // Release: pairs with the acquire in is_free, whose caller writes the rest anew.
  self.thread_id_.store(static_cast<int>(syscall(SYS_gettid)), std::memory_order_release);
  return entry(argument);
}

} // namespace weir::detail
