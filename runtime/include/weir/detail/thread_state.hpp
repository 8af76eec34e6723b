// SPDX-License-Identifier: MIT
/// \file
/// What weir keeps for each thread: which worker it is, the coroutine call chain, the frame cache.
#pragma once

#include <weir/detail/frame_cache.hpp>
#include <weir/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace weir::detail {

class worker;
class task_scope;
class scheduler;
struct accepted_job;
struct context_node;
struct job;

/// Adds one to a counter that only the calling thread writes. Relaxed: readers sum such counters
/// and take them for what they are, a moment's estimate.
inline void bump(sync::atomic<std::uint64_t>& counter, std::uint64_t by = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

/// One for each thread that ever touched weir. Plain fields: only the owning thread uses them.
struct thread_state {
  /// The worker that this thread is, or null.
  worker* self = nullptr;
  /// The runtime of `self`, or null.
  scheduler* home = nullptr;
  /// What the task runs under whose code runs now, or null. Set by whoever resumes a coroutine or
  /// starts a callable.
  task_scope* current = nullptr;
  /// The same while a stolen fork of a function runs: it may be asked whether it was stopped, but
  /// belongs to another thread. `current` is null then.
  task_scope* fork_scope = nullptr;
  /// The request context outside of tasks; not owned.
  context_node* ambient = nullptr;
  /// The promise whose caller sits directly above it on this native stack (docs/scheduler.md, T1).
  const void* call_top = nullptr;
  /// The job to run as soon as the current one has unwound to the worker's loop (T2).
  job* chain = nullptr;
  /// How many jobs may still be chained before the worker must look at its queues.
  std::uint32_t chain_budget = 0;
  /// Set while the runtime stops: jobs that have not started are dropped instead of run.
  bool discarding = false;
  /// How many times coroutines may still fork before this job must unwind if others wait
  /// (docs/fork-join.md). 0 outside of jobs.
  std::uint32_t fork_budget = 0;
  /// Set while this outside thread drops tasks of a closed runtime; then those still to drop.
  bool dropping = false;
  accepted_job* first_dropped = nullptr;
  accepted_job* last_dropped = nullptr;
  /// Coroutines nest natively down to this address. The largest value means: not known yet.
  std::uintptr_t stack_limit = UINTPTR_MAX;
  /// Lowest address of the native stack, 0 if the system does not tell. Known with `stack_limit`.
  std::uintptr_t stack_bottom = 0;
  /// Root tasks that ended on this thread; null on threads that are no workers.
  sync::atomic<std::uint64_t>* ended = nullptr;
  /// The injector entrance that this thread used last, and the injector's number.
  void* producer = nullptr;
  std::uint64_t producer_id = 0;
  /// Set when the thread was a worker and has left: it must not wait for other such threads.
  bool retired = false;
  /// Set when the thread's leases have been given back: the thread is ending.
  bool leases_closed = false;
  /// See `number_of`; 0: it has none yet.
  std::uint32_t number = 0;
  // Of queues in which tasks of pools wait, here because this needs no call in a shared library.
  /// Whether the thread has pushed since it found a queue of kind `fifo` empty.
  bool has_pushed = false;
  /// Time of its last push into one of another kind.
  std::uint64_t last_pushed = 0;
  frame_cache frames;
  /// The end of the native stack less `frame_cells::reach`; 1 if there are no cells above it.
  std::uintptr_t cells = 1;

  /// Counts the end of a root task.
  void count_ended() noexcept {
    // Release: pairs with the acquire in worker::ended, so that who sees this task as ended also
    // sees it, and the tasks it submitted, as accepted (S3).
    if (ended != nullptr)
      ended->store(ended->load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
};

#if defined(__x86_64__)

/// Named for the assembler.
[[gnu::tls_model("initial-exec")]] extern WEIR_API constinit thread_local thread_state
    this_thread_state asm("weir_detail_this_thread_state");

/// The calling thread's state. By hand: a coroutine may go on on another thread, and compilers keep
/// the addresses of thread-local variables across suspension points. They must not keep what a
/// volatile statement gives.
[[nodiscard, gnu::always_inline]] inline thread_state& this_thread() noexcept {
  thread_state* state;
  asm volatile("movq %%fs:0, %0\n\taddq weir_detail_this_thread_state@gottpoff(%%rip), %0"
               : "=r"(state)
               :
               : "cc");
  return *state;
}

#else

/// The calling thread's state. Not inlined and never `const`-attributed: a coroutine may go on on
/// another thread, and compilers keep thread-local addresses across suspension points otherwise.
[[nodiscard]] WEIR_API thread_state& this_thread() noexcept;

#endif

/// Whether the native stack has reached `limit`. By hand where it can be: compilers keep a frame
/// pointer in all of a function that asks for its frame's address.
[[nodiscard, gnu::always_inline]] inline bool stack_is_below(const std::uintptr_t& limit) noexcept {
#if defined(__x86_64__)
  bool below;
  asm("cmpq %%rsp, %1" : "=@cca"(below) : "m"(limit));
  return below;
#else
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < limit;
#endif
}

/// Gives the calling thread its number.
WEIR_API std::uint32_t learn_number(thread_state& thread) noexcept;

/// A number from 1 on that few other threads have which live now, mostly none: those of threads
/// that have ended are given again, the smallest first.
[[nodiscard]] inline std::uint32_t number_of(thread_state& thread) noexcept {
  return thread.number != 0 ? thread.number : learn_number(thread);
}

/// Finds out `stack_limit` for the calling thread.
WEIR_API void learn_stack_limit(thread_state& thread) noexcept;

void* allocate_frame(std::size_t size) {
  if (size > frame_cache::largest)
    return allocate_frame_slow(size);
  auto& list = this_thread().frames.lists[frame_cache::class_of(size)];
  frame_cache::node* const taken = list.head;
  if (taken == nullptr) [[unlikely]]
    return allocate_frame_slow(size);
  list.head = taken->next;
  ++list.room;
  return taken;
}

void deallocate_frame(void* memory, std::size_t size) noexcept {
  if (size > frame_cache::largest) {
    deallocate_frame_slow(memory, size);
    return;
  }
  auto& list = this_thread().frames.lists[frame_cache::class_of(size)];
  if (--list.room >= frame_cache::no_room) [[unlikely]] {
    deallocate_frame_slow(memory, size);
    return;
  }
  list.head = ::new (memory) frame_cache::node{list.head};
}

} // namespace weir::detail
