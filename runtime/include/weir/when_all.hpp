// SPDX-License-Identifier: MIT
/// \file
/// `when_all`: runs awaitables beside each other and goes on when all have ended.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/child_range.hpp>

#include <cstddef>
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

class WEIR_API all_join : public fork_join {
 protected:
  explicit all_join(bool stops_others) noexcept : stops_others_(stops_others) {}
  ~all_join() override;

  /// What the end of `which` means for the others.
  void failed(child& which, child_end how) noexcept;

 private:
  void child_ended(child& which, child_end how, thread_state& thread) noexcept override;

  const bool stops_others_;
};

template <class... Ts>
class when_all_awaiter final : all_join {
 public:
  when_all_awaiter(bool stops_others, std::tuple<task<Ts>...>&& tasks) noexcept
      : all_join(stops_others), children_(std::move(tasks)) {
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
class [[nodiscard("await this: nothing has been started yet")]] when_all_awaitable {
 public:
  when_all_awaitable(bool stops_others, task<Ts>... tasks) noexcept
      : stops_others_(stops_others), tasks_(std::move(tasks)...) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::when_all_awaiter<Ts...>(stops_others_, std::move(tasks_));
  }

 private:
  bool stops_others_;
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
/// Each child has a stop state of its own: `this_task::stop_token()` in it is not
/// the parent's. Allocates nothing but a coroutine frame for each awaitable that is no task.
template <awaitable... As>
[[nodiscard]] auto when_all(As&&... awaitables) {
  return when_all_awaitable<detail::child_result_t<As>...>(
      false, detail::as_task(std::forward<As>(awaitables))...);
}

/// As above; the first child that fails or is cancelled stops the others, by
/// `stop_cause::sibling_failed`.
template <awaitable... As>
[[nodiscard]] auto when_all(stop_on_failure_t, As&&... awaitables) {
  return when_all_awaitable<detail::child_result_t<As>...>(
      true, detail::as_task(std::forward<As>(awaitables))...);
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
