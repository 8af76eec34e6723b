// SPDX-License-Identifier: MIT
/// \file
/// `when_all`: runs awaitables beside each other and goes on when all have ended.
#pragma once

#include <weir/detail/all_join.hpp>
#include <weir/detail/child_range.hpp>
#include <weir/detail/forked_awaiter.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

/// First argument of `when_all`: the first child that fails stops the others.
struct stop_on_failure_t {
  explicit stop_on_failure_t() = default;
};
inline constexpr stop_on_failure_t stop_on_failure{};

namespace detail {

template <class... Ts>
class stoppable_when_all_awaiter final : all_join {
 public:
  stoppable_when_all_awaiter(std::tuple<task<Ts>...>&& tasks) noexcept
      : all_join(true), children_(std::move(tasks)) {
    std::apply([this](auto&... each) { (this->add(each), ...); }, children_);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    return this->launch(weir_promise_of(parent));
  }
  std::tuple<element_t<Ts>...> await_resume() {
    this->check_failures();
    return std::apply(
        [](auto&... each) { return std::tuple<element_t<Ts>...>(take_element(each)...); },
        children_);
  }

 private:
  std::tuple<task_child<Ts>...> children_;
};

template <class T>
class when_all_range_awaiter final : all_join {
 public:
  when_all_range_awaiter(bool stops_others, std::vector<task<T>>&& tasks)
      : all_join(stops_others), children_(std::move(tasks)) {
    for (std::size_t i = 0; i < children_.size(); ++i)
      this->add(children_[i]);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    return this->launch(weir_promise_of(parent));
  }
  auto await_resume() {
    this->check_failures();
    if constexpr (!std::is_void_v<T>) {
      std::vector<element_t<T>> values;
      values.reserve(children_.size());
      for (std::size_t i = 0; i < children_.size(); ++i)
        values.push_back(take_element(children_[i]));
      return values;
    }
  }

 private:
  child_array<T> children_;
};

} // namespace detail

/// What `when_all` gives: await it, once.
template <class... Ts>
class [[nodiscard("await this: nothing has been started yet")]] when_all_awaitable final
    : public detail::forked_awaitable<task<Ts>...> {
 public:
  using detail::forked_awaitable<task<Ts>...>::forked_awaitable;
  /// For concepts, and to tell other coroutines what to do: a `task` does not call it.
  [[nodiscard]] auto operator co_await() noexcept {
    return std::apply(
        [](auto&... each) {
          return detail::stoppable_when_all_awaiter<Ts...>(
              std::tuple<task<Ts>...>(std::move(each.input())...));
        },
        this->children());
  }
};

/// What `when_all(stop_on_failure, ...)` gives: await it, once.
template <class... Ts>
class [[nodiscard("await this: nothing has been started yet")]] stoppable_when_all_awaitable {
 public:
  explicit stoppable_when_all_awaitable(task<Ts>... tasks) noexcept : tasks_(std::move(tasks)...) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::stoppable_when_all_awaiter<Ts...>(std::move(tasks_));
  }

 private:
  std::tuple<task<Ts>...> tasks_;
};

/// As `when_all_awaitable`, of a range.
template <class T>
class [[nodiscard("await this: nothing has been started yet")]] when_all_range_awaitable {
 public:
  when_all_range_awaitable(bool stops_others, std::vector<task<T>> tasks) noexcept
      : stops_others_(stops_others), tasks_(std::move(tasks)) {}
  [[nodiscard]] auto operator co_await() {
    return detail::when_all_range_awaiter<T>(stops_others_, std::move(tasks_));
  }

 private:
  bool stops_others_;
  std::vector<task<T>> tasks_;
};

/// `auto [a, b] = co_await when_all(f(), g());` runs all at once, each where a worker is free, and
/// goes on when all have ended.
///
/// Gives a `std::tuple` of the results, `std::monostate` for `void` and `std::reference_wrapper`
/// for references. Rvalue awaitables are moved in, lvalues referred to. If children fail, the first
/// exception is thrown after all have ended, further ones are counted in
/// `runtime_stats::suppressed_exceptions`; if one was cancelled and none failed, `task_cancelled`.
/// Stop requested of the awaiting task is handed on to all children; if it was requested before,
/// none starts. Throws `errc::no_state` for empty or used tasks.
///
/// The first child runs at once on this worker, and the next one after it, unless another worker
/// takes it meanwhile; so a child that does not suspend costs little more than to await it alone
/// (docs/fork-join.md). Allocates nothing but a coroutine frame for each awaitable that is no task.
template <awaitable... As>
[[nodiscard]] auto when_all(As&&... awaitables) {
  return when_all_awaitable<detail::child_result_t<As>...>(
      detail::as_task(std::forward<As>(awaitables))...);
}

/// As above; the first child that fails or is cancelled stops the others, by
/// `stop_cause::sibling_failed`.
template <awaitable... As>
[[nodiscard]] auto when_all(stop_on_failure_t, As&&... awaitables) {
  return stoppable_when_all_awaitable<detail::child_result_t<As>...>(
      detail::as_task(std::forward<As>(awaitables))...);
}

/// As above for a range of `task<T>`: gives a `std::vector` of the results in the range's order,
/// nothing for `task<>`. An empty range is done at once. Allocates one array for the children, and
/// one for the tasks unless they come as a `std::vector`.
template <task_range Range>
[[nodiscard]] auto when_all(Range&& tasks) {
  using value = detail::range_task_t<Range>;
  return when_all_range_awaitable<value>(false,
                                         detail::tasks_of<value>(std::forward<Range>(tasks)));
}
template <task_range Range>
[[nodiscard]] auto when_all(stop_on_failure_t, Range&& tasks) {
  using value = detail::range_task_t<Range>;
  return when_all_range_awaitable<value>(true, detail::tasks_of<value>(std::forward<Range>(tasks)));
}

} // namespace weir
