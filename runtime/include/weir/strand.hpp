// SPDX-License-Identifier: MIT
/// \file
/// `strand`: work that is never done twice at once, without a thread of its own.
#pragma once

#include <weir/detail/strand_engine.hpp>
#include <weir/detail/submit.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>
#include <weir/handle.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace weir {

/// A part of a coroutine that has a strand's turn; the turn ends with this. May be empty.
///
/// It belongs to the task that entered it, or that moved it last (on a thread that runs no task: to
/// that thread), which must not end before it. Thread safety: one thread at a time.
class [[nodiscard("dropping it ends the section")]] strand_section {
 public:
  strand_section() noexcept {}
  /// For the library: takes over the turn.
  explicit strand_section(detail::strand_engine& entered) noexcept : entered_(&entered) {}
  strand_section(strand_section&& other) noexcept
      : entered_(std::exchange(other.entered_, nullptr)) {
    if (entered_ != nullptr)
      entered_->take_over();
  }
  strand_section& operator=(strand_section&& other) noexcept {
    strand_section(std::move(other)).swap(*this);
    return *this;
  }
  ~strand_section() { leave(); }
  void swap(strand_section& other) noexcept { std::swap(entered_, other.entered_); }

  [[nodiscard]] bool entered() const noexcept { return entered_ != nullptr; }
  /// Ends the section now; nothing if it is empty.
  void leave() noexcept {
    if (auto* const engine = std::exchange(entered_, nullptr))
      engine->leave();
  }

 private:
  detail::strand_engine* entered_ = nullptr;
};

/// Runs callables, tasks and sections of coroutines on a runtime, one after the other, in the order
/// in which they came. A task or section has its turn until it ends, also while it is suspended.
///
/// After 64 turns in a row the strand goes behind the other work of its worker. What is queued when
/// the runtime stops is dropped, its handles give `task_cancelled`; a drained runtime runs it.
///
/// The destructor does not wait: what is queued runs all the same. Thread safety: every member may
/// be called from any thread, except the destructor. The runtime must outlive the strand and its
/// sections. Costs: one short lock and one allocation from a per-thread cache for each call; a
/// system call only if the strand was idle and a worker sleeps.
class strand {
 public:
  explicit strand(runtime& on) : engine_(std::make_shared<detail::strand_engine>(on.scheduler())) {}
  strand(const strand&) = delete;
  strand& operator=(const strand&) = delete;
  ~strand() = default;

  class enter_awaiter;

  /// Runs `f()` in its turn; its result is dropped. Exceptions go to the runtime's
  /// `on_unhandled_exception`. Throws as `runtime::post`.
  template <class F>
    requires std::invocable<std::decay_t<F>> && std::constructible_from<std::decay_t<F>, F>
  void post(F&& f) {
    using callable = std::decay_t<F>;
    static_assert(!detail::gives_task<callable>, "post() does not run coroutines: use submit()");
    static_assert(std::is_nothrow_destructible_v<callable>,
                  "a posted callable must have a destructor that does not throw");
    detail::require_callable(f);
    detail::require_open(engine_->home());
    if (auto* const context = detail::current_context(detail::this_thread())) {
      using in_context = detail::call_in_context<callable>;
      post_owned<in_context>(in_context(detail::context_ref::of(context), std::forward<F>(f)));
    } else {
      post_owned<callable>(std::forward<F>(f));
    }
  }

  /// Runs `f(args...)` in its turn and gives a handle to its result; if that is a `task<T>`, the
  /// turn lasts until the task has ended. A task must not await a handle of the strand whose turn
  /// it has: neither would go on. Takes its arguments and throws as `runtime::submit`.
  template <class F, class... Args>
    requires submittable<F, Args...>
  handle<submit_result_t<F, Args...>> submit(F&& f, Args&&... args) {
    detail::require_open(engine_->home());
    detail::require_callable(f);
    auto* const block = new detail::strand_block<detail::block_for<F, Args...>>(
        *engine_, std::forward<F>(f), std::forward<Args>(args)...);
    try {
      engine_->submit(detail::this_thread(), *block);
    } catch (...) {
      block->discard_unsubmitted();
      throw;
    }
    return handle<submit_result_t<F, Args...>>(block);
  }

  /// Awaiting it waits for its turn and gives a `strand_section`. The task stays on its own
  /// runtime, which may be another one. Throws `errc::would_deadlock` if the task has the turn
  /// already, and `std::bad_alloc`. A cancelled wait gives up its place.
  [[nodiscard("the section begins when this is awaited")]] enter_awaiter enter() noexcept;

  /// Whether the calling callable, task or section has this strand's turn. A child task that runs
  /// beside its parent does not have it.
  [[nodiscard]] bool on_strand() const noexcept { return engine_->on_strand(); }

 private:
  template <class Callable, class F>
  void post_owned(F&& f) {
    auto owned = std::make_unique<detail::posted_job<Callable>>(std::forward<F>(f));
    engine_->post(detail::this_thread(), *owned);
    (void)owned.release();
  }

  std::shared_ptr<detail::strand_engine> engine_;
};

class strand::enter_awaiter
    : public detail::list_awaiter<enter_awaiter, detail::strand_engine::section_node> {
 public:
  explicit enter_awaiter(std::shared_ptr<detail::strand_engine> engine) noexcept
      : list_awaiter(&withdraw), engine_(std::move(engine)) {}

  [[nodiscard]] bool wait_or_take() { return engine_->enter_or_wait(*this); }
  strand_section await_resume() const {
    check();
    return strand_section(*engine_);
  }

 private:
  static bool withdraw(suspension& self) noexcept {
    auto& node = static_cast<enter_awaiter&>(self);
    return node.engine_->withdraw(node);
  }

  std::shared_ptr<detail::strand_engine> engine_;
};

inline strand::enter_awaiter strand::enter() noexcept {
  return enter_awaiter(engine_);
}

} // namespace weir
