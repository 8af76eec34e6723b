// SPDX-License-Identifier: MIT
/// \file
/// `with_task_group`: a scope that cannot be left before the tasks spawned in it have ended.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/ended_children.hpp>
#include <weir/detail/submit.hpp>
#include <weir/stop_reason.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace weir {

/// First argument of `with_task_group`: a failure does not stop the others.
struct keep_going_t {
  explicit keep_going_t() = default;
};
inline constexpr keep_going_t keep_going{};

class task_group;

namespace detail {

/// A child of a task group, in a control block of its own. What it keeps of its user is gone when
/// it has ended; the block itself may stay a little longer.
class WEIR_API group_child : public child {
 public:
  ~group_child() override;
  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) noexcept {
    deallocate_frame(memory, size);
  }

 private:
  friend class weir::task_group;

  // Acquire and release pair: whoever sees it set may destroy the block.
  sync::atomic<bool> ended_{false};
};

/// A child that runs a task and drops its result.
template <class T>
class spawned_child final : public group_child {
 public:
  explicit spawned_child(task<T>&& t) noexcept : task_(std::move(t)) {
    if (task_.startable())
      this->set_coroutine(task_.begin(outcome_));
  }

  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(outcome_.error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return outcome_.reason(); }

 private:
  child_end settle(bool started) noexcept override {
    const auto how = settle_outcome(outcome_, started, this->scope());
    task_ = {};
    if (how == child_end::value)
      outcome_.reset();
    return how;
  }

  task<T> task_;
  result<T> outcome_;
};

/// Keeps a callable and its arguments until the task that it returns has ended.
template <class T, class F, class... Args>
task<T> call_in_task(F f, Args... args) {
  stop_bridge_for<F, Args...> bridge;
  task_scope& scope = *this_thread().current;
  auto called = invoke_bound<F, Args...>(bridge, scope, f, args...);
  co_return co_await called;
}

/// A child that calls `f(args...)`, a plain function, and drops what it returns.
template <class F, class... Args>
class called_child final : public group_child {
 public:
  template <class G, class... As>
  explicit called_child(std::in_place_t, G&& f, As&&... args)
      : call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {
    this->set_coroutine(nullptr);
  }

  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(outcome_.error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return outcome_.reason(); }

 private:
  promise_base* make_coroutine() noexcept override {
    try {
      (void)call_(this->scope());
      outcome_.emplace();
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
    call_.reset(); // while its scope is there
    return nullptr;
  }
  child_end settle(bool started) noexcept override {
    if (!started)
      call_.reset();
    return settle_outcome(outcome_, started, this->scope());
  }

  bound_call<F, Args...> call_;
  result<void> outcome_;
};

template <class T, class F>
class task_group_awaiter;

} // namespace detail

/// The tasks of one `with_task_group`. Exists while the group is open: from before its body starts
/// until the body and all children have ended.
///
/// Thread safety: every member may be called by the body, by the children, and by what runs under
/// them, on any thread. Each takes a mutex, mostly for a few instructions. The end of a child takes
/// none, or only if it is free, unless it is the first that fails: blocks of ended children are
/// freed some at a time, up to 256, by who starts others or has ended many.
class WEIR_API task_group : detail::join {
 public:
  /// Runs a task beside the others; its result is dropped. After the group was stopped it does not
  /// start. One allocation from a per-thread cache. Throws `errc::no_state` for an empty or used
  /// task, `std::bad_alloc`.
  template <class T>
  void spawn(task<T> t) {
    start(new detail::spawned_child<T>(std::move(t)));
  }

  /// Runs `f(args...)` beside the others; its result is dropped. They are copied or moved in, and
  /// live until what `f` returns has ended: so give a lambda coroutine with captures here, not its
  /// task to `spawn`. A callable that takes an `inplace_stop_token` first is given its own task's.
  /// One allocation from a per-thread cache, two if `f` returns a task. Throws
  /// `errc::empty_callable`, `std::bad_alloc`, and what copying throws.
  template <class F, class... Args>
    requires submittable<F, Args...>
  void submit(F&& f, Args&&... args) {
    detail::require_callable(f);
    if constexpr (detail::is_task<
                      std::remove_cvref_t<typename detail::raw_result<F, Args...>::type>>)
      spawn(
          detail::call_in_task<submit_result_t<F, Args...>, std::decay_t<F>, std::decay_t<Args>...>(
              std::forward<F>(f), std::forward<Args>(args)...));
    else
      start(new detail::called_child<std::decay_t<F>, std::decay_t<Args>...>(
          std::in_place, std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// Asks the body and all children to stop, and those spawned later not to start.
  /// \return true for the first request.
  bool request_stop(const stop_reason& reason = {});

  /// Whether stop was requested of the group, by anybody.
  [[nodiscard]] bool stop_requested() const noexcept;

  /// A moment's number of children that have not ended, the body not counted. While others end it
  /// may count some that just have. Looks at each worker.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  friend class detail::ended_children;
  template <class, class>
  friend class detail::task_group_awaiter;

  explicit task_group(bool stops_others) noexcept
      : join(&forward_stop), stops_others_(stops_others) {}
  ~task_group() override;

  /// `await_suspend`, in two steps: the parent may wait; the body runs.
  [[nodiscard]] bool open(detail::promise_base& parent) noexcept;
  void run(detail::child& body) noexcept;
  /// When the parent goes on.
  void check_ended();

  void start(detail::group_child* fresh);
  void require_open() const;
  bool stop_children(const stop_reason& reason) noexcept;
  bool child_ended(detail::child& which, detail::child_end how,
                   detail::thread_state& thread) noexcept override;
  void body_ended() noexcept;
  static bool forward_stop(detail::suspension& self) noexcept;
  /// Under the mutex: looks at some children. \return those that have ended, to be destroyed
  /// outside.
  [[nodiscard]] detail::child* collect_ended(std::uint64_t looked_at) noexcept;
  /// How many children in the list have ended, about.
  [[nodiscard]] std::uint64_t waiting_blocks() const noexcept;
  /// After some have ended.
  void collect_if_many() noexcept;
  static void destroy(detail::child* ended) noexcept;

  // A worker tells of so many ended children at once, at the most.
  static constexpr std::uint32_t many_ended = 32;
  // Of each at once if no more than so many are left.
  static constexpr std::uint64_t few_left = 64;
  // Who starts a child looks at a few others if so many blocks of ended ones wait.
  static constexpr std::uint64_t some_wait = 32;
  static constexpr std::uint64_t few = 8;
  // Whose children end looks at more if so many wait and are half of all.
  static constexpr std::uint64_t many_wait = 1024;
  static constexpr std::uint64_t more = 256;
  // The body counts as so many until it ends, so that what starts before that need not be entered.
  static constexpr std::uint64_t body_share = std::uint64_t{1} << 62;

  const bool stops_others_;
  detail::child* body_ = nullptr;
  // Those handed in (J5).
  detail::sync::atomic<std::uint64_t> ended_{0};
  // Guards what follows. No user code runs under it.
  mutable detail::sync::mutex mutex_;
  // Nobody changes the list once stopped_ is set.
  detail::child* first_ = nullptr;
  detail::child** looks_at_ = &first_;
  // Written under the mutex; read without it as hints.
  detail::sync::atomic<std::uint64_t> listed_{0};
  detail::sync::atomic<std::uint64_t> started_{0};
  bool body_ended_ = false;
  bool stopped_ = false;
};

namespace detail {

template <class T, class F>
class task_group_awaiter {
 public:
  task_group_awaiter(bool stops_others, F&& body) noexcept(std::is_nothrow_move_constructible_v<F>)
      : callable_(std::move(body)), group_(stops_others) {}
  task_group_awaiter(const task_group_awaiter&) = delete;
  task_group_awaiter& operator=(const task_group_awaiter&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& promise = weir_promise_of(parent);
    promise.scope().check_stop();
    body_.assign(std::invoke(std::move(callable_), group_));
    body_.require_startable();
    if (!group_.open(promise))
      return false;
    group_.run(body_);
    return true;
  }
  T await_resume() {
    group_.check_ended();
    return body_.take();
  }

 private:
  F callable_;
  task_group group_;
  task_child<T> body_;
};

} // namespace detail

/// What `with_task_group` gives: await it, once.
template <class T, class F>
class [[nodiscard("await this: nothing has been started yet")]] task_group_awaitable {
 public:
  task_group_awaitable(bool stops_others, F body)
      : stops_others_(stops_others), body_(std::move(body)) {}
  [[nodiscard]] auto operator co_await() {
    return detail::task_group_awaiter<T, F>(stops_others_, std::move(body_));
  }

 private:
  bool stops_others_;
  F body_;
};

/// What `with_task_group` takes.
template <class F>
concept task_group_body = std::invocable<std::decay_t<F>, task_group&> &&
                          detail::is_task<std::invoke_result_t<std::decay_t<F>, task_group&>>;

/// Runs `body(group)`, a coroutine that may spawn tasks into the group, and goes on when it and all
/// of them have ended, also if it throws. Gives the body's result.
///
/// The first of body and children that throws stops the others by `stop_cause::sibling_failed`, and
/// its exception is thrown in the end; further ones are counted in
/// `runtime_stats::suppressed_exceptions`. A child that ends by `task_cancelled` has been stopped,
/// which is no failure. Stop requested of the awaiting task is handed on to body and children; then
/// `task_cancelled` is thrown in the end, unless there was an exception. `body` lives until then.
/// Throws what calling `body` throws. Allocates nothing but the coroutine's frame.
template <task_group_body F>
[[nodiscard]] auto with_task_group(F&& body) {
  using value = typename std::invoke_result_t<std::decay_t<F>, task_group&>::value_type;
  return task_group_awaitable<value, std::decay_t<F>>(true, std::forward<F>(body));
}

/// As above, but a failure does not stop the others.
template <task_group_body F>
[[nodiscard]] auto with_task_group(keep_going_t, F&& body) {
  using value = typename std::invoke_result_t<std::decay_t<F>, task_group&>::value_type;
  return task_group_awaitable<value, std::decay_t<F>>(false, std::forward<F>(body));
}

} // namespace weir
