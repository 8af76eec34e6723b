// SPDX-License-Identifier: MIT
/// \file
/// `fixed_pool`: at most `size` tasks at a time, the others wait in order.
#pragma once

#include <weir/pool/close.hpp>
#include <weir/pool/detail/queued_pool.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/pool_executor.hpp>
#include <weir/pool/queues.hpp>
#include <weir/runtime.hpp>
#include <weir/shield.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace weir {

/// How to set up a `fixed_pool`.
struct fixed_pool_options {
  /// Tasks in flight at the most, 1 to 2^32 - 1. A suspended coroutine counts.
  std::size_t size = 3;
  /// Tasks that may wait for a slot. 0: no bound. Not for a pool with a `work_queue`, which has its
  /// own bound.
  std::size_t queue_maxsize = 0;
  /// Where plain functions run; empty: on the runtime's workers, as coroutines do.
  pool_executor executor{};
  /// Whether the constructor starts the pool. Else it has no slots and refuses tasks until
  /// `start()`.
  bool started = true;
  /// Every how many tasks one is timed for `stats()`, rounded up to a power of two. 1: each. 0:
  /// none. Timing costs three looks at the clock. What `post` takes is not timed.
  std::uint64_t time_every = 16;
  /// Whether each task gets an id, for `cancel` and `cancel_all`. Costs a waiting task about 80
  /// bytes, and a short lock of the pool when it is accepted and when it ends. Tasks with
  /// callbacks, `start_by` or `timeout` have ids anyway. Ids are numbers from 0 in the order of
  /// acceptance; of ended tasks nothing is kept.
  bool ids = false;
  /// How long a callback that is a coroutine may take. Then stop is requested of it.
  std::optional<clock_source::duration> callback_timeout{};
  /// Gets the pool's warnings, and the errors of callbacks.
  log_sink log{};
  std::string name{};
};

/// Bounds how many tasks run at once on a runtime that others use too.
///
/// A slot is a number: a task that is suspended keeps its slot and holds no thread. Tasks wait in a
/// queue of the policy `Queue` for a slot, and a free slot takes the best task at the moment when a
/// worker turns to it. Submitting takes no lock, except when the queue is bounded and full, or
/// shared by pools and all slots of this one are taken; neither does a slot that goes from one task
/// to the next, but with `lifo` and `priority` one slot at a time takes its task.
///
/// Thread safety: every member may be called from any thread, except the destructor. When the
/// runtime has ended, what waits has been cancelled, and the pool refuses tasks; only in a pool
/// whose limit is 0 tasks wait on until it is closed or destroyed.
template <queue_policy Queue = fifo>
class fixed_pool : public detail::queued_pool<Queue> {
 public:
  /// The largest size.
  static constexpr std::size_t size_limit = 0xffffffff;

  /// Throws `errc::invalid_option` naming the field.
  explicit fixed_pool(runtime& on, fixed_pool_options options = {})
      : fixed_pool(on, work_queue<Queue>(options.queue_maxsize), std::move(options)) {}
  /// A pool of `size` slots, otherwise as by default.
  template <std::integral Size>
  fixed_pool(runtime& on, Size size) : fixed_pool(on, fixed_pool_options{.size = checked(size)}) {}
  /// A pool that takes its tasks from a queue that others use too.
  fixed_pool(runtime& on, const work_queue<Queue>& queue, fixed_pool_options options = {})
      : detail::queued_pool<Queue>(
            std::make_shared<detail::pool_engine>(on.scheduler(), queue.core(), options.time_every),
            detail::settings_of("FixedPool", options)),
        size_(checked(options.size)) {
    if (options.started)
      this->engine().open(size_);
  }

  /// `close_nowait(removal::hard)`, and waits for what runs. On a worker thread it does not wait.
  /// Call `close()` before to run everything that was accepted.
  ~fixed_pool() = default;

  /// Opens a pool that was not started or has been closed, with at least `options.size` slots; ends
  /// a pause. An open pool gets at least so many too. Throws `errc::pool_closed` while the pool is
  /// still closing, `errc::forked`.
  void start() {
    this->require_not_forked();
    this->engine().open(size_);
  }

  /// Adds `number` to the limit, which stays between 0 and `size_limit`. \return the new limit,
  /// which may be awaited.
  ///
  /// More slots start tasks at once. Fewer take effect when running tasks end, whatever waits;
  /// hard, as many tasks as needed are asked to stop. Throws `pool_is_closed`, `errc::forked`.
  detail::immediate<std::ptrdiff_t> scale(std::ptrdiff_t number, removal how = removal::soft) {
    this->require_not_forked();
    this->require_not_closed();
    return detail::immediate<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(
        this->engine().scale(number, 0, size_limit, how == removal::hard)));
  }
  std::ptrdiff_t scale_nowait(std::ptrdiff_t number, removal how = removal::soft) {
    return scale(number, how);
  }

  /// Refuses new tasks from now on, and gives a task that ends when everything accepted has ended,
  /// tasks that were waiting for room included, or when a time is over. A pool without slots
  /// cancels what waits, unless other pools of its queue are open or still run it: then when the
  /// last of these closes. May be called again; stop of the awaiting task ends only the wait.
  /// Awaiting it in a task of this pool throws `errc::would_deadlock`: the task would wait for
  /// itself. Throws `errc::forked`.
  [[nodiscard(
      "the pool is closed now; await this to wait for what it has accepted")]] task<close_report>
  close(close_options options = {}) {
    return this->begin_close(options);
  }
  /// Refuses new tasks from now on. Hard: cancels what waits, as `close` of a pool without slots
  /// does, and requests stop of what runs.
  void close_nowait(removal how = removal::soft) { this->begin_close_nowait(how); }

 private:
  template <std::integral Size>
  static std::size_t checked(Size size) {
    if (std::cmp_less(size, 1) || std::cmp_greater(size, size_limit))
      throw error(errc::invalid_option, "fixed_pool_options.size is " + std::to_string(size) +
                                            "; it must be 1 to 4294967295");
    return static_cast<std::size_t>(size);
  }

  std::size_t size_;
};

/// Starts `pool`, runs `body(pool)`, which gives a task, and closes the pool, also if the body
/// throws: `async with` of Python.
template <class Pool, class Body>
auto use(Pool& pool, Body body) -> decltype(body(pool)) {
  using value = typename decltype(body(pool))::value_type;
  pool.start();
  std::exception_ptr failure;
  detail::result<value> outcome;
  try {
    if constexpr (std::is_void_v<value>) {
      co_await body(pool);
      outcome.emplace();
    } else {
      outcome.emplace(co_await body(pool));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  auto end = shield(pool.close());
  co_await end;
  if (failure)
    std::rethrow_exception(std::move(failure));
  co_return outcome.take();
}

} // namespace weir
