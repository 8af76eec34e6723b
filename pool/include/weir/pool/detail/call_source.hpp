// SPDX-License-Identifier: MIT
/// \file
/// Where the tasks of a pool come from: a number of equal ones, or a range of arguments.
#pragma once

#include <weir/pool/detail/pool_call.hpp>
#include <weir/pool/detail/shown.hpp>
#include <weir/pool/detail/task_pool_core.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// The common part of sources: a callable, and a slot for each argument.
template <class T, class F>
class call_source : public task_source {
 protected:
  call_source(F f, std::string name, typed_results<T>& results)
      : f_(std::move(f)), name_(std::move(name)), results_(&results) {}

  /// The task that `make(slot)` gives, or what becomes of an argument that cannot be made one.
  template <class Make, class Show>
  step make_or_skip(task_pool_core& core, pool_group& group, pool_task*& made, result_slot*& slot,
                    Make&& make, Show&& show) {
    typed_slot<T>* typed = group.wanted() ? &results_->add() : nullptr;
    try {
      made = make(typed);
    } catch (const std::bad_alloc&) {
      if (group.settings().policy != bad_args::report)
        throw; // G5
      return skip(core, group, typed, slot, show);
    } catch (...) {
      return skip(core, group, typed, slot, show);
    }
    slot = typed;
    return step::made;
  }

  F f_;
  const std::string name_;

 private:
  /// After the exception that is being handled.
  template <class Show>
  step skip(task_pool_core& core, pool_group& group, typed_slot<T>* typed, result_slot*& slot,
            Show& show) {
    if (core.log().takes(log_level::error)) {
      try {
        core.log_bad_args(group, name_ + show());
      } catch (...) { // a line that cannot be written changes nothing
      }
    }
    if (group.settings().policy == bad_args::stop_group) {
      this->stopped_by = std::current_exception();
      return step::stopped;
    }
    if (group.settings().policy == bad_args::report) {
      if (typed != nullptr)
        typed->value.result().set_error(std::current_exception());
      slot = typed;
    }
    return step::skipped;
  }

  typed_results<T>* results_;
};

/// `count` calls with equal arguments.
template <class T, class F, class... Args>
class repeat_source final : public call_source<T, F> {
 public:
  repeat_source(F f, std::string name, typed_results<T>& results, std::tuple<Args...> args,
                std::size_t count)
      : call_source<T, F>(std::move(f), std::move(name), results), args_(std::move(args)),
        left_(count) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*& made,
                            result_slot*& slot) override {
    if (left_ == 0)
      return task_source::step::exhausted;
    --left_;
    return this->make_or_skip(
        core, group, made, slot,
        [&](typed_slot<T>* typed) {
          return std::apply([&](Args&... args) { return make(core, group, typed, args...); },
                            args_);
        },
        [&] { return "(*" + shown_tuple(args_) + ", **{})"; });
  }

 private:
  pool_task* make(task_pool_core& core, pool_group& group, typed_slot<T>* typed, Args&... args) {
    using call = pool_call<T, F, Args...>;
    // What cannot be copied is for one task.
    if constexpr ((std::copy_constructible<F> && ... && std::copy_constructible<Args>))
      return new call(core, group, typed, std::as_const(this->f_), std::as_const(args)...);
    else
      return new call(core, group, typed, std::move(this->f_), std::move(args)...);
  }

  std::tuple<Args...> args_;
  std::size_t left_;
};

/// Whether an element is one argument (0), a tuple of them (1) or a structure (2).
enum class stars : unsigned char { none, one, two };

template <class A>
struct argument_keeper {
  explicit argument_keeper(A arguments) : kept(std::move(arguments)) {}
  [[nodiscard]] A& get() noexcept { return kept; }
  static constexpr bool owns_elements = !std::ranges::view<A>;
  A kept;
};
template <class A>
struct argument_keeper<std::reference_wrapper<A>> {
  explicit argument_keeper(std::reference_wrapper<A> arguments) : kept(arguments) {}
  [[nodiscard]] A& get() noexcept { return kept.get(); }
  static constexpr bool owns_elements = false;
  std::reference_wrapper<A> kept;
};

/// What a group reads its arguments from: the object itself, or the one that is referred to.
template <class A>
using kept_arguments_t =
    std::remove_reference_t<decltype(std::declval<argument_keeper<A>&>().get())>;

/// Common to sources of arguments: how an argument becomes a task.
template <class T, stars Stars, class F, class Element>
class argument_source : public call_source<T, F> {
 protected:
  using call_source<T, F>::call_source;

  template <class A>
  task_source::step take(task_pool_core& core, pool_group& group, pool_task*& made,
                         result_slot*& slot, A&& argument) {
    return this->make_or_skip(
        core, group, made, slot,
        [&](typed_slot<T>* typed) { return make(core, group, typed, std::forward<A>(argument)); },
        [&] {
          if constexpr (Stars == stars::one)
            return "(*" + show_elements(argument) + ")";
          else
            return std::string(Stars == stars::two ? "(**" : "(") + shown_plain(argument) + ")";
        });
  }

 private:
  template <class A>
  static std::string show_elements(const A& argument) {
    return std::apply([](const auto&... each) { return shown_tuple(std::tie(each...)); }, argument);
  }

  template <class A>
  pool_task* make(task_pool_core& core, pool_group& group, typed_slot<T>* typed, A&& argument) {
    if constexpr (Stars == stars::one)
      return std::apply(
          [&]<class... As>(As&&... each) -> pool_task* {
            return new pool_call<T, F, std::decay_t<As>...>(
                core, group, typed, std::as_const(this->f_), std::forward<As>(each)...);
          },
          std::forward<A>(argument));
    else
      return new pool_call<T, F, Element>(core, group, typed, std::as_const(this->f_),
                                          std::forward<A>(argument));
  }
};

template <class T, stars Stars, class F, class R>
class range_source final
    : public argument_source<T, Stars, F, std::ranges::range_value_t<kept_arguments_t<R>>> {
  using range = kept_arguments_t<R>;
  using base = argument_source<T, Stars, F, std::ranges::range_value_t<range>>;

 public:
  range_source(F f, std::string name, typed_results<T>& results, R from)
      : base(std::move(f), std::move(name), results), range_(std::move(from)) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*& made,
                            result_slot*& slot) override {
    if (!at_)
      at_.emplace(std::ranges::begin(range_.get()));
    else
      ++*at_;
    if (*at_ == std::ranges::end(range_.get()))
      return task_source::step::exhausted;
    decltype(auto) argument = **at_;
    if constexpr (argument_keeper<R>::owns_elements &&
                  std::is_lvalue_reference_v<decltype(argument)> &&
                  !std::is_const_v<std::remove_reference_t<decltype(argument)>>)
      return this->take(core, group, made, slot, std::move(argument));
    else
      return this->take(core, group, made, slot, std::forward<decltype(argument)>(argument));
  }

 private:
  argument_keeper<R> range_;
  std::optional<std::ranges::iterator_t<range>> at_;
};

} // namespace weir::detail
