// SPDX-License-Identifier: MIT
/// \file
/// `when_all`: runs awaitables beside each other and goes on when all have ended.
#pragma once

#include <weir/detail/child.hpp>
#include <weir/detail/child_range.hpp>
#include <weir/detail/forked_tasks.hpp>

#include <array>
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

class WEIR_API all_join : public fixed_join {
 protected:
  explicit all_join(bool stops_others) noexcept : stops_others_(stops_others) {}
  ~all_join() override;

  /// What the end of `which` means for the others.
  void failed(child& which, child_end how) noexcept;
  /// The end of one that never was a child of this join.
  void ended_before(child& which) noexcept;

 private:
  void child_ended(child& which, child_end how, thread_state& thread) noexcept override;

  const bool stops_others_;
};

/// The join of forked children, when there is one.
template <class... Ts>
class forked_join final : public all_join {
 public:
  forked_join(task_scope& parent, std::tuple<task<Ts>...>& tasks,
              std::tuple<result<Ts>...>& outcomes) noexcept
      : forked_join(parent, tasks, outcomes, std::index_sequence_for<Ts...>()) {}
  ~forked_join() override = default;

  [[nodiscard]] child& at(std::size_t index) noexcept {
    std::array<child*, sizeof...(Ts)> all{};
    std::apply([&](auto&... each) { all = {&each...}; }, children_);
    return *all[index];
  }
  using join::check_failures;

 private:
  template <std::size_t... Is>
  forked_join(task_scope& parent, std::tuple<task<Ts>...>& tasks,
              std::tuple<result<Ts>...>& outcomes, std::index_sequence<Is...>) noexcept
      : all_join(false), children_(fork_of<Ts>{std::get<Is>(tasks), std::get<Is>(outcomes)}...) {
    this->belong_to(parent);
    (enlist(std::get<Is>(children_), std::get<Is>(tasks)), ...);
  }
  template <class T>
  void enlist(forked_child<T>& c, const task<T>& coroutine) noexcept {
    if (coroutine)
      this->add(c);
    else
      this->ended_before(c);
  }

  std::tuple<forked_child<Ts>...> children_;
};

/// Awaits `when_all`, see forked_tasks.hpp.
template <class... Ts>
class when_all_awaiter final : forked_tasks {
  static constexpr std::size_t count = sizeof...(Ts);
  static_assert(count <= fork_stack::reserve, "give when_all a range for so many children");

 public:
  when_all_awaiter(promise_base& parent, when_all_awaitable<Ts...>& awaited) noexcept
      : forked_tasks(parent, types), tasks_(&awaited.tasks_) {}
  when_all_awaiter(const when_all_awaiter&) = delete;
  when_all_awaiter& operator=(const when_all_awaiter&) = delete;
  [[gnu::always_inline]] ~when_all_awaiter() {
    if (this->built()) [[unlikely]]
      std::destroy_at(&join_);
  }

  [[nodiscard, gnu::always_inline]] bool await_ready() {
    return run_all(std::index_sequence_for<Ts...>());
  }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<>) noexcept { return this->leave(); }
  [[gnu::always_inline]] std::tuple<element_t<Ts>...> await_resume() {
    return take_all(std::index_sequence_for<Ts...>());
  }

 private:
  template <std::size_t I>
  [[nodiscard, gnu::always_inline]] auto& promise() const noexcept {
    return *std::get<I>(*tasks_).promise();
  }

  template <std::size_t First, std::size_t... Rest>
  [[gnu::always_inline]] bool run_all(std::index_sequence<First, Rest...>) {
    if (!(startable(std::get<First>(*tasks_)) && ... && startable(std::get<Rest>(*tasks_))))
        [[unlikely]]
      throw_not_startable();
    thread_state& thread = this_thread();
    const bool may_run_here = this->enter(thread);
    promise<First>().where = &std::get<First>(outcomes_);
    ((promise<Rest>().where = &std::get<Rest>(outcomes_)), ...);
    fork_stack& forks = *this_forks;
    if (!may_run_here || !(... && this->push(forks, promise<count - Rest>(), Rest == 1)))
        [[unlikely]] {
      this->schedule_all(thread);
      return false;
    }
    const void* const below = thread.call_top;
    const bool here = run_one<First>(thread) && (... && take_one<Rest>(thread, forks));
    thread.call_top = below;
    return here || !this->built();
  }
  bool run_all(std::index_sequence<>) {
    this->parent().stop_scope().check_stop();
    return true;
  }

  template <std::size_t I>
  [[gnu::always_inline]] bool run_one(thread_state& thread) noexcept {
    if (!this->run(thread, promise<I>())) [[unlikely]] {
      this->rest(thread, I, true);
      return false;
    }
    std::get<I>(*tasks_).forget();
    return true;
  }
  template <std::size_t I>
  [[gnu::always_inline]] bool take_one(thread_state& thread, fork_stack& forks) noexcept {
    if (!forks.pop()) [[unlikely]] {
      this->rest(thread, I, false);
      return false;
    }
    return run_one<I>(thread);
  }

  template <std::size_t... Is>
  [[gnu::always_inline]] std::tuple<element_t<Ts>...> take_all(std::index_sequence<Is...>) {
    if (this->built()) [[unlikely]]
      join_.check_failures();
    else if (!(std::get<Is>(outcomes_).has_value() && ...)) [[unlikely]]
      throw_failure();
    return {take_element(std::get<Is>(outcomes_))...};
  }

  /// As the join would, of children that never had one.
  [[noreturn, gnu::noinline, gnu::cold]] void throw_failure() {
    forked_join<Ts...> made(this->parent().scope(), *tasks_, outcomes_);
    made.check_failures();
    std::terminate(); // not reached: one has failed
  }

  static when_all_awaiter& self(forked_tasks& base) noexcept {
    return static_cast<when_all_awaiter&>(base);
  }
  static fixed_join& build_join(forked_tasks& base) noexcept {
    auto& owner = self(base);
    return *std::construct_at(&owner.join_, owner.parent().scope(), *owner.tasks_, owner.outcomes_);
  }
  static child& child_at(forked_tasks& base, std::size_t index) noexcept {
    return self(base).join_.at(index);
  }
  static promise_base* promise_at(forked_tasks& base, std::size_t index) noexcept {
    std::array<promise_base*, count> all{};
    std::apply([&](auto&... each) { all = {each.promise()...}; }, *self(base).tasks_);
    return all[index];
  }
  static void forget_at(forked_tasks& base, std::size_t index) noexcept {
    std::size_t i = 0;
    std::apply([&](auto&... each) { ((i++ == index ? each.forget() : void()), ...); },
               *self(base).tasks_);
  }
  static constexpr operations types{count, &build_join, &child_at, &promise_at, &forget_at};

  std::tuple<task<Ts>...>* tasks_;
  std::tuple<result<Ts>...> outcomes_;
  union {
    forked_join<Ts...> join_; // if built
  };
};

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
class [[nodiscard("await this: nothing has been started yet")]] when_all_awaitable {
 public:
  [[gnu::always_inline]] explicit when_all_awaitable(task<Ts>&&... tasks) noexcept
      : tasks_(std::move(tasks)...) {}
  /// For concepts, and to tell other coroutines what to do: a `task` does not call it.
  [[nodiscard]] auto operator co_await() noexcept {
    return detail::stoppable_when_all_awaiter<Ts...>(std::move(tasks_));
  }

 private:
  friend class detail::when_all_awaiter<Ts...>;

  std::tuple<task<Ts>...> tasks_;
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
