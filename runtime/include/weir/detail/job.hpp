// SPDX-License-Identifier: MIT
/// \file
/// What a worker runs: a job, and a packet, which is a job that carries a small callable in place.
#pragma once

#include <weir/detail/thread_state.hpp>

#include <cstddef>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// Anything that a worker can run once. Intrusive: a task's control block, a coroutine's promise
/// and a packet are jobs, so that queues hold plain pointers.
struct job {
  /// Runs the job, or drops it if `thread_state::discarding` is set and it has not started yet.
  /// The job may be gone when this returns.
  using run_function = void (*)(job&, thread_state&) noexcept;

  explicit job(run_function function) noexcept : run(function) {}
  /// To be filled later.
  job() noexcept {}

  run_function run;
};

/// A job that a pool or strand has accepted, with a link for whoever holds several: a pool's queue,
/// then the runtime's list of tasks that wait, or a thread that has to drop them.
struct accepted_job : job {
  using job::job;
  union {
    accepted_job* next_job = nullptr;
    void* next_item; // of husks that were taken out of a pool's queue
    int weight;      // of what waits in one
  };
};

/// Hands an exception that nobody waits for to the runtime of the calling worker.
WEIR_API void report_unhandled(thread_state& thread, std::exception_ptr error) noexcept;

/// Calls `f` on a worker and routes what it throws. A task that ends by `task_cancelled` has been
/// stopped as asked, which is no error.
template <class F>
void invoke_unawaited(F& f, thread_state& thread) noexcept {
  try {
    std::invoke(std::move(f));
  } catch (...) {
    report_unhandled(thread, std::current_exception());
  }
}

/// First part of what moodycamel's queue keeps in its slots. A slot is built anew after its last
/// packet was moved out; the queue orders that by a fence, which ThreadSanitizer does not model.
struct queue_slot {
  queue_slot() noexcept { sync::tell_tsan_acquired(this); }

  /// For who fills it: the thread will fill the next slots, which follow in memory for the most
  /// part, and who emptied them has their lines.
  void prefetch_later_slot() const noexcept {
    sync::prefetch_for_write(reinterpret_cast<std::uintptr_t>(this) + sync::line_size);
  }
};

/// A job of one cache line with room for a small callable: what enters through the injector.
/// Moves like a value through the queue; whoever takes it out runs it exactly once, in place.
struct alignas(16) packet : queue_slot, job {
  static constexpr std::size_t capacity = 48;

  /// Moves the callable of `from` to `to`, or destroys it if `to` is null.
  /// A null function stands for "copy the bytes, destroy nothing".
  using relocate_function = void (*)(packet& from, packet* to) noexcept;

  template <class F>
  static constexpr bool fits =
      sizeof(F) <= capacity && alignof(F) <= 16 && std::is_nothrow_move_constructible_v<F>;

  packet() noexcept {}

  /// Carries `f`, which must fit.
  template <class F>
  packet(std::in_place_t, F&& f) noexcept(std::is_nothrow_constructible_v<std::decay_t<F>, F>)
      : job(&run_callable<std::decay_t<F>>) {
    using stored = std::decay_t<F>;
    static_assert(fits<stored>);
    if constexpr (std::is_trivially_copyable_v<stored>)
      relocate = nullptr;
    else
      relocate = &relocate_callable<stored>;
    ::new (static_cast<void*>(storage)) stored(std::forward<F>(f));
  }

  /// Stands for a job that lives elsewhere.
  explicit packet(job& target) noexcept : job(&run_target), relocate(nullptr) {
    ::new (static_cast<void*>(storage)) job*(&target);
  }

  packet(packet&& other) noexcept : queue_slot(), job(other.run) {
    prefetch_later_slot();
    take(other);
  }
  packet& operator=(packet&& other) noexcept {
    run = other.run;
    take(other);
    sync::tell_tsan_released(&other);
    return *this;
  }
  // The callable is destroyed by running, relocating or dropping it, never by the packet's end.
  ~packet() = default;

  /// Destroys the callable unrun.
  void drop() noexcept {
    if (relocate != nullptr)
      relocate(*this, nullptr);
  }

  /// The job that `j` stands for; `j` itself if it is none of those that stand for others, or was
  /// made in another shared library.
  [[nodiscard]] static const job& target_of(const job& j) noexcept {
    return j.run == &run_target ? **std::launder(reinterpret_cast<job* const*>(
                                      static_cast<const packet&>(j).storage))
                                : j;
  }

  relocate_function relocate;
  alignas(16) std::byte storage[capacity];

 private:
  void take(packet& other) noexcept {
    relocate = other.relocate;
    if (relocate != nullptr)
      relocate(other, this);
    else
      std::memcpy(storage, other.storage, capacity);
  }

  template <class F>
  F& callable() noexcept {
    return *std::launder(reinterpret_cast<F*>(storage));
  }

  template <class F>
  static void run_callable(job& self, thread_state& thread) noexcept {
    F& f = static_cast<packet&>(self).callable<F>();
    if (!thread.discarding)
      invoke_unawaited(f, thread);
    std::destroy_at(&f);
    thread.count_ended();
  }

  template <class F>
  static void relocate_callable(packet& from, packet* to) noexcept {
    F& f = from.callable<F>();
    if (to != nullptr)
      ::new (static_cast<void*>(to->storage)) F(std::move(f));
    std::destroy_at(&f);
  }

  static void run_target(job& self, thread_state& thread) noexcept {
    job& target = *static_cast<packet&>(self).callable<job*>();
    target.run(target, thread);
  }
};

static_assert(sizeof(packet) == 64);

/// A posted callable on the heap of frames: too large for a packet, or posted by a worker.
template <class F>
struct posted_job final : job {
  static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned callables are not supported: capture a std::unique_ptr");

  template <class G>
    requires(!std::is_same_v<std::remove_cvref_t<G>, posted_job>)
  explicit posted_job(G&& g) : job(&run_posted), f(std::forward<G>(g)) {}

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

  static void run_posted(job& self, thread_state& thread) noexcept {
    std::unique_ptr<posted_job> owned(static_cast<posted_job*>(&self));
    if (!thread.discarding)
      invoke_unawaited(owned->f, thread);
    owned.reset();
    thread.count_ended();
  }

  F f;
};

} // namespace weir::detail
