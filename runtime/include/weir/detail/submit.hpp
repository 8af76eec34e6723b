// SPDX-License-Identifier: MIT
/// \file
/// Turns callables and coroutines into root tasks.
#pragma once

#include <weir/detail/dangling.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/error.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// A callable that can do without the token is called without: a generic one would take anything.
template <class F, class... Args>
concept takes_stop_token =
    !std::invocable<std::decay_t<F>, std::decay_t<Args>...> &&
    std::invocable<std::decay_t<F>, inplace_stop_token, std::decay_t<Args>...>;
template <class F, class... Args>
concept takes_std_stop_token =
    !std::invocable<std::decay_t<F>, std::decay_t<Args>...> && !takes_stop_token<F, Args...> &&
    std::invocable<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>;

template <class F, class... Args>
struct raw_result : std::invoke_result<std::decay_t<F>, std::decay_t<Args>...> {};
template <class F, class... Args>
  requires takes_stop_token<F, Args...>
struct raw_result<F, Args...>
    : std::invoke_result<std::decay_t<F>, inplace_stop_token, std::decay_t<Args>...> {};

template <class F, class... Args>
  requires takes_std_stop_token<F, Args...>
struct raw_result<F, Args...>
    : std::invoke_result<std::decay_t<F>, std::stop_token, std::decay_t<Args>...> {};

template <class T>
struct unwrap_task {
  using type = T;
};
template <class T>
struct unwrap_task<task<T>> {
  using type = T;
};

} // namespace weir::detail

namespace weir {

/// Part of `submittable`. The name is what compilers print.
template <class T>
concept can_be_copied_or_moved_in_else_use_std_ref = std::constructible_from<std::decay_t<T>, T>;

/// Part of `submittable`.
template <class F, class... Args>
concept can_be_called_with_these_arguments =
    std::invocable<std::decay_t<F>, std::decay_t<Args>...> ||
    std::invocable<std::decay_t<F>, inplace_stop_token, std::decay_t<Args>...> ||
    std::invocable<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>;

/// What can be submitted: callable with the decayed arguments, or else with an `inplace_stop_token`
/// or `std::stop_token` before them; the result may be a `task<T>`.
template <class F, class... Args>
concept submittable = can_be_copied_or_moved_in_else_use_std_ref<F> &&
                      (can_be_copied_or_moved_in_else_use_std_ref<Args> && ...) &&
                      can_be_called_with_these_arguments<F, Args...>;

/// What a submitted callable yields in the end: `T` for a callable that returns `T` or `task<T>`.
template <class F, class... Args>
  requires submittable<F, Args...>
using submit_result_t =
    typename detail::unwrap_task<typename detail::raw_result<F, Args...>::type>::type;

} // namespace weir

namespace weir::detail {

/// Throws `errc::empty_callable` for an empty `std::function`, null function pointer and the like.
template <class F>
void require_callable(const F& f) {
  if constexpr (std::is_pointer_v<F> || std::is_member_pointer_v<F> || requires {
                  typename F::result_type;
                  static_cast<bool>(f);
                }) {
    if (!static_cast<bool>(f))
      throw_error(
          errc::empty_callable,
          "the submitted callable is empty (a null function pointer or empty std::function)");
  }
}

/// Where a callable's stop token comes from: its scope.
class stop_bridge {
 public:
  stop_bridge() noexcept {}
  [[nodiscard]] inplace_stop_token token(task_scope& scope) const noexcept { return scope.token(); }
  void reset() noexcept {}
};

/// The same for `std::stop_token`: a source of its own that follows the scope.
class std_stop_bridge {
 public:
  std_stop_bridge() noexcept {}
  [[nodiscard]] std::stop_token token(task_scope& scope) {
    std::stop_source& source = source_.emplace();
    callback_.emplace(scope.token(), request(source));
    return source.get_token();
  }
  void reset() noexcept {
    callback_.reset();
    source_.reset();
  }

 private:
  class request {
   public:
    explicit request(std::stop_source& source) noexcept : source_(&source) {}
    void operator()() const noexcept { (void)source_->request_stop(); }

   private:
    std::stop_source* source_;
  };

  std::optional<std::stop_source> source_;
  std::optional<inplace_stop_callback<request>> callback_;
};

template <class F, class... Args>
using stop_bridge_for =
    std::conditional_t<takes_std_stop_token<F, Args...>, std_stop_bridge, stop_bridge>;

/// Calls with a stop token first if the callable cannot do without. The token is good until the
/// bridge is reset.
template <class F, class... Args>
decltype(auto) invoke_bound(stop_bridge_for<F, Args...>& bridge, task_scope& scope, F& f,
                            Args&... args) {
  if constexpr (takes_stop_token<F, Args...> || takes_std_stop_token<F, Args...>)
    return std::invoke(std::move(f), bridge.token(scope), std::move(args)...);
  else
    return std::invoke(std::move(f), std::move(args)...);
}

/// A control block with room for the outcome.
template <class T>
class result_block : public task_block {
 public:
  // What derived classes add may begin in its last word.
  [[no_unique_address]] result<T> outcome;

 protected:
  using task_block::task_block;
  std::exception_ptr failure() noexcept final {
    return outcome.failed() ? outcome.error() : std::exception_ptr();
  }
};

/// The part that starts a coroutine as a root and collects its outcome.
template <class T>
class coroutine_block : public result_block<T> {
 protected:
  using result_block<T>::result_block;

  /// Starts `task_`; completes the block now or when the coroutine ends.
  void start_coroutine(thread_state& thread) noexcept {
    this->run = &run_ended;
    if (!task_.startable()) {
      try {
        throw_error(errc::no_state, "the submitted callable returned an empty task");
      } catch (...) {
        this->outcome.set_error(std::current_exception());
      }
      finish(thread);
      return;
    }
    auto* const coroutine = task_.begin(this->outcome);
    if (coroutine == nullptr || coroutine->start(*this, this->scope()))
      finish(thread);
  }

  /// Destroys what the task was made from, before its outcome is published.
  virtual void destroy_callable() noexcept {}

  task<T> task_;

 private:
  static void run_ended(job& self, thread_state& thread) noexcept {
    auto& block = static_cast<coroutine_block&>(self);
    if (block.scope().visits()) [[unlikely]] {
      // It is completed at home.
      block.scope().end_visit(thread);
      block.scope().set_home(block.home());
      schedule(block.home(), thread, block);
      return;
    }
    block.finish(thread);
  }

  void finish(thread_state& thread) noexcept {
    if (this->outcome.failed())
      this->outcome.set_error_or_cancelled(std::move(this->outcome.error()));
    task_ = {};
    destroy_callable();
    this->complete(thread);
  }
};

/// `spawn(task)`.
template <class T>
class spawned_block final : public coroutine_block<T> {
 public:
  spawned_block(scheduler& home, task<T> spawned) noexcept : coroutine_block<T>(home, &run_first) {
    this->task_ = std::move(spawned);
  }

 private:
  static void run_first(job& job, thread_state& thread) noexcept {
    auto& self = static_cast<spawned_block&>(job);
    if (self.begin(thread))
      self.start_coroutine(thread);
  }

  void discard(stop_reason reason) noexcept override {
    this->task_ = {};
    this->outcome.set_cancelled(std::move(reason));
  }
};

/// A callable and its arguments, destroyed as soon as they have been used.
template <class F, class... Args>
class bound_call {
 public:
  template <class G, class... As>
  explicit bound_call(std::in_place_t, G&& f, As&&... args)
      : parts_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}

  decltype(auto) operator()(task_scope& scope) {
    return std::apply(
        [&](F& f, Args&... args) -> decltype(auto) {
          return invoke_bound<F, Args...>(bridge_, scope, f, args...);
        },
        *parts_);
  }
  /// One that has not been called yet, with copies.
  [[nodiscard]] bound_call copy() const {
    return std::apply(
        [](const F& f, const Args&... args) { return bound_call(std::in_place, f, args...); },
        *parts_);
  }
  void reset() noexcept {
    parts_.reset();
    bridge_.reset();
  }

 private:
  static_assert(std::is_nothrow_destructible_v<F> && (std::is_nothrow_destructible_v<Args> && ...),
                "a submitted callable and its arguments must have destructors that do not throw");
  static_assert(alignof(std::tuple<F, Args...>) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned callables and arguments are not supported: pass a std::unique_ptr");
  static_assert(!is_task<std::remove_cvref_t<typename raw_result<F, Args...>::type>> ||
                    !keeps_temporary<F, Args...>,
                "a coroutine's reference parameter would refer to a temporary that is made of the "
                "argument and gone when the coroutine runs: take it by value, or pass an argument "
                "of the parameter's own type");
  std::optional<std::tuple<F, Args...>> parts_;
  [[no_unique_address]] stop_bridge_for<F, Args...> bridge_;
};

/// A callable and its arguments of a word at the most, kept where the outcome will be.
template <class F, class... Args>
class lent_call {
  using parts = std::tuple<F, Args...>;

 public:
  template <class T>
  static constexpr bool fits =
      sizeof(parts) <= result<T>::lent_size && alignof(parts) <= alignof(void*) &&
      std::is_nothrow_move_constructible_v<parts> && std::is_nothrow_destructible_v<F> &&
      (std::is_nothrow_destructible_v<Args> && ...) && !takes_std_stop_token<F, Args...>;

  lent_call() noexcept {}
  lent_call(const lent_call&) = delete;
  lent_call& operator=(const lent_call&) = delete;

  template <class T, class G, class... As>
  void emplace(result<T>& place, G&& f, As&&... args) {
    ::new (static_cast<void*>(place.lend())) parts(std::forward<G>(f), std::forward<As>(args)...);
    there_ = true;
  }
  template <class T>
  void reset(result<T>& place) noexcept {
    if (std::exchange(there_, false))
      std::destroy_at(&get(place));
  }
  /// Moved out, so that there is room for the outcome.
  template <class T>
  [[nodiscard]] parts take(result<T>& place) noexcept {
    parts taken(std::move(get(place)));
    reset(place);
    return taken;
  }
  static decltype(auto) call(parts& taken, task_scope& scope) {
    return std::apply(
        [&](F& f, Args&... args) -> decltype(auto) {
          stop_bridge bridge;
          return invoke_bound<F, Args...>(bridge, scope, f, args...);
        },
        taken);
  }

 private:
  template <class T>
  static parts& get(result<T>& place) noexcept {
    return *std::launder(reinterpret_cast<parts*>(place.lend()));
  }

  bool there_ = false;
};

/// `submit(f, args...)` where `f` returns a plain value.
template <class T, class F, class... Args>
class call_block : public result_block<T> {
  static constexpr bool lends = lent_call<F, Args...>::template fits<T>;

 public:
  template <class G, class... As>
  explicit call_block(scheduler& home, G&& f, As&&... args)
    requires(!lends)
      : result_block<T>(home, &run_call),
        call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}
  template <class G, class... As>
  explicit call_block(scheduler& home, G&& f, As&&... args)
    requires(lends)
      : result_block<T>(home, &run_call) {
    call_.emplace(this->outcome, std::forward<G>(f), std::forward<As>(args)...);
  }

 protected:
  ~call_block() override { reset_call(); }

 private:
  static void run_call(job& job, thread_state& thread) noexcept {
    auto& self = static_cast<call_block&>(job);
    if (!self.begin(thread))
      return;
    try {
      self.call();
    } catch (const task_cancelled& cancelled) {
      self.outcome.set_cancelled(cancelled.reason());
    } catch (...) {
      self.outcome.set_error(std::current_exception());
    }
    self.reset_call();
    self.complete(thread);
  }

  void call() {
    if constexpr (lends) {
      auto taken = call_.take(this->outcome);
      if constexpr (std::is_void_v<T>) {
        call_.call(taken, this->scope());
        this->outcome.emplace();
      } else {
        this->outcome.emplace(call_.call(taken, this->scope()));
      }
    } else if constexpr (std::is_void_v<T>) {
      call_(this->scope());
      this->outcome.emplace();
    } else {
      this->outcome.emplace(call_(this->scope()));
    }
  }

  void reset_call() noexcept {
    if constexpr (lends)
      call_.reset(this->outcome);
    else
      call_.reset();
  }

  void discard(stop_reason reason) noexcept override {
    reset_call();
    this->outcome.set_cancelled(std::move(reason));
  }

  [[no_unique_address]] std::conditional_t<lends, lent_call<F, Args...>, bound_call<F, Args...>>
      call_;
};

/// `submit(f, args...)` where `f` returns a `task<T>`. The callable lives until the coroutine has
/// ended: a lambda coroutine uses its captures all that time.
template <class T, class F, class... Args>
class coroutine_call_block : public coroutine_block<T> {
 public:
  template <class G, class... As>
  explicit coroutine_call_block(scheduler& home, G&& f, As&&... args)
      : coroutine_block<T>(home, &run_first),
        call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}

 private:
  static void run_first(job& job, thread_state& thread) noexcept {
    auto& self = static_cast<coroutine_call_block&>(job);
    if (!self.begin(thread))
      return;
    bool made = false;
    try {
      self.task_ = self.call_(self.scope());
      made = true;
    } catch (const task_cancelled& cancelled) {
      self.outcome.set_cancelled(cancelled.reason());
    } catch (...) {
      self.outcome.set_error(std::current_exception());
    }
    if (made) {
      self.start_coroutine(thread);
      return;
    }
    self.call_.reset();
    self.complete(thread);
  }

  void discard(stop_reason reason) noexcept override {
    call_.reset();
    this->outcome.set_cancelled(std::move(reason));
  }

  void destroy_callable() noexcept override { call_.reset(); }

  bound_call<F, Args...> call_;
};

/// The control block's class for `submit(f, args...)`.
template <class F, class... Args>
using block_for = std::conditional_t<
    is_task<std::remove_cvref_t<typename raw_result<F, Args...>::type>>,
    coroutine_call_block<submit_result_t<F, Args...>, std::decay_t<F>, std::decay_t<Args>...>,
    call_block<submit_result_t<F, Args...>, std::decay_t<F>, std::decay_t<Args>...>>;

/// The control block for `submit(f, args...)`, with both references still the caller's.
/// Throws `errc::empty_callable`, `std::bad_alloc`, and what copying the arguments throws.
template <class F, class... Args>
[[nodiscard]] auto* make_block(scheduler& home, F&& f, Args&&... args) {
  require_callable(f);
  return static_cast<result_block<submit_result_t<F, Args...>>*>(
      new block_for<F, Args...>(home, std::forward<F>(f), std::forward<Args>(args)...));
}

} // namespace weir::detail
