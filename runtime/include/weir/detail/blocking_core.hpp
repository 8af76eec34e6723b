// SPDX-License-Identifier: MIT
/// \file
/// The part of `blocking_executor` that knows nothing of what is called.
#pragma once

#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir {

/// A moment's picture of a `blocking_executor`.
struct blocking_executor_stats {
  /// Threads that exist, and those of them that wait for a call.
  std::size_t threads = 0;
  std::size_t idle_threads = 0;
  /// Calls that have not started.
  std::size_t waiting = 0;
  /// Threads started so far, and those that the system refused to start.
  std::uint64_t threads_started = 0;
  std::uint64_t thread_start_failures = 0;
};

namespace detail {

class blocking_core;

/// A call that waits for a thread, or runs. Its maker owns it.
class blocking_call {
 public:
  /// Runs the call on a thread of `by`, or drops it unrun if that is null. Called once unless the
  /// call was withdrawn; it may be gone afterwards.
  using run_function = void (*)(blocking_call&, blocking_core* by) noexcept;

  explicit blocking_call(run_function run) noexcept : run_(run) {}
  blocking_call(const blocking_call&) = delete;
  blocking_call& operator=(const blocking_call&) = delete;

 protected:
  ~blocking_call() = default;

 private:
  friend class blocking_core;

  run_function run_;
  // Under the core's mutex.
  blocking_call* next_ = nullptr;
  blocking_call* previous_ = nullptr;
  bool waits_ = false;
  bool bounded_ = false;
};

/// Threads and a queue under one mutex. Shared by the executor, its threads and those who wait.
class blocking_core : public std::enable_shared_from_this<blocking_core> {
 public:
  struct options {
    std::size_t max_threads;
    std::size_t max_queued;
    std::chrono::steady_clock::duration keep_alive;
    std::string thread_name;
  };

  WEIR_API blocking_core(options o, sink_ref sink);
  blocking_core(const blocking_core&) = delete;
  blocking_core& operator=(const blocking_core&) = delete;
  WEIR_API ~blocking_core();

  /// Puts a call behind the others and sees to a thread. `bounded`: it counts for the queue's
  /// bound. Throws `errc::pool_closed`, `errc::queue_full`, `std::bad_alloc`, or
  /// `errc::thread_start_failed` if there is no thread at all; then the call was not taken.
  WEIR_API void submit(blocking_call& call, bool bounded);

  /// Takes a call back. \return false if it has started or was dropped.
  [[nodiscard]] WEIR_API bool withdraw(blocking_call& call) noexcept;

  /// Refuses calls from now on.
  WEIR_API void close();

  /// Closes, drops what waits, and joins the threads; on one of them lets go of all.
  WEIR_API void end() noexcept;

  [[nodiscard]] WEIR_API blocking_executor_stats stats() const;

  [[nodiscard]] error_sink& sink() const noexcept { return *sink_; }

 private:
  // A place for a thread, used again after the thread has left it.
  struct seat {
    blocking_core* core = nullptr;
    std::size_t index = 0;
    std::shared_ptr<blocking_core> keep_core;
    sync::thread thread;
    bool taken = false;
    // 1 ends the idle wait.
    sync::atomic<std::uint32_t> called{0};
  };

  static void* thread_main(void* seat) noexcept;
  void work(seat& self) noexcept;
  /// \return false if the keep-alive has passed.
  bool wait_idle(seat& self) const noexcept;
  // With the mutex held.
  void append(blocking_call& call) noexcept;
  void unlink(blocking_call& call) noexcept;
  void wake_idle() noexcept;
  [[nodiscard]] int start_thread(sync::thread& left);
  [[nodiscard]] bool full() const noexcept;

  const options options_;
  [[nodiscard]] bool forked() const noexcept;
  void shut() noexcept;

  const sink_ref sink_;
  const int process_ = sync::process_id();
  mutable sync::mutex mutex_;
  bool closed_ = false;
  bool detached_ = false;
  std::vector<std::unique_ptr<seat>> seats_;
  std::vector<seat*> idle_; // the newest last
  std::size_t running_ = 0;
  // Threads that were started or woken and have not looked at the queue since.
  std::size_t coming_ = 0;
  blocking_call* first_ = nullptr;
  blocking_call* last_ = nullptr;
  std::size_t waiting_ = 0;
  std::size_t bounded_waiting_ = 0;
  std::uint64_t threads_started_ = 0;
  std::uint64_t start_failures_ = 0;
};

} // namespace detail

} // namespace weir
