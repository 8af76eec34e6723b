// SPDX-License-Identifier: MIT
/// \file
/// A call with a time limit: a coroutine around it.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/submit.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/task.hpp>
#include <weir/with_timeout.hpp>

#include <type_traits>
#include <utility>

namespace weir::detail {

template <class F, class... Args>
class limited_call {
 public:
  using value = submit_result_t<F, Args...>;

  template <class G, class... As>
  limited_call(clock_source::duration limit, std::in_place_t, G&& f, As&&... args)
      : limit_(limit), call_(std::in_place, std::forward<G>(f), std::forward<As>(args)...) {}
  limited_call(limited_call&& other) noexcept(
      std::is_nothrow_move_constructible_v<bound_call<F, Args...>>)
      : limit_(other.limit_), call_(std::move(other.call_)) {}

  /// The control block keeps this until the coroutine has ended.
  task<value> operator()() {
    auto limited = with_timeout(made(), limit_);
    co_return co_await limited;
  }

 private:
  /// Runs under the scope that is stopped: so does the token that the callable gets.
  task<value> made() {
    task_scope& scope = *running_task(this_thread());
    if constexpr (is_task<std::remove_cvref_t<typename raw_result<F, Args...>::type>>)
      co_return co_await call_(scope);
    else
      co_return call_(scope);
  }

  clock_source::duration limit_;
  bound_call<F, Args...> call_;
};

} // namespace weir::detail
