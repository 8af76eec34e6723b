// SPDX-License-Identifier: MIT
/// \file
/// `when_any`: runs awaitables beside each other until the first one has ended.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/child_range.hpp>

#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace weir {

/// Which of several awaitables has ended first, and its value.
template <class... Ts>
struct when_any_result {
  using value_type = std::variant<detail::element_t<Ts>...>;

  explicit when_any_result(value_type&& first) : index(first.index()), value(std::move(first)) {}

  /// The position among the arguments; the same as `value.index()`.
  std::size_t index;
  /// `std::monostate` stands for `void`, `std::reference_wrapper` for a reference.
  value_type value;
};

namespace detail {

class WEIR_API any_join : public fixed_join {
 protected:
  any_join() noexcept {}
  ~any_join() override;

  /// When the parent goes on: throws `task_cancelled` if nothing was started, or if the first child
  /// was cancelled because its parent was.
  [[nodiscard]] child& winner();

 private:
  bool child_ended(child& which, child_end how, thread_state& thread) noexcept override;

  sync::atomic<child*> winner_{nullptr};
  child_end how_ = child_end::value; // written by the winner, read when the parent goes on
};

template <class... Ts>
class when_any_awaiter final : any_join {
 public:
  explicit when_any_awaiter(std::tuple<task<Ts>...>&& tasks) noexcept
      : children_(std::move(tasks)) {
    std::apply([this](auto&... each) { (this->add(each), ...); }, children_);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    return this->launch(weir_promise_of(parent));
  }
  when_any_result<Ts...> await_resume() {
    return result_of(this->winner(), std::index_sequence_for<Ts...>());
  }

 private:
  template <std::size_t... I>
  when_any_result<Ts...> result_of(const child& first, std::index_sequence<I...>) {
    std::optional<typename when_any_result<Ts...>::value_type> value;
    (this->template take_if<I>(value, first), ...);
    return when_any_result<Ts...>(std::move(*value));
  }
  template <std::size_t I, class Value>
  void take_if(std::optional<Value>& value, const child& first) {
    auto& candidate = std::get<I>(children_);
    if (&candidate == &first)
      value.emplace(std::in_place_index<I>, take_element(candidate));
  }

  std::tuple<task_child<Ts>...> children_;
};

template <class T>
class when_any_range_awaiter final : any_join {
 public:
  explicit when_any_range_awaiter(std::vector<task<T>>&& tasks) : children_(std::move(tasks)) {
    for (std::size_t i = 0; i < children_.size(); ++i)
      this->add(children_[i]);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    return this->launch(weir_promise_of(parent));
  }
  auto await_resume() {
    const std::size_t index = children_.index_of(this->winner());
    if constexpr (std::is_void_v<T>) {
      children_[index].take();
      return index;
    } else {
      return std::pair<std::size_t, element_t<T>>(index, take_element(children_[index]));
    }
  }

 private:
  child_array<T> children_;
};

} // namespace detail

/// What `when_any` gives: await it, once.
template <class... Ts>
class [[nodiscard("await this: nothing has been started yet")]] when_any_awaitable {
 public:
  explicit when_any_awaitable(task<Ts>... tasks) noexcept : tasks_(std::move(tasks)...) {}
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::when_any_awaiter<Ts...>(std::move(tasks_));
  }

 private:
  std::tuple<task<Ts>...> tasks_;
};

/// As `when_any_awaitable`, of a range.
template <class T>
class [[nodiscard("await this: nothing has been started yet")]] when_any_range_awaitable {
 public:
  explicit when_any_range_awaitable(std::vector<task<T>> tasks) noexcept
      : tasks_(std::move(tasks)) {}
  [[nodiscard]] auto operator co_await() {
    return detail::when_any_range_awaiter<T>(std::move(tasks_));
  }

 private:
  std::vector<task<T>> tasks_;
};

namespace detail {

WEIR_API void require_any(std::size_t count);

} // namespace detail

/// `auto first = co_await when_any(f(), g());` runs all at once; the first one to end, by a value
/// or an exception, wins. The others get a stop request (`stop_cause::not_needed`) and are waited
/// for, so that none outlives this expression; one that has not started never does.
///
/// Gives a `when_any_result`, or throws what the winner threw. Values of the others are dropped;
/// their exceptions other than `task_cancelled` are counted in
/// `runtime_stats::suppressed_exceptions`. Otherwise, and in what it allocates, as `when_all`.
template <awaitable First, awaitable... More>
[[nodiscard]] auto when_any(First&& first, More&&... more) {
  return when_any_awaitable<detail::child_result_t<First>, detail::child_result_t<More>...>(
      detail::as_task(std::forward<First>(first)), detail::as_task(std::forward<More>(more))...);
}

/// As above for a range of `task<T>`: gives a `std::pair` of the winner's index and its value, or
/// just the index for `task<>`. Throws `errc::invalid_option` for an empty range, now.
template <task_range Range>
[[nodiscard]] auto when_any(Range&& tasks) {
  using value = detail::range_task_t<Range>;
  auto all = detail::tasks_of<value>(std::forward<Range>(tasks));
  detail::require_any(all.size());
  return when_any_range_awaitable<value>(std::move(all));
}

} // namespace weir
