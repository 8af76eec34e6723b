// SPDX-License-Identifier: MIT
/// \file
/// What `fixed_pool` and `autoscale_pool` have in common: submitting, pausing, closing.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/submit.hpp>
#include <weir/handle.hpp>
#include <weir/pool/close.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/submission.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/pool_executor.hpp>
#include <weir/pool/queues.hpp>
#include <weir/pool/stats.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
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
  /// its slot meanwhile: if all slots are held by such tasks, none goes on. With one slot that is
  /// certain and throws `errc::would_deadlock`. On a thread that is no worker:
  /// `runtime.block_on(pool.submit(...))`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  submission<submit_result_t<F, Args...>> submit(F&& f, Args&&... args) {
    return submission<submit_result_t<F, Args...>>(
        engine_, make(options_type(), std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  submission<submit_result_t<F, Args...>> submit(options_type options, F&& f, Args&&... args) {
    return submission<submit_result_t<F, Args...>>(
        engine_, make(options, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// As `submit`, but the awaiting coroutine waits only while the queue is full and gets a handle.
  template <class F, class... Args>
    requires submittable<F, Args...>
  async_submission<submit_result_t<F, Args...>> submit_async(F&& f, Args&&... args) {
    return async_submission<submit_result_t<F, Args...>>(
        engine_, make(options_type(), std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  async_submission<submit_result_t<F, Args...>> submit_async(options_type options, F&& f,
                                                             Args&&... args) {
    return async_submission<submit_result_t<F, Args...>>(
        engine_, make(options, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// Submits at once, or gives nothing if the queue is full or others wait for room; then `f` and
  /// the arguments are untouched. Never waits. Throws `not_available` while the pool is paused,
  /// `pool_is_closed` and as `runtime::submit`; only if the pool is closed by another thread at
  /// this very moment, `f` may have been moved from.
  template <class F, class... Args>
    requires submittable<F, Args...>
  [[nodiscard]] std::optional<handle<submit_result_t<F, Args...>>> try_submit(F&& f,
                                                                              Args&&... args) {
    return try_submit(options_type(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  [[nodiscard]] std::optional<handle<submit_result_t<F, Args...>>>
  try_submit(options_type options, F&& f, Args&&... args) {
    require_callable(f);
    if (!reserve())
      return std::nullopt;
    return handle<submit_result_t<F, Args...>>(admit_made([&] {
                                                 return make(options, std::forward<F>(f),
                                                             std::forward<Args>(args)...);
                                               }).block);
  }

  /// As `try_submit`, but throws `not_available` if the queue is full.
  template <class F, class... Args>
    requires submittable<F, Args...>
  handle<submit_result_t<F, Args...>> submit_nowait(F&& f, Args&&... args) {
    return submit_nowait(options_type(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
    requires submittable<F, Args...>
  handle<submit_result_t<F, Args...>> submit_nowait(options_type options, F&& f, Args&&... args) {
    require_callable(f);
    if (!reserve())
      throw not_available::full();
    return handle<submit_result_t<F, Args...>>(admit_made([&] {
                                                 return make(options, std::forward<F>(f),
                                                             std::forward<Args>(args)...);
                                               }).block);
  }

  /// Has `f()` called in a slot; its result is dropped, and nobody can wait for it or stop it. The
  /// cheapest way in: a callable of at most a word that can be copied as bytes is stored in a
  /// `fifo` queue itself; else one small allocation from the thread's cache. An exception goes to
  /// the runtime's `on_unhandled_exception`. Throws as `submit_nowait`. The pool's executor is not
  /// used.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(F&& f) {
    post(options_type(), std::forward<F>(f));
  }
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(options_type options, F&& f) {
    using callable = std::decay_t<F>;
    static_assert(!is_task<std::remove_cvref_t<std::invoke_result_t<callable>>>,
                  "post() does not run coroutines: use submit_nowait()");
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
  /// accepted runs, and who waits for room already still gets in. \return the new state; may be
  /// awaited.
  immediate<bool> pause() noexcept { return immediate<bool>(engine_->toggle_pause()); }
  void set_paused(bool paused) noexcept { engine_->set_paused(paused); }
  /// As `set_paused(false)`.
  void resume() noexcept { engine_->set_paused(false); }

 protected:
  queued_pool(std::shared_ptr<pool_engine> engine, pool_settings settings)
      : engine_(std::move(engine)),
        settings_(std::make_shared<const pool_settings>(std::move(settings))) {
    engine_->queue().attach(engine_);
  }
  ~queued_pool() {
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
    if (is_forked(engine_->home()))
      throw_forked();
    engine_->close();
    return finish_closing(engine_, settings_, options);
  }
  void begin_close_nowait(removal how) {
    if (is_forked(engine_->home()))
      throw_forked();
    engine_->close();
    if (how == removal::hard || engine_->target() == 0)
      engine_->cancel_waiting();
    if (how == removal::hard)
      engine_->stop_running();
  }
  void require_not_closed() const {
    if (engine_->closing())
      throw pool_is_closed();
  }

 private:
  template <class F, class... Args>
  new_task<submit_result_t<F, Args...>> make(options_type options, F&& f, Args&&... args) {
    using item = typename Queue::item;
    using raw = typename raw_result<F, Args...>::type;
    require_callable(f);
    const auto prepare = [&](item& made) { Queue::apply(options, made); };
    if constexpr (!is_task<std::remove_cvref_t<raw>>) {
      if (settings_->executor) {
        return make_pooled<item>(engine_->home(), prepare,
                                 on_executor<std::decay_t<F>, std::decay_t<Args>...>(
                                     settings_->executor, std::in_place, std::forward<F>(f),
                                     std::forward<Args>(args)...));
      }
    }
    return make_pooled<item>(engine_->home(), prepare, std::forward<F>(f),
                             std::forward<Args>(args)...);
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

  template <class Callable, class F>
  void post_made(options_type options, F&& f) {
    using made_item = posted_item<Callable, typename Queue::item>;
    if constexpr (Queue::takes_words && word_call::fits<Callable> &&
                  std::is_nothrow_constructible_v<Callable, F>) {
      engine_->admit(this_thread(), word_call(Callable(std::forward<F>(f))));
    } else {
      auto made = made_with_room(
          [&] { return std::make_unique<made_item>(std::in_place, std::forward<F>(f)); });
      Queue::apply(options, *made);
      engine_->admit(this_thread(), *made);
      (void)made.release();
    }
  }

  std::shared_ptr<pool_engine> engine_;
  std::shared_ptr<const pool_settings> settings_;
};

} // namespace weir::detail
