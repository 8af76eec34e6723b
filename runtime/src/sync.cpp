// SPDX-License-Identifier: MIT
// The parts of the seam that need system headers.
#include "stack_block.hpp"

#include <weir/detail/sync.hpp>

#include <cerrno>
#include <charconv>
#include <climits>
#include <ctime>
#include <new>
#include <utility>

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::detail::sync {

namespace {

// An atomic of 32 bits has the size and layout of the plain word that the kernel compares.
static_assert(sizeof(atomic<std::uint32_t>) == sizeof(std::uint32_t));

long futex(const atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept {
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr,
                 FUTEX_BITSET_MATCH_ANY);
}

} // namespace

void mutex::lock_taken() {
  // Long, so that who has it can come back to it several times: each change of hands moves its
  // line, and those that it guards, to another CPU.
  constexpr int turns = 256;
  for (int tries = 0; tries < 2; ++tries) {
    relax(turns);
    if (mutex_.try_lock())
      return;
  }
  mutex_.lock();
}

void yield_thread() noexcept {
  sched_yield();
}

void futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
  futex(word, FUTEX_WAIT, expected, nullptr);
}

bool futex_wait_until(const atomic<std::uint32_t>& word, std::uint32_t expected,
                      time_point deadline) noexcept {
  // FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC, which is what steady_clock reads.
  const auto since = deadline.time_since_epoch();
  if (since.count() <= 0)
    return false;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  timespec at{};
  at.tv_sec = static_cast<time_t>(seconds.count());
  at.tv_nsec = static_cast<long>(std::chrono::nanoseconds(since - seconds).count());
  return futex(word, FUTEX_WAIT_BITSET, expected, &at) == 0 || errno != ETIMEDOUT;
}

void futex_wake_one(const atomic<std::uint32_t>& word) noexcept {
  futex(word, FUTEX_WAKE, 1, nullptr);
}

void futex_wake_all(const atomic<std::uint32_t>& word) noexcept {
  futex(word, FUTEX_WAKE, INT_MAX, nullptr);
}

std::size_t page_size() noexcept {
  return static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

wiped_page::wiped_page()
    : page_(
          mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  if (page_ == MAP_FAILED)
    throw std::bad_alloc();
  (void)madvise(page_, page_size(), MADV_WIPEONFORK);
}

wiped_page::~wiped_page() {
  munmap(page_, page_size());
}

template <class SetStack>
int thread::create(void* (*entry)(void*), void* argument, SetStack set_stack) noexcept {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error != 0)
    return error;
  error = set_stack(attributes);
  if (error == 0)
    error = pthread_create(&id_, &attributes, entry, argument);
  pthread_attr_destroy(&attributes);
  joinable_ = error == 0;
  return error;
}

int thread::start(void* (*entry)(void*), void* argument, std::size_t stack_size) noexcept {
  return create(entry, argument, [stack_size](pthread_attr_t& attributes) {
    return stack_size != 0 ? pthread_attr_setstacksize(&attributes, stack_size) : 0;
  });
}

int thread::start_with_cells(void* (*entry)(void*), void* argument,
                             std::size_t stack_size) noexcept {
  block_ = stack_block::take(stack_size);
  if (block_ == nullptr)
    return start(entry, argument, stack_size);
  block_->set_entry(entry, argument);
  const int error = create(&stack_block::run, block_, [this](pthread_attr_t& attributes) {
    return pthread_attr_setstack(&attributes, block_->stack(), block_->stack_size());
  });
  if (error != 0)
    stack_block::give_back(*std::exchange(block_, nullptr));
  return error;
}

void thread::join() noexcept {
  pthread_join(id_, nullptr);
  joinable_ = false;
  if (block_ != nullptr)
    stack_block::give_back(*std::exchange(block_, nullptr));
}

void thread::detach() noexcept {
  pthread_detach(id_);
  joinable_ = false;
  if (block_ != nullptr)
    stack_block::give_up(*std::exchange(block_, nullptr));
}

bool thread::is_this_thread() const noexcept {
  return joinable_ && pthread_equal(id_, pthread_self()) != 0;
}

int process_id() noexcept {
  static_assert(sizeof(pid_t) == sizeof(int));
  // Never freed: handles may outlive static objects.
  static const wiped_page* const page = []() noexcept -> const wiped_page* {
    try {
      return new wiped_page;
    } catch (...) {
      return nullptr; // no memory for a page: ask each time
    }
  }();
  if (page == nullptr)
    return getpid();
  // The page begins as zeros, which is what an atomic of 0 looks like.
  auto* const kept = static_cast<atomic<int>*>(page->get());
  // Relaxed: every thread of the process writes the same.
  int id = kept->load(std::memory_order_relaxed);
  if (id == 0) {
    id = getpid();
    kept->store(id, std::memory_order_relaxed);
  }
  return id;
}

void name_this_thread(std::string_view prefix, std::size_t index) noexcept {
  char name[48] = {};
  const auto length = prefix.copy(name, 16);
  name[length] = '-';
  std::to_chars(name + length + 1, name + sizeof name - 1, index);
  name[15] = '\0';
  pthread_setname_np(pthread_self(), name);
}

std::uintptr_t stack_bottom() noexcept {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0)
    return 0;
  void* address = nullptr;
  std::size_t size = 0;
  const int error = pthread_attr_getstack(&attributes, &address, &size);
  pthread_attr_destroy(&attributes);
  return error == 0 ? reinterpret_cast<std::uintptr_t>(address) : 0;
}

} // namespace weir::detail::sync
