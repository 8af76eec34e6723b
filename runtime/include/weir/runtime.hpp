// SPDX-License-Identifier: MIT
/// \file
/// `runtime`: a set of worker threads that run tasks.
#pragma once

#include <weir/awaitable.hpp>
#include <weir/clock.hpp>
#include <weir/detail/submit.hpp>
#include <weir/handle.hpp>
#include <weir/stats.hpp>
#include <weir/task.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

/// How to set up a `runtime`. Every field has a default; the constructor checks them.
struct runtime_options {
  /// Worker threads to start, 1 to `runtime::worker_limit`. 0: as many as `usable_cpus()` says.
  std::size_t workers = 0;
  /// Upper bound for the number of workers, at least `workers`, at most `runtime::worker_limit`.
  /// 0: the same as `workers`.
  std::size_t max_workers = 0;
  /// Whether the number of workers follows the load: a submission that finds everybody busy starts
  /// one more, up to `max_workers` and the usable CPUs, and those that have been idle for
  /// `keep_alive` leave, down to `min_workers` (docs/elastic.md).
  bool elastic = false;
  /// Lower bound of that, at most `workers`. 0: the same as `workers`.
  std::size_t min_workers = 0;
  /// Workers that may stand in at once for those inside `weir::blocking`, at most
  /// `runtime::worker_limit`. Their threads come on top of `max_workers`. 0: nobody stands in.
  std::size_t max_blocking = 64;
  /// How long threads without work are kept: stand-ins that are not needed any more, and workers of
  /// an elastic runtime. Not negative.
  std::chrono::nanoseconds keep_alive = std::chrono::seconds(10);
  /// Threads are called "<thread_name>-<index>"; the kernel keeps the first 15 characters.
  std::string thread_name = "weir";
  /// Stack of each worker in bytes, at least 64 KiB. 0: the system's default. On x86-64 there are
  /// 1.2 MB of addresses above it for frames of coroutines, most of which are never touched.
  std::size_t stack_size = 0;
  /// The clock to read; null: the steady clock. Must outlive the runtime and its pools.
  const clock_source* clock = nullptr;
  /// How long a worker without work looks for some before it sleeps, 0 to 1 s; down to a 16th of it
  /// after it has looked in vain, until work comes within this time again. Not set: 20 us, or 0 if
  /// there are more workers than usable CPUs, where looking would take the CPU from who has work.
  std::optional<std::chrono::nanoseconds> spin{};
  /// Whether a worker that is woken while its waker goes on computing is kept off the waker's CPU,
  /// once the kernel has put one there: by `sched_setaffinity`, for as long as it takes to wake
  /// (docs/scheduler.md has what that does to masks and to seccomp filters).
  bool place_wakes = false;
  /// Called on each worker thread with the worker's index, before its first and after its last
  /// task. What they throw goes to `on_unhandled_exception`.
  std::function<void(std::size_t)> on_worker_start{};
  std::function<void(std::size_t)> on_worker_stop{};
  /// Gets every exception that nobody waits for, on the thread where it turned up: a worker, or
  /// whoever drops the handle of a failed task. Must not throw. Not set: the exception is printed
  /// to standard error and the process ends, as with `std::thread`.
  std::function<void(std::exception_ptr)> on_unhandled_exception{};
};

namespace detail {

/// Packets copied from an array of small trivial callables.
template <class F>
class copying_source final : public packet_source {
 public:
  explicit copying_source(F* first) noexcept : at_(first) {}
  packet next() noexcept override { return packet(std::in_place, *at_++); }

 private:
  F* at_;
};

/// Packets that were made before; those that are not fetched are dropped.
class moving_source final : public packet_source {
 public:
  moving_source() noexcept {}
  moving_source(const moving_source&) = delete;
  moving_source& operator=(const moving_source&) = delete;
  ~moving_source() {
    for (; at_ != packets_.size(); ++at_)
      packets_[at_].drop();
  }
  template <class F>
  void add(F&& f) {
    if (packets_.size() == packets_.capacity())
      packets_.reserve(packets_.empty() ? 64 : 2 * packets_.size());
    packets_.emplace_back(std::in_place, std::forward<F>(f));
  }
  [[nodiscard]] std::size_t size() const noexcept { return packets_.size(); }
  packet next() noexcept override { return std::move(packets_[at_++]); }

 private:
  std::vector<packet> packets_;
  std::size_t at_ = 0;
};

} // namespace detail

/// Owns worker threads and runs tasks on them. A process may hold many runtimes.
///
/// Tasks are callables or coroutines. From outside they enter through a queue that is first in,
/// first out for each submitting thread; a worker runs what it submits itself newest first, with
/// bounded unfairness (docs/scheduler.md). Submitting to a busy runtime makes no system call and
/// takes no lock, except that a thread's first submission to a runtime takes one to register.
///
/// Thread safety: every member may be called from any thread, except the destructor.
class WEIR_API runtime {
 public:
  /// The largest number of workers.
  static constexpr std::size_t worker_limit = 1024;

  /// Starts the workers.
  /// Throws `errc::invalid_option` naming the field, or `errc::thread_start_failed`; then no thread
  /// is left behind.
  explicit runtime(runtime_options options = {});
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// `stop()`, then joins the workers. On a worker of this runtime, and on a thread that takes part
  /// in its forks, it does not wait: the workers leave by themselves once the running tasks have
  /// ended. In a forked child it does nothing.
  ~runtime();

  /// Runs `f()` on some worker; its result is dropped.
  ///
  /// An exception goes to `on_unhandled_exception`. A callable of at most 48 bytes that moves
  /// without throwing is stored in place: no allocation. Throws `errc::stopped`, `errc::forked` or
  /// `errc::empty_callable`, and then `f` is untouched; `std::bad_alloc`, and what copying `f`
  /// throws.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(F&& f) {
    static_assert(!detail::gives_task<std::decay_t<F>>,
                  "post() does not run coroutines: use submit() or spawn()");
    using callable = std::decay_t<F>;
    static_assert(std::is_nothrow_destructible_v<callable>,
                  "a posted callable must have a destructor that does not throw");
    detail::require_callable(f);
    if constexpr (detail::packet::fits<callable> && std::is_trivially_copyable_v<callable> &&
                  std::is_nothrow_constructible_v<callable, F>) {
      detail::thread_state& thread = detail::this_thread();
      if (thread.home != scheduler_.get() && detail::current_context(thread) == nullptr)
          [[likely]] {
        detail::packet p(std::in_place, std::forward<F>(f));
        detail::submit_from_outside(*scheduler_, thread, p);
        return;
      }
    }
    detail::submission_entry entry(*scheduler_);
    if (auto* const context = detail::current_context(entry.thread())) [[unlikely]] {
      using in_context = detail::call_in_context<callable>;
      enter(entry, in_context(detail::context_ref::of(context), std::forward<F>(f)));
    } else {
      enter(entry, std::forward<F>(f));
    }
  }

  /// Says what to write instead.
  template <class F, class First, class... More>
  void post(F&&, First&&, More&&...) {
    static_assert(
        std::is_void_v<F> && !std::is_void_v<F>,
        "post() takes a callable without arguments: capture them in a lambda, or use submit()");
  }

  /// Runs `f(args...)` on some worker and gives a handle to its result.
  ///
  /// `f` and the arguments are copied or moved in (`std::ref` to refer). If `f` can be called only
  /// with an `inplace_stop_token` or `std::stop_token` before the arguments, it gets the token of
  /// its own task; the latter costs an allocation. If it returns a `task<T>`, that runs too and the
  /// handle is a `handle<T>`; `f` lives until it has ended. One allocation from a per-thread cache.
  /// Throws as `post`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  handle<submit_result_t<F, Args...>> submit(F&& f, Args&&... args) {
    detail::submission_entry entry(*scheduler_);
    return launch(entry,
                  detail::make_block(*scheduler_, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// Runs a coroutine on some worker. Throws `errc::no_state` for an empty or used task, otherwise
  /// as `post`; a refused task stays with the caller.
  template <class T>
  handle<T> spawn(task<T>&& t) {
    if (!t.startable())
      detail::throw_error(errc::no_state, "spawn of a task that is empty or was started before");
    detail::submission_entry entry(*scheduler_);
    return launch(entry, static_cast<detail::result_block<T>*>(
                             new detail::spawned_block<T>(*scheduler_, std::move(t))));
  }

  /// Posts every callable of a range, all or none, with one wake-up decision. They are moved from
  /// an rvalue container and copied from anything else. Throws as `post`; but of an rvalue
  /// container, callables before an empty one, or before one whose move throws, have been moved
  /// from then.
  template <std::ranges::input_range Range>
    requires std::invocable<std::decay_t<std::ranges::range_reference_t<Range>>>
  void post_bulk(Range&& callables) {
    using callable = std::decay_t<std::ranges::range_reference_t<Range>>;
    static_assert(std::is_nothrow_destructible_v<callable>,
                  "a posted callable must have a destructor that does not throw");
    detail::submission_entry entry(*scheduler_);
    if (auto* const context = detail::current_context(entry.thread())) [[unlikely]] {
      using in_context = detail::call_in_context<callable>;
      std::vector<std::unique_ptr<detail::posted_job<in_context>>> owned;
      for (auto&& f : callables) {
        detail::require_callable(f);
        owned.push_back(std::make_unique<detail::posted_job<in_context>>(
            in_context(detail::context_ref::of(context), forward_element<Range>(f))));
      }
      submit_owned(entry, owned);
      return;
    }
    if constexpr (detail::packet::fits<callable>) {
      if (entry.from_outside()) {
        if constexpr (std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
                      std::is_trivially_copyable_v<callable>) {
          // No user code runs while the queue copies them in.
          for (const auto& f : callables)
            detail::require_callable(f);
          detail::copying_source packets(std::ranges::data(callables));
          submit_from(entry, packets, std::ranges::size(callables));
        } else {
          detail::moving_source packets;
          for (auto&& f : callables) {
            detail::require_callable(f);
            packets.add(forward_element<Range>(f));
          }
          submit_from(entry, packets, packets.size());
        }
        return;
      }
    }
    std::vector<std::unique_ptr<detail::posted_job<callable>>> owned;
    for (auto&& f : callables) {
      detail::require_callable(f);
      owned.push_back(std::make_unique<detail::posted_job<callable>>(forward_element<Range>(f)));
    }
    submit_owned(entry, owned);
  }

  /// Submits every callable of a range, all or none, with one wake-up decision. They are moved or
  /// copied as by `post_bulk`.
  /// \return a handle for each, in the range's order. Throws as `submit`.
  template <std::ranges::input_range Range>
    requires submittable<std::decay_t<std::ranges::range_reference_t<Range>>>
  auto submit_bulk(Range&& callables) {
    using value = submit_result_t<std::decay_t<std::ranges::range_reference_t<Range>>>;
    struct discard {
      void operator()(detail::result_block<value>* block) const noexcept {
        block->discard_unsubmitted();
      }
    };
    detail::submission_entry entry(*scheduler_);
    using owner = std::unique_ptr<detail::result_block<value>, discard>;
    std::vector<owner> owned;
    for (auto&& f : callables)
      owned.push_back(owner(detail::make_block(*scheduler_, forward_element<Range>(f))));
    std::vector<handle<value>> handles;
    handles.reserve(owned.size());
    std::vector<detail::result_block<value>*> blocks;
    blocks.reserve(owned.size());
    for (auto& block : owned)
      blocks.push_back(block.get());
    submit_owned(entry, owned);
    for (auto* block : blocks)
      handles.push_back(handle<value>(block));
    return handles;
  }

  /// Runs a task or other awaitable on a worker and blocks the calling thread for its result.
  /// Throws what it throws; `errc::would_deadlock` on a worker thread of any runtime; as `spawn`.
  template <class T>
  T block_on(task<T> t) {
    require_blockable();
    return spawn(std::move(t)).get();
  }
  /// One that cannot be copied, as a `group`, may also stay where it is.
  template <class A>
    requires awaitable<A>
  decltype(auto) block_on(A&& awaited) {
    require_blockable();
    using awaited_type = std::remove_cvref_t<A>;
    if constexpr (std::is_lvalue_reference_v<A> &&
                  !(std::copy_constructible<awaited_type> && awaitable<awaited_type>))
      return spawn(detail::await_reference_in_task<std::remove_reference_t<A>,
                                                   detail::await_result_t<A>>(awaited))
          .get();
    else
      return spawn(detail::await_in_task<awaited_type, detail::await_result_t<awaited_type>>(
                       std::forward<A>(awaited)))
          .get();
  }

  /// Stops taking tasks from outside, runs everything accepted and what those tasks submit, and
  /// waits until all of it has ended.
  ///
  /// Throws `errc::would_deadlock` on a worker of this runtime, where `request_drain()` is meant,
  /// and inside of `fork_join(rt, ...)` and the like on another thread; `errc::forked`.
  void drain();

  /// As `drain()`, but waits no longer than until `deadline` of the steady clock.
  /// \return how many accepted tasks have not ended. They go on; `stop()` may follow.
  std::uint64_t drain(std::chrono::steady_clock::time_point deadline);
  /// The same from now on: `drain(500ms)`.
  std::uint64_t drain(std::chrono::nanoseconds longest);

  /// Stops taking tasks, requests stop of those that have started (`stop_cause::shutdown`), drops
  /// those that have not (their handles throw `task_cancelled`), and waits until all have ended.
  /// May be called again, also after `drain()`. Throws as `drain()`.
  void stop();

  /// As `stop()`, but waits no longer than until `deadline`, or as long as `longest`.
  /// \return how many tasks have not ended.
  std::uint64_t stop(std::chrono::steady_clock::time_point deadline);
  std::uint64_t stop(std::chrono::nanoseconds longest);

  /// What `drain()` and `stop()` do, without waiting: from any thread, a worker too. Throw
  /// `errc::forked`.
  void request_drain();
  void request_stop();

  /// Sets the number of workers, 1 to `runtime_options::max_workers`, while tasks run.
  ///
  /// New threads have been started when this returns. Workers that are too many leave by themselves
  /// after their current job, and hand over what waits for them; this does not wait for them. An
  /// elastic runtime goes on from there by itself.
  ///
  /// Throws `errc::invalid_option`; `errc::stopped` after `stop()` or `drain()` was called; if a
  /// thread cannot be started, `errc::thread_start_failed`: those that were started stay, and
  /// `workers()` says how many there are now; `errc::forked`; `errc::would_deadlock` in a
  /// destructor of a worker's thread-local object. Takes a lock and joins threads that have left.
  void resize(std::size_t workers);

  /// How many workers there are to be: the option, or what `resize()` or the load has made of it.
  /// `runtime_stats::running_workers` says how many there are at the moment.
  [[nodiscard]] std::size_t workers() const noexcept;

  /// Whether the calling thread is a worker of this runtime.
  [[nodiscard]] bool on_worker() const noexcept {
    return detail::this_thread().home == scheduler_.get();
  }

  /// The time of the runtime's clock.
  [[nodiscard]] clock_source::time_point now() const noexcept;

  /// A snapshot of the counters. Allocates; does not disturb the workers. Throws `errc::forked`.
  [[nodiscard]] runtime_stats stats() const;

  /// For pools and the like: the engine of this runtime.
  [[nodiscard]] detail::scheduler& scheduler() const noexcept { return *scheduler_; }

 private:
  /// An element of `Range`, to be moved if the range owns it and was given away.
  template <class Range, class F>
  static decltype(auto) forward_element(F& f) noexcept {
    if constexpr (std::is_lvalue_reference_v<Range> ||
                  std::ranges::view<std::remove_cvref_t<Range>>)
      return std::forward<std::ranges::range_reference_t<Range>>(f);
    else
      return std::move(f);
  }

  /// The last step of `post`.
  template <class F>
  static void enter(detail::submission_entry& entry, F&& f) {
    using callable = std::decay_t<F>;
    if constexpr (detail::packet::fits<callable>) {
      if (entry.wants_packets()) {
        detail::packet p(std::in_place, std::forward<F>(f));
        try {
          entry.submit(p);
        } catch (...) {
          p.drop();
          throw;
        }
        return;
      }
    }
    auto owned = std::make_unique<detail::posted_job<callable>>(std::forward<F>(f));
    entry.submit(*owned);
    (void)owned.release();
  }

  static void submit_from(detail::submission_entry& entry, detail::packet_source& packets,
                          std::size_t count) {
    if (count != 0)
      entry.submit(packets, count);
  }

  /// Submits the jobs of a vector of unique pointers, which let go of them.
  template <class Owned>
  static void submit_owned(detail::submission_entry& entry, std::vector<Owned>& owned) {
    std::vector<detail::job*> jobs;
    jobs.reserve(owned.size());
    for (auto& j : owned)
      jobs.push_back(j.get());
    if (!jobs.empty())
      entry.submit(jobs);
    for (auto& j : owned)
      (void)j.release();
  }

  template <class T>
  static handle<T> launch(detail::submission_entry& entry, detail::result_block<T>* block) {
    try {
      entry.submit(*block);
    } catch (...) {
      block->discard_unsubmitted();
      throw;
    }
    return handle<T>(block);
  }

  static void require_blockable();

  std::shared_ptr<detail::scheduler> scheduler_;
};

} // namespace weir
