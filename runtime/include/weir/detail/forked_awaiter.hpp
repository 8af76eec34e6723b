// SPDX-License-Identifier: MIT
/// \file
/// How a coroutine waits for children that it forks: `when_all` of tasks, `join` of calls.
#pragma once

#include <weir/detail/all_join.hpp>
#include <weir/detail/forked_tasks.hpp>

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// A child in its parent's awaiter. `Input` is a task.
template <class Input>
class forked_child {
 public:
  using value_type = typename Input::value_type;

  [[gnu::always_inline]] explicit forked_child(Input& coroutine) noexcept
      : coroutine_(&coroutine) {}

  [[nodiscard, gnu::always_inline]] bool startable() const noexcept {
    return coroutine_->startable();
  }
  /// The coroutine to run on the native stack, or null if it has ended there, with an outcome.
  [[nodiscard, gnu::always_inline]] promise_base* call() noexcept {
    return coroutine_->begin(outcome_);
  }
  /// The same for a child that runs by itself.
  [[nodiscard]] promise_base* make() noexcept { return call(); }
  /// It has ended on the native stack, and destroyed itself.
  [[gnu::always_inline]] void ended_in_place() noexcept { forget(); }
  /// The same, found out later.
  [[gnu::always_inline]] void forget() noexcept { coroutine_->forget(); }
  /// Once nobody runs any more. `ended`: it has ended on the native stack.
  void close(bool) noexcept {}

  [[nodiscard]] result<value_type>& outcome() noexcept { return outcome_; }

 private:
  Input* coroutine_;
  result<value_type> outcome_;
};

/// As above, called when its turn comes.
template <class Input>
  requires requires { typename Input::function_type; }
class forked_child<Input> {
 public:
  using value_type = typename Input::value_type;

  forked_child(const forked_child&) = delete;
  forked_child& operator=(const forked_child&) = delete;
  ~forked_child() {}

  [[gnu::always_inline]] explicit forked_child(Input& call) noexcept : call_(&call) {}

  [[nodiscard]] static bool startable() noexcept { return true; }
  [[nodiscard, gnu::always_inline]] promise_base* call() noexcept {
    try {
      ::new (static_cast<void*>(&coroutine_)) task<value_type>((*call_)());
    } catch (...) {
      outcome_.set_error(std::current_exception());
      return nullptr;
    }
    if (coroutine_.startable()) [[likely]]
      return coroutine_.begin(outcome_);
    return not_startable();
  }
  [[nodiscard]] promise_base* make() noexcept { return call(); }
  void ended_in_place() noexcept {} // close() sees to it, if it is called at all
  void forget() noexcept { coroutine_.forget(); }
  void close(bool ended) noexcept {
    if (ended)
      forget();
    std::destroy_at(&coroutine_);
  }

  [[nodiscard]] result<value_type>& outcome() noexcept { return outcome_; }

 private:
  [[gnu::noinline, gnu::cold]] promise_base* not_startable() noexcept {
    coroutine_.forget();
    try {
      throw_not_startable();
    } catch (...) {
      outcome_.set_error(std::current_exception());
    }
    return nullptr;
  }

  Input* call_;
  union {
    task<value_type> coroutine_{};
  };
  result<value_type> outcome_;
};

/// A child of a join that has been built.
template <class Input>
class joined_child final : public child {
 public:
  using value_type = typename Input::value_type;

  explicit joined_child(forked_child<Input>& which) noexcept : which_(&which) {}

  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(which_->outcome().error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return which_->outcome().reason(); }

 private:
  promise_base* make_coroutine() noexcept override { return which_->make(); }
  child_end settle(bool started) noexcept override {
    return settle_outcome(which_->outcome(), started, this->scope());
  }

  forked_child<Input>* which_;
};

/// The join of forked children, when there is one.
template <class... Inputs>
class forked_join final : public all_join {
 public:
  using children = std::tuple<forked_child<Inputs>...>;

  /// The first `ended` of them have ended.
  forked_join(task_scope& parent, children& all, std::size_t ended) noexcept
      : forked_join(parent, all, ended, std::index_sequence_for<Inputs...>()) {}
  ~forked_join() override = default;

  [[nodiscard]] child& at(std::size_t index) noexcept {
    std::array<child*, sizeof...(Inputs)> all{};
    std::apply([&](auto&... each) { all = {&each...}; }, children_);
    return *all[index];
  }
  using join::check_failures;

 private:
  template <std::size_t... Is>
  forked_join(task_scope& parent, children& all, std::size_t ended,
              std::index_sequence<Is...>) noexcept
      : all_join(false), children_(std::get<Is>(all)...) {
    this->belong_to(parent);
    (enlist(std::get<Is>(children_), Is < ended), ...);
  }
  template <class Child>
  void enlist(Child& c, bool ended) noexcept {
    if (ended) {
      this->ended_before(c);
    } else {
      this->add(c);
    }
  }

  std::tuple<joined_child<Inputs>...> children_;
};

/// Awaits children that are forked, see forked_tasks.hpp.
template <class... Inputs>
class forked_awaiter : forked_tasks {
  static constexpr std::size_t count = sizeof...(Inputs);
  static_assert(count <= fork_stack::reserve, "give when_all a range for so many children");
  static constexpr bool outcomes_are_trivial =
      (... && (std::is_void_v<typename Inputs::value_type> ||
               std::is_trivially_destructible_v<element_t<typename Inputs::value_type>>));

 public:
  [[gnu::always_inline]] explicit forked_awaiter(promise_base& parent, Inputs&... inputs) noexcept
      : forked_tasks(parent, types), children_(inputs...) {}
  forked_awaiter(const forked_awaiter&) = delete;
  forked_awaiter& operator=(const forked_awaiter&) = delete;
  [[gnu::always_inline]] ~forked_awaiter() {
    if (this->unusual_) [[unlikely]]
      close(std::index_sequence_for<Inputs...>());
    else if constexpr (!outcomes_are_trivial)
      std::destroy_at(&children_);
  }

  [[nodiscard, gnu::always_inline]] bool await_ready() {
    return run_all(std::index_sequence_for<Inputs...>());
  }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<>) noexcept { return this->leave(); }
  [[gnu::always_inline]] std::tuple<element_t<typename Inputs::value_type>...> await_resume() {
    if (this->unusual_) [[unlikely]]
      check_failures();
    return std::apply(
        [](auto&... each) {
          return std::tuple<element_t<typename Inputs::value_type>...>(
              take_element(each.outcome())...);
        },
        children_);
  }

 protected:
  [[gnu::always_inline]] auto& first() noexcept { return std::get<0>(children_); }
  [[gnu::always_inline]] void check_unusual() {
    if (this->unusual_) [[unlikely]]
      check_failures();
  }

 private:
  template <std::size_t First, std::size_t... Rest>
  [[gnu::always_inline]] bool run_all(std::index_sequence<First, Rest...>) {
    if (!(std::get<First>(children_).startable() && ... && std::get<Rest>(children_).startable()))
        [[unlikely]]
      throw_not_startable();
    thread_state& thread = this_thread();
    const bool may_run_here = this->enter(thread);
    fork_stack& forks = *this_forks;
    if (!may_run_here || !(... && this->push(forks, count - Rest, Rest == 1))) [[unlikely]] {
      this->schedule_all(thread);
      return false;
    }
    return (run_first(thread) && ... && take_one<Rest>(thread, forks)) || !this->built();
  }
  bool run_all(std::index_sequence<>) {
    this->parent().stop_scope().check_stop();
    return true;
  }

  [[gnu::always_inline]] bool run_first(thread_state& thread) noexcept {
    if (run_one<0>(thread)) [[likely]]
      return true;
    this->rest(thread, 0, true);
    return false;
  }
  template <std::size_t I>
  [[gnu::always_inline]] bool take_one(thread_state& thread, fork_stack& forks) noexcept {
    const bool there = forks.pop();
    if (there && run_one<I>(thread)) [[likely]]
      return true;
    this->rest(thread, I, there);
    return false;
  }

  /// \return false if a join was built.
  template <std::size_t I>
  [[gnu::always_inline]] bool run_one(thread_state& thread) noexcept {
    auto& which = std::get<I>(children_);
    if (promise_base* const coroutine = which.call()) {
      if (!this->run(thread, *coroutine)) [[unlikely]]
        return false;
      ended<I>(which);
      return true;
    }
    if (this->built()) [[unlikely]]
      return false;
    ended<I>(which);
    return true;
  }
  template <std::size_t I, class Child>
  [[gnu::always_inline]] void ended(Child& which) noexcept {
    this->ended_ = I + 1;
    which.ended_in_place();
    if (!which.outcome().has_value()) [[unlikely]]
      this->unusual_ = true;
  }

  [[gnu::noinline, gnu::cold]] void check_failures() {
    if (this->built()) {
      join_.check_failures();
      return;
    }
    // As the join would, of children that never had one.
    forked_join<Inputs...> made(this->parent().scope(), children_, count);
    made.check_failures();
  }
  template <std::size_t... Is>
  [[gnu::noinline, gnu::cold]] void close(std::index_sequence<Is...>) noexcept {
    if (this->built())
      std::destroy_at(&join_);
    (std::get<Is>(children_).close(Is < this->ended_), ...);
    std::destroy_at(&children_);
  }

  static forked_awaiter& self(forked_tasks& base) noexcept {
    return static_cast<forked_awaiter&>(base);
  }
  static fixed_join& build_join(forked_tasks& base) noexcept {
    auto& owner = self(base);
    return *std::construct_at(&owner.join_, owner.parent().scope(), owner.children_, owner.ended_);
  }
  static child& child_at(forked_tasks& base, std::size_t index) noexcept {
    return self(base).join_.at(index);
  }
  static bool run_at(forked_tasks& base, thread_state& thread, std::size_t index) noexcept {
    return self(base).run_at(thread, index, std::index_sequence_for<Inputs...>());
  }
  template <std::size_t... Is>
  bool run_at(thread_state& thread, std::size_t index, std::index_sequence<Is...>) noexcept {
    bool ended = false;
    (void)((Is == index && (ended = run_one<Is>(thread), true)) || ...);
    return ended;
  }
  static void forget_at(forked_tasks& base, std::size_t index) noexcept {
    std::size_t i = 0;
    std::apply([&](auto&... each) { ((i++ == index ? each.forget() : void()), ...); },
               self(base).children_);
  }
  static constexpr operations types{count, &build_join, &child_at, &run_at, &forget_at};

  union {
    std::tuple<forked_child<Inputs>...> children_;
  };
  union {
    forked_join<Inputs...> join_; // if built
  };
};

/// Awaits one child that is called, for its value.
template <class Call>
class called_awaiter final : public forked_awaiter<Call> {
 public:
  using forked_awaiter<Call>::forked_awaiter;
  [[gnu::always_inline]] typename Call::value_type await_resume() {
    this->check_unusual();
    return this->first().outcome().take_value();
  }
};

/// What has tasks or calls for children, in its own frame.
template <class... Inputs>
class forked_awaitable {
 public:
  using forks_children = void;

  template <class... Given>
  [[gnu::always_inline]] explicit forked_awaitable(std::in_place_t, Given&&... inputs) noexcept(
      (... && std::is_nothrow_constructible_v<Inputs, Given>))
      : inputs_(std::forward<Given>(inputs)...) {}

  /// For the library.
  [[nodiscard, gnu::always_inline]] forked_awaiter<Inputs...>
  await_in(promise_base& parent) noexcept {
    return await_in(parent, std::index_sequence_for<Inputs...>());
  }

 protected:
  std::tuple<Inputs...> inputs_;

 private:
  template <std::size_t... Is>
  [[gnu::always_inline]] forked_awaiter<Inputs...> await_in(promise_base& parent,
                                                            std::index_sequence<Is...>) noexcept {
    return forked_awaiter<Inputs...>(parent, std::get<Is>(inputs_)...);
  }
};

} // namespace weir::detail
