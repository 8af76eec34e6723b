// SPDX-License-Identifier: MIT
/// \file
/// What `fixed_pool` and `autoscale_pool` have in common: submitting, pausing, closing.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/submit.hpp>
#include <weir/handle.hpp>
#include <weir/pool/close.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/limited_call.hpp>
#include <weir/pool/detail/submission.hpp>
#include <weir/pool/detail/tracked_task.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/pool_executor.hpp>
#include <weir/pool/pool_handle.hpp>
#include <weir/pool/pool_registry.hpp>
#include <weir/pool/queues.hpp>
#include <weir/pool/stats.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace weir::detail {

template <queue_policy Queue>
class queued_pool {
 public:
  using options_type = typename Queue::options;

  queued_pool(const queued_pool&) = delete;
  queued_pool& operator=(const queued_pool&) = delete;

  /// Submits `f(args...)` when awaited: waits while the queue is full, then for the task's end, and
  /// gives its value or throws what it threw. The callable and the arguments are copied or moved in
  /// now, as by `runtime::submit`. If the pool has an executor and `f` returns no `task`, the call
  /// is made there, while the task holds its slot.
  ///
  /// Awaiting throws `not_available` while the pool is paused, `pool_is_closed`, `errc::stopped`;
  /// `errc::empty_callable` comes from this call. If stop is requested of the awaiting task, it
  /// takes its task back or requests stop of it. A task of this pool that awaits another one keeps
  /// its slot meanwhile: if all slots are held by such tasks, none goes on. In the only slot that
  /// could run the other one that throws `errc::would_deadlock`, but not where the pool is an
  /// `autoscale_pool` (it grows, unless it is closed meanwhile) or another open pool shares the
  /// queue. On a thread that is no worker: `runtime.block_on(pool.submit(...))`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  submission<submit_result_t<F, Args...>> submit(F&& f, Args&&... args) {
    return submission<submit_result_t<F, Args...>>(
        engine_, make(std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  submission<submit_result_t<F, Args...>> submit(options_type options, F&& f, Args&&... args) {
    return submission<submit_result_t<F, Args...>>(
        engine_, make_with(options, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// As `submit`, but the awaiting coroutine waits only while the queue is full and gets a handle.
  /// Throws `errc::would_deadlock` only if it would have to wait.
  template <class F, class... Args>
    requires submittable<F, Args...>
  async_submission<submit_result_t<F, Args...>> submit_async(F&& f, Args&&... args) {
    return async_submission<submit_result_t<F, Args...>>(
        engine_, make(std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  async_submission<submit_result_t<F, Args...>> submit_async(options_type options, F&& f,
                                                             Args&&... args) {
    return async_submission<submit_result_t<F, Args...>>(
        engine_, make_with(options, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// Submits at once, or gives nothing if the queue is full or others wait for room; then `f` and
  /// the arguments are untouched. Never waits. Throws `not_available` while the pool is paused,
  /// `pool_is_closed` and as `runtime::submit`; only if the pool is closed by another thread at
  /// this very moment, `f` may have been moved from.
  template <class F, class... Args>
    requires submittable<F, Args...>
  [[nodiscard]] std::optional<pool_handle<submit_result_t<F, Args...>>> try_submit(F&& f,
                                                                                   Args&&... args) {
    require_callable(f);
    if (!reserve())
      return std::nullopt;
    return admitted(
        admit_made([&] { return make(std::forward<F>(f), std::forward<Args>(args)...); }));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  [[nodiscard]] std::optional<pool_handle<submit_result_t<F, Args...>>>
  try_submit(options_type options, F&& f, Args&&... args) {
    require_callable(f);
    if (!reserve())
      return std::nullopt;
    return admitted(admit_made(
        [&] { return make_with(options, std::forward<F>(f), std::forward<Args>(args)...); }));
  }

  /// As `try_submit`, but throws `not_available` if the queue is full.
  template <class F, class... Args>
    requires submittable<F, Args...>
  pool_handle<submit_result_t<F, Args...>> submit_nowait(F&& f, Args&&... args) {
    require_callable(f);
    if (!reserve())
      throw not_available::full();
    return admitted(
        admit_made([&] { return make(std::forward<F>(f), std::forward<Args>(args)...); }));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  pool_handle<submit_result_t<F, Args...>> submit_nowait(options_type options, F&& f,
                                                         Args&&... args) {
    require_callable(f);
    if (!reserve())
      throw not_available::full();
    return admitted(admit_made(
        [&] { return make_with(options, std::forward<F>(f), std::forward<Args>(args)...); }));
  }

  /// Has `f()` called in a slot; its result is dropped, and nobody can wait for it or stop it. The
  /// cheapest way in: a callable of at most a word that can be copied as bytes is stored in the
  /// queue itself; else one small allocation from the thread's cache. An exception goes to
  /// the runtime's `on_unhandled_exception`. Throws as `submit_nowait`. The pool's executor is not
  /// used. With options other than a weight, and in a pool with `ids`, it is a task like others.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(F&& f) {
    if (settings_->ids)
      (void)submit_nowait(std::forward<F>(f));
    else
      post_plain(options_type(), std::forward<F>(f));
  }
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(options_type options, F&& f) {
    if (settings_->ids || wants_more(options))
      (void)submit_nowait(options, std::forward<F>(f));
    else
      post_plain(options, std::forward<F>(f));
  }

  /// Requests stop of the tasks with these ids: one that waits is cancelled at once and gives its
  /// place back, one that runs as by `handle::request_stop`. All ids are looked at first: throws
  /// `task_not_found`, `already_cancelled` (also if it was asked to stop by its handle) or
  /// `already_ended`, and then cancels none. An id that was given stays one of an ended task for
  /// ever. See `ids` of the pool's options. Time: constant for each; a short lock.
  void cancel(std::span<const task_id> ids, stop_reason reason = {}) {
    require_not_forked();
    engine_->tasks().cancel(ids, reason, settings_->str);
  }
  void cancel(std::initializer_list<task_id> ids, stop_reason reason = {}) {
    cancel(std::span<const task_id>(ids.begin(), ids.size()), std::move(reason));
  }
  void cancel(task_id id, stop_reason reason = {}) {
    cancel(std::span<const task_id>(&id, 1), std::move(reason));
  }
  /// As `cancel`, but gives the error's code; empty if stop was requested. Throws `std::bad_alloc`.
  [[nodiscard]] std::error_code try_cancel(task_id id, stop_reason reason = {}) {
    require_not_forked();
    return engine_->tasks().try_cancel(id, reason);
  }
  /// The same of all tasks that have ids: first those that wait, then those that run, each in the
  /// order of their ids. Not those that wait for room. The pool stays open. \return how many.
  std::size_t cancel_all(stop_reason reason = {}) {
    require_not_forked();
    settings_->log(log_level::warning, "weir.pool", settings_->str, " cancelling all tasks!");
    return engine_->tasks().cancel_all(reason);
  }

  /// "FixedPool-jobs" or "AutoscalePool-jobs"; a number in the place of an empty name.
  [[nodiscard]] const std::string& str() const noexcept { return settings_->str; }
  /// "FixedPool-jobs_Task-3".
  [[nodiscard]] std::string task_name(task_id id) const { return task_name_of(settings_->str, id); }

  /// Slots: the limit of tasks in flight, or while the pool shrinks, how many of them are still
  /// taken. 0 once the pool has been closed.
  [[nodiscard]] std::size_t size() const noexcept { return engine_->size(); }
  /// The limit that the pool has or shrinks to.
  [[nodiscard]] std::size_t target_size() const noexcept { return engine_->target(); }
  /// Tasks that may wait for a slot; 0: no bound.
  [[nodiscard]] std::size_t max_tasks_number() const noexcept {
    return engine_->queue().max_waiting();
  }
  /// A moment's number of tasks that wait for a slot. Without those that wait for room.
  [[nodiscard]] std::size_t waiting_tasks_number() const noexcept { return engine_->waiting(); }
  /// A moment's number of tasks in a slot. Time: linear in the largest size that was ever in use.
  [[nodiscard]] std::size_t running_tasks_number() const noexcept { return engine_->running(); }
  /// What the pool has done. If pools share the queue, `waiting` and `cancelled` are estimates.
  [[nodiscard]] pool_stats stats() const noexcept { return engine_->stats(); }

  /// Whether new tasks are refused: the pool is paused, not started, or closed.
  [[nodiscard]] bool paused() const noexcept { return engine_->paused(); }
  /// Whether the pool has been closed and nothing of it is left.
  [[nodiscard]] bool closed() const noexcept { return engine_->drained(); }

  /// Turns pausing on or off. Paused, a pool refuses new tasks with `not_available`; what it has
  /// accepted runs, and who waits for room already still gets in. \return whether that is on now (a
  /// closed pool is paused in any case); may be awaited.
  immediate<bool> pause() noexcept { return immediate<bool>(engine_->toggle_pause()); }
  void set_paused(bool paused) noexcept { engine_->set_paused(paused); }
  /// As `set_paused(false)`.
  void resume() noexcept { engine_->set_paused(false); }

 protected:
  queued_pool(std::shared_ptr<pool_engine> engine, pool_settings settings)
      : keeps_(engine->home()), engine_(std::move(engine)),
        settings_(std::make_shared<const pool_settings>(std::move(settings))),
        listed_(
            engine_.get(),
            [](const void* core) { return static_cast<const pool_engine*>(core)->stats(); },
            settings_->str) {
    engine_->queue().attach(engine_);
  }
  ~queued_pool() {
    listed_.end();
    if (is_forked(engine_->home())) { // its locks may be held by threads that are not here
      (void)new std::shared_ptr<pool_engine>(std::move(engine_));
      return;
    }
    engine_->abandon();
    if (this_thread().self == nullptr)
      engine_->wait_drained();
  }

  [[nodiscard]] pool_engine& engine() const noexcept { return *engine_; }
  [[nodiscard]] const std::shared_ptr<pool_engine>& shared_engine() const noexcept {
    return engine_;
  }
  [[nodiscard]] const std::shared_ptr<const pool_settings>& settings() const noexcept {
    return settings_;
  }

  task<close_report> begin_close(close_options options) {
    require_not_forked();
    engine_->close();
    return finish_closing(engine_, settings_, options);
  }
  void begin_close_nowait(removal how) {
    require_not_forked();
    engine_->close();
    if (how == removal::hard || engine_->target() == 0)
      engine_->cancel_waiting();
    if (how == removal::hard)
      engine_->stop_running();
  }
  void require_not_forked() const { detail::require_not_forked(engine_->home()); }
  void require_not_closed() const {
    if (engine_->closing())
      throw pool_is_closed();
  }

 private:
  /// A task about which nothing was said.
  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make(F&& f, Args&&... args) {
    require_callable(f);
    return make_for(options_type(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make_with(const options_type& options, F&& f,
                                                  Args&&... args) {
    require_callable(f);
    if (!wants_more(options))
      return make_for(options, std::forward<F>(f), std::forward<Args>(args)...);
    if constexpr (calls_plainly<F, Args...>) {
      if (settings_->executor)
        return make_more(options,
                         on_pool_executor(std::forward<F>(f), std::forward<Args>(args)...));
    }
    return make_more(options, std::forward<F>(f), std::forward<Args>(args)...);
  }

  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make_for(const options_type& options, F&& f,
                                                 Args&&... args) {
    if constexpr (calls_plainly<F, Args...>) {
      if (settings_->executor)
        return make_plain(options,
                          on_pool_executor(std::forward<F>(f), std::forward<Args>(args)...));
    }
    return make_plain(options, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make_plain(const options_type& options, F&& f,
                                                   Args&&... args) {
    const auto made =
        settings_->ids
            ? make_tracked(engine_, settings_, {}, std::forward<F>(f), std::forward<Args>(args)...)
            : make_pooled(engine_->home(), std::forward<F>(f), std::forward<Args>(args)...);
    Queue::apply(options, *made.item);
    return made;
  }
  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make_more(const options_type& options, F&& f,
                                                  Args&&... args) {
    task_wishes wishes;
    wishes.end_callback = options.end_callback.get();
    wishes.cancel_callback = options.cancel_callback.get();
    wishes.start_by = options.start_by;
    const auto made = options.timeout
                          ? make_tracked(engine_, settings_, std::move(wishes),
                                         limited_call<std::decay_t<F>, std::decay_t<Args>...>(
                                             *options.timeout, std::in_place, std::forward<F>(f),
                                             std::forward<Args>(args)...))
                          : make_tracked(engine_, settings_, std::move(wishes), std::forward<F>(f),
                                         std::forward<Args>(args)...);
    Queue::apply(options, *made.item);
    return made;
  }

  /// Whether something was said besides what the queue is for.
  [[nodiscard]] static bool wants_more(const options_type& options) noexcept {
    return options.end_callback || options.cancel_callback || options.start_by || options.timeout;
  }

  template <class F, class... Args>
  static constexpr bool calls_plainly =
      !is_task<std::remove_cvref_t<typename raw_result<F, Args...>::type>>;
  template <class F, class... Args>
  [[nodiscard]] auto on_pool_executor(F&& f, Args&&... args) const {
    return on_executor<std::decay_t<F>, std::decay_t<Args>...>(
        settings_->executor, std::in_place, std::forward<F>(f), std::forward<Args>(args)...);
  }

  template <class T>
  [[nodiscard]] static pool_handle<T> admitted(const new_task<T>& made) noexcept {
    return {handle<T>(made.block), id_of(*made.item)};
  }

  [[nodiscard]] bool reserve() const {
    engine_->require_open();
    return engine_->queue().try_reserve();
  }

  /// With room reserved, which is given back if it throws.
  template <class Make>
  auto made_with_room(const Make& make_one) -> decltype(make_one()) {
    try {
      return make_one();
    } catch (...) {
      engine_->queue().room_freed(this_thread());
      throw;
    }
  }

  /// With room reserved.
  template <class Make>
  auto admit_made(const Make& make_one) -> decltype(make_one()) {
    const auto made = made_with_room(make_one);
    try {
      engine_->admit(this_thread(), *made.item);
    } catch (...) {
      made.block->discard_unsubmitted();
      throw;
    }
    return made;
  }

  template <class F>
  void post_plain(const options_type& options, F&& f) {
    using callable = std::decay_t<F>;
    static_assert(!gives_task<callable>, "post() does not run coroutines: use submit_nowait()");
    static_assert(std::is_nothrow_destructible_v<callable>,
                  "a posted callable must have a destructor that does not throw");
    require_callable(f);
    if (!reserve())
      throw not_available::full();
    if (auto* const context = current_context(this_thread())) [[unlikely]] {
      using in_context = call_in_context<callable>;
      post_made<in_context>(options, made_with_room([&] {
                              return in_context(context_ref::of(context), std::forward<F>(f));
                            }));
    } else {
      post_made<callable>(options, std::forward<F>(f));
    }
  }

  template <class Callable, class F>
  void post_made(const options_type& options, F&& f) {
    using made_item = posted_item<Callable>;
    if constexpr (word_call::fits<Callable> && std::is_nothrow_constructible_v<Callable, F>) {
      word_call made(Callable(std::forward<F>(f)));
      Queue::apply(options, made);
      engine_->admit(this_thread(), made);
    } else {
      auto made = made_with_room(
          [&] { return std::make_unique<made_item>(std::in_place, std::forward<F>(f)); });
      Queue::apply(options, *made);
      engine_->admit(this_thread(), *made);
      (void)made.release();
    }
  }

  scheduler_share keeps_;
  std::shared_ptr<pool_engine> engine_;
  std::shared_ptr<const pool_settings> settings_;
  pool_registration listed_;
};

} // namespace weir::detail
