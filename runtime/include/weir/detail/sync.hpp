// SPDX-License-Identifier: MIT
/// \file
/// The one seam between weir and the machine: atomics, futexes, mutexes, thread start, clock reads.
///
/// Runtime and pools use nothing of these directly, so that the same sources can be run under a
/// model checker that replaces this file. In a normal build the names are aliases and cost nothing.
#pragma once

#include <weir/version.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>

#include <pthread.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_DETAIL_TSAN 1
extern "C" void __tsan_acquire(void* address); // NOLINT: the sanitizer's name
extern "C" void __tsan_release(void* address); // NOLINT
#endif
#endif

namespace weir::detail {
class stack_block;
}

namespace weir::detail::sync {

/// Tell ThreadSanitizer of an order that it cannot see: what came before `released` of an address
/// happens before what comes after `acquired` of it. Nothing in other builds.
inline void tell_tsan_acquired([[maybe_unused]] void* address) noexcept {
#if defined(WEIR_DETAIL_TSAN)
  __tsan_acquire(address);
#endif
}
inline void tell_tsan_released([[maybe_unused]] void* address) noexcept {
#if defined(WEIR_DETAIL_TSAN)
  __tsan_release(address);
#endif
}

/// Distance that keeps two variables off the same cache line, and off neighbouring lines that
/// x86-64 fetches in pairs.
inline constexpr std::size_t line_size = 128;

template <class T>
using atomic = std::atomic<T>;
template <class T>
using atomic_ref = std::atomic_ref<T>;

/// For what is held for a few instructions. Who finds it taken stays awake for some microseconds
/// before it sleeps: to sleep and be woken costs hundreds of times what it is held for.
class mutex {
 public:
  constexpr mutex() noexcept {}
  void lock() {
    if (!mutex_.try_lock()) [[unlikely]]
      lock_taken();
  }
  [[nodiscard]] bool try_lock() { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  WEIR_API void lock_taken();

  std::mutex mutex_;
};

using time_point = std::chrono::steady_clock::time_point;

/// The steady clock. One vDSO call.
[[nodiscard]] inline time_point now() noexcept {
  return std::chrono::steady_clock::now();
}

/// `timeout` as a duration of the steady clock, cut to about 30 years so that adding it to now()
/// cannot overflow.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::steady_clock::duration
clamped(std::chrono::duration<Rep, Period> timeout) noexcept {
  constexpr std::chrono::hours longest{24 * 365 * 30};
  using seconds = std::chrono::duration<double>;
  const double wanted = std::chrono::duration_cast<seconds>(timeout).count();
  if (wanted >= seconds(longest).count())
    return longest;
  if (wanted <= 0)
    return {};
  return std::chrono::ceil<std::chrono::steady_clock::duration>(timeout);
}

/// What a counter of the CPU says that runs at a steady rate, the same for all threads, or nearly:
/// for an order in time, not for durations. Some nanoseconds.
[[nodiscard]] inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  std::uint64_t count = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(count)::"memory");
  return count << 6; // 25 MHz on many: what happens between two of them has room for its order
#else
  return static_cast<std::uint64_t>(now().time_since_epoch().count());
#endif
}

/// So many are about half a microsecond or one.
[[nodiscard]] inline std::uint64_t ticks_in_a_moment() noexcept {
#if defined(__x86_64__)
  return 2048; // of 2 to 4 GHz
#elif defined(__aarch64__)
  std::uint64_t frequency = 0;
  asm("mrs %0, cntfrq_el0" : "=r"(frequency)); // in Hz: from 1 MHz to 1 GHz
  return (frequency << 6) >> 20;
#else
  return 1000;
#endif
}

/// Some milliseconds: no clocks of one machine differ by so much, unless one is broken.
[[nodiscard]] inline std::uint64_t ticks_of_skew() noexcept {
  return ticks_in_a_moment() << 13;
}

/// Whether so many ticks have passed since `begin`, which may be the clock of another CPU that is a
/// little ahead.
[[nodiscard]] inline bool have_passed(std::uint64_t begin, std::uint64_t count) noexcept {
  return ticks() - begin + ticks_of_skew() >= count + ticks_of_skew();
}

/// Tells the CPU that something will be stored there, so that it has fetched the line by then. The
/// address need not be that of an object.
inline void prefetch_for_write(std::uintptr_t at) noexcept {
#if defined(__x86_64__)
  // The builtin would fetch it for reading only, since the first of these CPUs knew no other way;
  // to them this one is a no-op.
  asm volatile("prefetchw (%0)" ::"r"(at));
#else
  __builtin_prefetch(reinterpret_cast<const void*>(at), 1);
#endif
}

/// Tells the CPU that this is a spin loop.
inline void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

inline void relax(int times) noexcept {
  for (int i = 0; i < times; ++i)
    relax();
}

/// Spins until `count` ticks have passed since `begin`, at most a thousand pauses: some emulators'
/// counters stand still.
inline void relax_until(std::uint64_t begin, std::uint64_t count) noexcept {
  for (int i = 0; i < 1000 && ticks() - begin < count; ++i)
    relax();
}

/// Lets another thread of this CPU run. One system call.
WEIR_API void yield_thread() noexcept;

/// Sleeps while `word` holds `expected`. May return early: callers look again.
WEIR_API void futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected) noexcept;

/// As `futex_wait`, at the latest until `deadline`.
/// \return false if the deadline has passed.
WEIR_API bool futex_wait_until(const atomic<std::uint32_t>& word, std::uint32_t expected,
                               time_point deadline) noexcept;

/// Wakes one sleeper of `word`. Never reads through the reference, so that the word may already be
/// gone; a stranger that sleeps on a reused address wakes early, which every futex user must bear.
WEIR_API void futex_wake_one(const atomic<std::uint32_t>& word) noexcept;
WEIR_API void futex_wake_all(const atomic<std::uint32_t>& word) noexcept;

/// In bytes.
[[nodiscard]] WEIR_API std::size_t page_size() noexcept;

/// An object on a page of its own, which the kernel fills with zeros in a child process that is
/// forked (`MADV_WIPEONFORK`, Linux 4.14; before that the child sees a copy). So a child finds out
/// that it is one by a value other than 0 that has become 0, without a system call.
class WEIR_API wiped_page {
 public:
  /// Throws `std::bad_alloc`. Two system calls.
  wiped_page();
  wiped_page(const wiped_page&) = delete;
  wiped_page& operator=(const wiped_page&) = delete;
  ~wiped_page();
  [[nodiscard]] void* get() const noexcept { return page_; }

 private:
  void* page_;
};

/// An operating-system thread that must be joined or detached before the handle goes.
class thread {
 public:
  thread() noexcept {}

  /// Starts `entry(argument)`.
  /// \param stack_size in bytes; 0 takes the system's default.
  /// \return 0, or the error number of `pthread_create`; then `*this` stays empty.
  [[nodiscard]] WEIR_API int start(void* (*entry)(void*), void* argument,
                                   std::size_t stack_size) noexcept;
  /// The same with cells for coroutine frames (frame_cell.hpp), if there is memory for them.
  [[nodiscard]] WEIR_API int start_with_cells(void* (*entry)(void*), void* argument,
                                              std::size_t stack_size) noexcept;
  WEIR_API void join() noexcept;
  WEIR_API void detach() noexcept;
  [[nodiscard]] bool joinable() const noexcept { return joinable_; }
  /// Whether the calling thread is this one.
  [[nodiscard]] WEIR_API bool is_this_thread() const noexcept;

 private:
  template <class SetStack>
  int create(void* (*entry)(void*), void* argument, SetStack set_stack) noexcept;

  pthread_t id_{};
  bool joinable_ = false;
  stack_block* block_ = nullptr; // of one with cells
};

/// The number of this process. One system call in its life: it is kept on a page that forked
/// children find empty.
[[nodiscard]] WEIR_API int process_id() noexcept;

/// Names the calling thread for debuggers and `top`; the kernel keeps the first 15 characters.
/// The name is "<prefix>-<index>".
WEIR_API void name_this_thread(std::string_view prefix, std::size_t index) noexcept;

/// Lowest address of the calling thread's stack, or 0 if the system does not tell.
WEIR_API std::uintptr_t stack_bottom() noexcept;

} // namespace weir::detail::sync
