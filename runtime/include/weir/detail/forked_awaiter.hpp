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

/// A child in its parent's awaiter: a task, or a call that gives one.
template <class Input>
class forked_child {
 public:
  using value_type = typename Input::value_type;
  static constexpr bool is_call = requires { typename Input::function_type; };
  static constexpr bool outcome_is_trivial =
      std::is_void_v<value_type> || std::is_trivially_destructible_v<element_t<value_type>>;

  [[gnu::always_inline]] explicit forked_child(Input&& input) noexcept(
      std::is_nothrow_move_constructible_v<Input>)
      : input_(std::move(input)), outcome_(typename result<value_type>::unset()) {}
  /// Of one that has not been started.
  [[gnu::always_inline]] forked_child(forked_child&& other) noexcept(
      std::is_nothrow_move_constructible_v<Input>)
      : forked_child(std::move(other.input_)) {}
  forked_child& operator=(forked_child&&) = delete;
  /// Whoever knows whether there is an outcome that needs destruction destroys that before.
  [[gnu::always_inline]] ~forked_child() {}

  [[nodiscard, gnu::always_inline]] bool startable() const noexcept {
    if constexpr (is_call)
      return true;
    else
      return input_.startable();
  }
  /// The coroutine to run, which destroys itself if it ends on the native stack, otherwise whoever
  /// runs it; or null if it has ended, with a value. Calls the call.
  template <std::size_t Index>
  [[nodiscard, gnu::always_inline]] promise_base* start() noexcept(!is_call) {
    if constexpr (!is_call) {
      return input_.release(outcome_);
    } else {
      // At a place of its own: if children had one in common, compilers would keep its address in a
      // register, which each coroutine would have to save.
      union places {
        places() noexcept {}
        ~places() {} // what is there is empty again
        std::array<task<value_type>, Index + 1> tasks;
      } all;
      auto& made = *::new (static_cast<void*>(&all.tasks[Index])) task<value_type>(input_());
      if (made.has_coroutine()) [[likely]]
        return made.release(outcome_);
      if (!made.startable())
        throw_not_startable();
      return made.release(outcome_);
    }
  }

  [[nodiscard]] Input& input() noexcept { return input_; }
  [[nodiscard]] result<value_type>& outcome() noexcept { return outcome_; }
  void destroy_outcome() noexcept { std::destroy_at(&outcome_); }
  /// Of an outcome that is a value or unset.
  [[gnu::always_inline]] void destroy_value() noexcept {
    if constexpr (!outcome_is_trivial)
      std::destroy_at(&outcome_);
  }

 private:
  [[no_unique_address]] Input input_;
  union {
    result<value_type> outcome_; // by all who end it
  };
};

/// Whether they are all of one type.
template <class... Inputs>
inline constexpr bool are_alike = false;
template <class First, class... Rest>
inline constexpr bool are_alike<First, Rest...> = (... && std::is_same_v<First, Rest>);

template <class... Inputs>
struct forked_children_of {
  using type = std::tuple<forked_child<Inputs>...>;
};
template <class First, class... Rest>
  requires are_alike<First, Rest...>
struct forked_children_of<First, Rest...> {
  using type = std::array<forked_child<First>, 1 + sizeof...(Rest)>;
};
/// The children of one awaiter.
template <class... Inputs>
using forked_children = typename forked_children_of<Inputs...>::type;

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
      return which_->template start<0>();
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
  using children = forked_children<Inputs...>;

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
class forked_awaiter : protected forked_tasks {
  static constexpr std::size_t count = sizeof...(Inputs);
  static_assert(count <= fork_stack::reserve, "give when_all a range for so many children");
  using values = std::tuple<element_t<typename Inputs::value_type>...>;

 public:
  [[gnu::always_inline]] explicit forked_awaiter(Inputs&&... inputs) noexcept(
      (... && std::is_nothrow_move_constructible_v<Inputs>))
      : forked_tasks(types), children_(make_children(std::move(inputs)...)) {}
  /// Of one that has not been started.
  [[gnu::always_inline]] forked_awaiter(forked_awaiter&& other) noexcept(
      (... && std::is_nothrow_move_constructible_v<Inputs>))
      : forked_tasks(types), children_(std::move(other.children_)) {
    this->awaited_ = std::exchange(other.awaited_, true);
  }
  forked_awaiter& operator=(forked_awaiter&&) = delete;
  [[gnu::always_inline]] ~forked_awaiter() {
    if (this->unusual_ != 0) [[unlikely]]
      close();
    else
      destroy_values();
  }

  [[nodiscard, gnu::always_inline]] bool await_ready() {
    if constexpr (many)
      return run_many();
    else
      return run_all();
  }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<>) noexcept { return this->leave(); }
  [[gnu::always_inline]] values await_resume() {
    if constexpr (many)
      return take_many();
    else
      return take_all();
  }

 protected:
  [[gnu::always_inline]] auto& children() noexcept { return children_; }
  [[gnu::always_inline]] void check_unusual() {
    if (this->unusual_ != 0) [[unlikely]]
      check_failures();
  }

 private:
  // Many children are run by functions of their own: the registers that these need are not saved by
  // each leaf, which runs the same body.
  static constexpr bool many = count > 2;
  // GCC inlines less of what is called from several places; Clang does it all the same, and its
  // loop is slower.
#if defined(__GNUC__) && !defined(__clang__)
  static constexpr bool loops_inline_calls = true;
#else
  static constexpr bool loops_inline_calls = false;
#endif
  [[nodiscard, gnu::noinline]] bool run_many() { return run_all(); }
  [[nodiscard, gnu::noinline]] values take_many() { return take_all(); }

  [[gnu::always_inline]] values take_all() {
    check_unusual();
    return std::apply([](auto&... each) { return values(take_element(each.outcome())...); },
                      children_);
  }

  [[gnu::always_inline]] static forked_children<Inputs...> make_children(
      Inputs&&... inputs) noexcept((... && std::is_nothrow_move_constructible_v<Inputs>)) {
    if constexpr (are_alike<Inputs...>)
      return {{forked_child<Inputs>(std::move(inputs))...}};
    else
      return forked_children<Inputs...>(std::move(inputs)...);
  }

  [[gnu::always_inline]] bool run_all() {
    const auto startable = [](auto&... each) { return (... && each.startable()); };
    if (!std::apply(startable, children_)) [[unlikely]]
      throw_not_startable();
    if constexpr (count == 0) {
      this->parent().stop_scope().check_stop();
      return true;
    } else {
      const bool may_run_here = this->enter(this_thread());
      this->awaited_ = true; // not if it has been refused
      fork_stack& forks = *this_forks;
      fork_slot* const slots = forks.top();
      if (!may_run_here || !this->template push_all<count>(forks)) [[unlikely]] {
        this->schedule_all();
        return false;
      }
      return run_each(forks, slots) || !this->built();
    }
  }

  /// \return false if not all have ended here.
  [[gnu::always_inline]] bool run_each(fork_stack& forks, fork_slot* slots) noexcept {
    if constexpr (many && loops_inline_calls && are_alike<Inputs...>) {
      for (std::size_t i = 0; i < count; ++i) {
        if (!take_one<0>(forks, slots, i, children_[i]))
          return false;
      }
      return true;
    } else {
      return run_in_turn(forks, slots, std::index_sequence_for<Inputs...>());
    }
  }
  // Not a lambda: where the children are of one type, Clang would not inline it.
  template <std::size_t... Is>
  [[gnu::always_inline]] bool run_in_turn(fork_stack& forks, fork_slot* slots,
                                          std::index_sequence<Is...>) noexcept {
    return (... && take_one<Is>(forks, slots, Is, std::get<Is>(children_)));
  }
  template <std::size_t Place, class Child>
  [[gnu::always_inline]] bool take_one(fork_stack& forks, fork_slot* slots, std::size_t index,
                                       Child& which) noexcept {
    bool there = true;
    if (index != 0) {
      this->ended_ = static_cast<std::uint8_t>(index);
      there = forks.pop(slots + (count - 1 - index));
    }
    if (there && run_one<Place>(which)) [[likely]]
      return true;
    this->rest(index, there);
    return false;
  }

  /// \return false if a join was built.
  template <std::size_t Place, class Child>
  [[gnu::always_inline]] bool run_one(Child& which) noexcept {
    promise_base* coroutine = nullptr;
    try {
      coroutine = which.template start<Place>();
    } catch (...) {
      fail(which);
    }
    if (coroutine != nullptr)
      this->run(*coroutine);
    return this->unusual_ == 0 || !this->built_now();
  }

  template <class Child>
  [[gnu::noinline, gnu::cold]] void fail(Child& which) noexcept {
    which.outcome().end_by_error(std::current_exception());
    this->unusual_ |= forked_tasks::value_missing;
  }
  [[gnu::noinline, gnu::cold]] void check_failures() {
    if (this->built()) {
      // Its children's frames go now, whether or not the awaitable lives on.
      struct end {
        ~end() {
          std::destroy_at(&owner->join_);
          owner->unusual_ = forked_tasks::value_missing;
        }
        forked_awaiter* owner;
      } const at_exit{this};
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
    std::apply([](auto&... each) { (each.destroy_outcome(), ...); }, children_);
  }
  /// Of children that have ended by a value or have not been started.
  [[gnu::always_inline]] void destroy_values() noexcept {
    std::apply([](auto&... each) { (each.destroy_value(), ...); }, children_);
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
  // Cold: else compilers spend on it what they may inline.
  [[gnu::cold]] static bool run_at(forked_tasks& base, std::size_t index) noexcept {
    auto& owner = self(base);
    bool ended = false;
    if constexpr (are_alike<Inputs...>) {
      ended = owner.template run_one<0>(owner.children_[index]);
    } else {
      [&]<std::size_t... Is>(std::index_sequence<Is...>) {
        (void)((Is == index &&
                (ended = owner.template run_one<Is>(std::get<Is>(owner.children_)), true)) ||
               ...);
      }(std::index_sequence_for<Inputs...>());
    }
    if (ended && index + 1 < count)
      owner.ended_ = static_cast<std::uint8_t>(index + 1);
    return ended;
  }
  static constexpr operations types{count, &build_join, &child_at, &run_at};

  forked_children<Inputs...> children_;
  union {
    forked_join<Inputs...> join_; // if built
  };
};

/// Awaits one child that is called, for its value.
template <class Call>
class called_awaiter final : public forked_awaiter<Call> {
 public:
  [[gnu::always_inline]] called_awaiter(promise_base& parent, Call& call) noexcept(
      std::is_nothrow_move_constructible_v<Call>)
      : forked_awaiter<Call>(std::move(call)) {
    this->set_parent(parent);
  }
  [[gnu::always_inline]] typename Call::value_type await_resume() {
    this->check_unusual();
    return std::get<0>(this->children()).outcome().take_value();
  }
};

/// What has tasks or calls for children: its own awaiter, which only a `task` finds.
template <class... Inputs>
class forked_awaitable : protected forked_awaiter<Inputs...> {
 public:
  using forks_children = void;
  using forked_awaiter<Inputs...>::forked_awaiter;

  /// For the library.
  [[nodiscard, gnu::always_inline]] auto await_in(promise_base& parent) {
    if (this->awaited_) [[unlikely]]
      throw_not_startable();
    this->set_parent(parent);
    return awaiter_reference<forked_awaiter<Inputs...>>(*this);
  }
};

} // namespace weir::detail
