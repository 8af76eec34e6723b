// SPDX-License-Identifier: MIT
/// \file
/// `task_callback`: what a pool calls when a task ends or was cancelled.
#pragma once

#include <weir/detail/submit.hpp>
#include <weir/pool/errors.hpp>
#include <weir/stop_token.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

/// Takes a `task_id`, a `task_id` and an `inplace_stop_token`, or nothing.
template <class F>
concept callback_of_task = std::invocable<F&, task_id> ||
                           std::invocable<F&, task_id, inplace_stop_token> || std::invocable<F&>;

} // namespace detail

/// A callable of the task's id, of id and `inplace_stop_token`, or of nothing; plain, or a
/// coroutine, which is awaited.
///
/// It may be called by several tasks at the same time. What it gives is dropped, what it throws
/// becomes the task's exception. Stop requested of the task does not reach it; its token is that
/// of a time limit (`callback_timeout` of the pool's options). Copies share the callable.
class task_callback {
 public:
  /// None.
  task_callback() noexcept {}

  template <class F>
    requires(!std::same_as<std::decay_t<F>, task_callback> &&
             detail::callback_of_task<std::decay_t<F>>)
  task_callback(F&& f) // NOLINT: any callable is a callback
      : callable_(make(std::forward<F>(f))) {}
  /// A callback takes a `task_id`, a `task_id` and an `inplace_stop_token`, or nothing; and can be
  /// copied or moved into one.
  template <class F>
    requires(!std::same_as<std::decay_t<F>, task_callback> &&
             !detail::callback_of_task<std::decay_t<F>>)
  task_callback(F&&) = delete; // NOLINT: as above

  [[nodiscard]] explicit operator bool() const noexcept { return callable_ != nullptr; }

  /// For the library. Only one of the two calls fits.
  [[nodiscard]] bool is_coroutine() const noexcept { return callable_->coroutine; }
  void call(task_id id) const { callable_->call(id); }
  [[nodiscard]] task<> start(task_id id, inplace_stop_token token) const {
    return callable_->start(id, token);
  }

 private:
  struct any {
    explicit any(bool is_coroutine) noexcept : coroutine(is_coroutine) {}
    any(const any&) = delete;
    any& operator=(const any&) = delete;
    virtual ~any() = default;
    virtual void call(task_id id) = 0;
    virtual task<> start(task_id id, inplace_stop_token token) = 0;
    const bool coroutine;
  };

  template <class F>
  static decltype(auto) invoke(F& f, task_id id, inplace_stop_token token) {
    if constexpr (std::invocable<F&, task_id>)
      return std::invoke(f, id);
    else if constexpr (std::invocable<F&, task_id, inplace_stop_token>)
      return std::invoke(f, id, token);
    else
      return std::invoke(f);
  }

  template <class F>
  struct one final : any {
    using given =
        std::remove_cvref_t<decltype(invoke(std::declval<F&>(), task_id(), inplace_stop_token()))>;
    static constexpr bool awaited = detail::is_task<given>;

    template <class G>
    one(std::in_place_t, G&& g) : any(awaited), f(std::forward<G>(g)) {}

    void call(task_id id) override {
      if constexpr (!awaited)
        (void)invoke(f, id, inplace_stop_token());
    }
    task<> start(task_id id, inplace_stop_token token) override {
      if constexpr (std::same_as<given, task<>>)
        return invoke(f, id, token);
      else if constexpr (awaited)
        return drop_result(invoke(f, id, token));
      else
        return {};
    }

    F f;
  };

  template <class T>
  static task<> drop_result(task<T> awaited) {
    (void)co_await std::move(awaited);
  }

  template <class F>
  static std::shared_ptr<any> make(F&& f) {
    // An empty std::function or null pointer is none.
    if constexpr (std::is_pointer_v<std::decay_t<F>> || requires {
                    typename std::decay_t<F>::result_type;
                    static_cast<bool>(f);
                  }) {
      if (!static_cast<bool>(f))
        return nullptr;
    }
    return std::make_shared<one<std::decay_t<F>>>(std::in_place, std::forward<F>(f));
  }

  std::shared_ptr<any> callable_;
};

} // namespace weir
