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
  /// The coroutine to run, which destroys itself if it ends on the native stack, otherwise whoever
  /// runs it; or null if it has ended, with a value.
  template <std::size_t>
  [[nodiscard, gnu::always_inline]] promise_base* call() noexcept {
    return coroutine_->release(outcome_);
  }

  [[nodiscard]] result<value_type>& outcome() noexcept { return outcome_; }

 private:
  Input* coroutine_;
  result<value_type> outcome_{typename result<value_type>::unset()}; // by all who end it
};

/// As above, called when its turn comes.
template <class Input>
  requires requires { typename Input::function_type; }
class forked_child<Input> {
 public:
  using value_type = typename Input::value_type;

  [[gnu::always_inline]] explicit forked_child(Input& call) noexcept : call_(call) {}

  [[nodiscard]] static bool startable() noexcept { return true; }
  template <std::size_t Index>
  [[nodiscard, gnu::always_inline]] promise_base* call() {
    // At a place of its own: if children had one in common, compilers would keep its address in a
    // register, which each coroutine would have to save.
    union places {
      places() noexcept {}
      ~places() {} // what is there is empty again
      std::array<task<value_type>, Index + 1> tasks;
    } all;
    auto& made = *::new (static_cast<void*>(&all.tasks[Index])) task<value_type>(call_());
    if (made.has_coroutine()) [[likely]]
      return made.release(outcome_);
    if (!made.startable())
      throw_not_startable();
    return made.release(outcome_);
  }

  [[nodiscard]] result<value_type>& outcome() noexcept { return outcome_; }

 private:
  // What is copied at the cost of a pointer saves the way through it.
  static constexpr bool by_value = sizeof(Input) <= 2 * sizeof(void*) &&
                                   std::is_trivially_copy_constructible_v<Input> &&
                                   std::is_trivially_destructible_v<Input>;

  std::conditional_t<by_value, Input, Input&> call_;
  result<value_type> outcome_{typename result<value_type>::unset()}; // by all who end it
};

/// A child of a join that has been built.
template <class Input>
class joined_child final : public child {
 public:
  using value_type = typename Input::value_type;

  explicit joined_child(forked_child<Input>& which) noexcept : which_(&which) {}
  ~joined_child() override {
    if (promise_base* const coroutine = this->coroutine())
      coroutine->handle().destroy();
  }

  [[nodiscard]] std::exception_ptr take_error() noexcept override {
    return std::move(which_->outcome().error());
  }
  [[nodiscard]] stop_reason reason() const noexcept override { return which_->outcome().reason(); }

 private:
  promise_base* make_coroutine() noexcept override {
    try {
      return which_->template call<0>();
    } catch (...) {
      which_->outcome().end_by_error(std::current_exception());
      return nullptr;
    }
  }
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
    if (this->unusual_ != 0) [[unlikely]]
      close();
    else if constexpr (!outcomes_are_trivial)
      std::destroy_at(&children_);
  }

  [[nodiscard, gnu::always_inline]] bool await_ready() {
    return run_all(std::index_sequence_for<Inputs...>());
  }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<>) noexcept { return this->leave(); }
  [[gnu::always_inline]] std::tuple<element_t<typename Inputs::value_type>...> await_resume() {
    check_unusual();
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
    if (this->unusual_ != 0) [[unlikely]]
      check_failures();
  }

 private:
  template <std::size_t First, std::size_t... Rest>
  [[gnu::always_inline]] bool run_all(std::index_sequence<First, Rest...>) {
    if (!(std::get<First>(children_).startable() && ... && std::get<Rest>(children_).startable()))
        [[unlikely]]
      throw_not_startable();
    const bool may_run_here = this->enter(this_thread());
    fork_stack& forks = *this_forks;
    fork_slot* const slots = forks.top();
    if (!may_run_here || !(... && this->push(forks, count - Rest, Rest == 1))) [[unlikely]] {
      this->schedule_all();
      return false;
    }
    return (run_first() && ... && take_one<Rest>(forks, slots + (count - 1 - Rest))) ||
           !this->built();
  }
  bool run_all(std::index_sequence<>) {
    this->parent().stop_scope().check_stop();
    return true;
  }

  [[gnu::always_inline]] bool run_first() noexcept {
    if (run_one<0>()) [[likely]]
      return true;
    this->rest(0, true);
    return false;
  }
  template <std::size_t I>
  [[gnu::always_inline]] bool take_one(fork_stack& forks, fork_slot* slot) noexcept {
    const bool there = forks.pop(slot);
    if (there && run_one<I>()) [[likely]]
      return true;
    this->rest(I, there);
    return false;
  }

  /// \return false if a join was built.
  template <std::size_t I>
  [[gnu::always_inline]] bool run_one() noexcept {
    promise_base* coroutine = nullptr;
    try {
      coroutine = std::get<I>(children_).template call<I>();
    } catch (...) {
      fail<I>();
    }
    if (coroutine != nullptr)
      this->run(*coroutine);
    if (this->unusual_ != 0 && this->built_now()) [[unlikely]]
      return false;
    if constexpr (I + 1 < count)
      this->ended_ = I + 1;
    return true;
  }

  template <std::size_t I>
  [[gnu::noinline, gnu::cold]] void fail() noexcept {
    std::get<I>(children_).outcome().end_by_error(std::current_exception());
    this->unusual_ |= forked_tasks::value_missing;
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
  [[gnu::noinline, gnu::cold]] void close() noexcept {
    if (this->built())
      std::destroy_at(&join_);
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
  static bool run_at(forked_tasks& base, std::size_t index) noexcept {
    return self(base).run_at(index, std::index_sequence_for<Inputs...>());
  }
  template <std::size_t... Is>
  bool run_at(std::size_t index, std::index_sequence<Is...>) noexcept {
    bool ended = false;
    (void)((Is == index && (ended = run_one<Is>(), true)) || ...);
    return ended;
  }
  static constexpr operations types{count, &build_join, &child_at, &run_at};

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
