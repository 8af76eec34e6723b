// SPDX-License-Identifier: MIT
/// \file
/// `task_pool`: groups of tasks with numbers, callbacks and cancellation, at most `pool_size` at a
/// time. For people who come from Python's asyncio-taskpool: docs/asyncio-taskpool.md.
#pragma once

#include <weir/pool/admission.hpp>
#include <weir/pool/detail/async_source.hpp>
#include <weir/pool/detail/call_source.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/group.hpp>
#include <weir/pool/named.hpp>
#include <weir/pool/pool_base.hpp>
#include <weir/pool/task_pool_options.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir {

/// Starts tasks of different callables and arguments, in groups, at most `pool_size` at a time.
///
/// `apply` starts equal ones; `map` one for each element of a range, `starmap` for each tuple of
/// arguments. All return at once. Tasks that find room have started when they return, others wait:
/// groups take turns. Arguments are read one ahead and copied by whoever gives room: first the
/// caller, then the workers that end tasks, and who calls `set_pool_size`; who cancels a group
/// destroys what it has not used. None of that should block.
///
/// A task is any callable, plain or a coroutine, also one that takes a stop token first. Callables
/// and arguments are copied for each task. With GCC 12, name a group that is made with options
/// before it is awaited: a compiler defect destroys what is made in braces twice that stand in the
/// expression of a `co_await`. `fn<&f>` and `named("f", f)` tell the name that stands in group
/// names and log lines.
class WEIR_API task_pool : public pool_base {
 public:
  /// Logs "<name> initialized". When the runtime has ended, the pool refuses tasks.
  /// Throws `invalid_pool_option` for limits that are none.
  explicit task_pool(runtime& on, task_pool_options options = {})
      : pool_base(on, "TaskPool", settings_of(options)) {}
  /// A pool of that size, otherwise as by default. Throws `invalid_pool_option` for one below 0.
  template <std::integral Size>
  task_pool(runtime& on, Size pool_size)
      : task_pool(on, task_pool_options{.pool_size = checked_size(pool_size)}) {}
  ~task_pool() = default;

  /// Starts `options.num` tasks `f(args...)`.
  ///
  /// Throws `pool_is_closed`, `pool_is_locked`, `pool_is_full`, `task_group_already_exists`,
  /// `invalid_pool_option` for several tasks or `retry` of what cannot be copied, and for a `retry`
  /// that is none; `errc::stopped`, `errc::forked`, `errc::empty_callable`, `std::bad_alloc` if
  /// there is no memory for the group or its first task, and what copying throws. (Without memory
  /// for a later task the group ends early, which `gather` reports.)
  template <class F, class... Args>
    requires submittable<detail::without_name_t<F>, Args...>
  group<submit_result_t<detail::without_name_t<F>, Args...>>
  apply(F&& f, std::tuple<Args...> args, apply_options options = apply_options()) {
    return apply_at(core().place(), std::forward<F>(f), std::move(args), std::move(options));
  }
  template <class F>
    requires submittable<detail::without_name_t<F>>
  auto apply(F&& f, apply_options options = apply_options()) {
    return apply(std::forward<F>(f), std::tuple<>(), std::move(options));
  }
  /// In a place that was got by `admit` or `try_admit`.
  template <class F, class... Args>
    requires submittable<detail::without_name_t<F>, Args...>
  auto apply(admission place, F&& f, std::tuple<Args...> args,
             apply_options options = apply_options()) {
    return apply_at(std::move(place).place_in(core()), std::forward<F>(f), std::move(args),
                    std::move(options));
  }
  template <class F>
    requires submittable<detail::without_name_t<F>>
  auto apply(admission place, F&& f, apply_options options = apply_options()) {
    return apply(std::move(place), std::forward<F>(f), std::tuple<>(), std::move(options));
  }
  /// As `apply`, but gives nothing in place of `pool_is_full`; then all arguments are untouched.
  template <class F, class... Args>
    requires submittable<detail::without_name_t<F>, Args...>
  [[nodiscard]] std::optional<group<submit_result_t<detail::without_name_t<F>, Args...>>>
  try_apply(F&& f, std::tuple<Args...>&& args, apply_options&& options = apply_options()) {
    auto place = core().try_place();
    if (!place)
      return std::nullopt;
    return apply_at(std::move(*place), std::forward<F>(f), std::move(args), std::move(options));
  }
  template <class F>
    requires submittable<detail::without_name_t<F>>
  [[nodiscard]] auto try_apply(F&& f, apply_options&& options = apply_options()) {
    return try_apply(std::forward<F>(f), std::tuple<>(), std::move(options));
  }

  /// Starts `f(element)` for each element of `arguments`, at most `num_concurrent` at a time. The
  /// range is moved or copied in; `std::ref(range)` refers to it, then it must live as long as the
  /// group.
  ///
  /// Instead of a range, arguments may come from anything with a `next()` or `pop()` that can be
  /// awaited for an optional one, empty at the end: a generator, a `queue`, another `group`. The
  /// wait takes no room, and ends when the group is cancelled. Throws as `apply`, and
  /// `invalid_pool_option` for a `num_concurrent` of 0.
  template <class F, class R>
  auto map(F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::none>(core().place(), std::forward<F>(f),
                                            std::forward<R>(arguments), std::move(options));
  }
  /// In a place that was got by `admit` or `try_admit`.
  template <class F, class R>
  auto map(admission place, F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::none>(std::move(place).place_in(core()), std::forward<F>(f),
                                            std::forward<R>(arguments), std::move(options));
  }
  /// As `map`, but gives nothing in place of `pool_is_full`; then all arguments are untouched.
  template <class F, class R>
  [[nodiscard]] auto try_map(F&& f, R&& arguments, map_options&& options = map_options()) {
    return try_start_range<detail::stars::none>(std::forward<F>(f), std::forward<R>(arguments),
                                                options);
  }
  /// The same with tuples of arguments: `f(elements of the tuple...)`.
  template <class F, class R>
  auto starmap(F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::one>(core().place(), std::forward<F>(f),
                                           std::forward<R>(arguments), std::move(options));
  }
  template <class F, class R>
  auto starmap(admission place, F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::one>(std::move(place).place_in(core()), std::forward<F>(f),
                                           std::forward<R>(arguments), std::move(options));
  }
  template <class F, class R>
  [[nodiscard]] auto try_starmap(F&& f, R&& arguments, map_options&& options = map_options()) {
    return try_start_range<detail::stars::one>(std::forward<F>(f), std::forward<R>(arguments),
                                               options);
  }
  /// The same with structures that stand for named arguments: `f(structure)`.
  template <class F, class R>
  auto doublestarmap(F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::two>(core().place(), std::forward<F>(f),
                                           std::forward<R>(arguments), std::move(options));
  }
  template <class F, class R>
  auto doublestarmap(admission place, F&& f, R&& arguments, map_options options = map_options()) {
    return start_range<detail::stars::two>(std::move(place).place_in(core()), std::forward<F>(f),
                                           std::forward<R>(arguments), std::move(options));
  }
  template <class F, class R>
  [[nodiscard]] auto try_doublestarmap(F&& f, R&& arguments,
                                       map_options&& options = map_options()) {
    return try_start_range<detail::stars::two>(std::forward<F>(f), std::forward<R>(arguments),
                                               options);
  }

 private:
  template <class F, class... Args>
  group<submit_result_t<detail::without_name_t<F>, Args...>>
  apply_at(detail::group_place place, F&& f, std::tuple<Args...> args, apply_options options) {
    core().require_unknown(options.group_name);
    std::string function = detail::name_of_callable(f);
    const std::string stem = "apply-" + function + "-group-";
    auto callable = detail::without_name(std::forward<F>(f));
    detail::require_callable(callable);
    return this->start_repeated<submit_result_t<detail::without_name_t<F>, Args...>,
                                detail::without_name_t<F>, Args...>(
        std::move(place), std::move(callable), std::move(args), std::move(function), stem,
        std::move(options), false);
  }

  template <class F, class Element>
  struct star_result;
  template <class F, class... Args>
  struct star_result<F, std::tuple<Args...>> {
    using type = submit_result_t<F, Args...>;
  };
  template <class F, class A, class B>
  struct star_result<F, std::pair<A, B>> {
    using type = submit_result_t<F, A, B>;
  };
  template <class F, class Element, detail::stars Stars>
  static auto result_of() {
    if constexpr (Stars == detail::stars::one)
      return std::type_identity<typename star_result<F, Element>::type>();
    else
      return std::type_identity<submit_result_t<F, Element>>();
  }

  template <class Kept>
  static auto element_of() {
    if constexpr (std::ranges::range<detail::kept_arguments_t<Kept>>)
      return std::type_identity<std::ranges::range_value_t<detail::kept_arguments_t<Kept>>>();
    else
      return std::type_identity<detail::async_element_t<Kept>>();
  }
  template <class T, detail::stars Stars, class F, class Kept>
  static auto source_of() {
    if constexpr (std::ranges::range<detail::kept_arguments_t<Kept>>)
      return std::type_identity<detail::range_source<T, Stars, F, Kept>>();
    else
      return std::type_identity<detail::async_source<T, Stars, F, Kept>>();
  }

  static constexpr std::string_view prefix_of(detail::stars stars) {
    constexpr std::string_view prefixes[] = {"map-", "starmap-", "doublestarmap-"};
    return prefixes[static_cast<std::size_t>(stars)];
  }

  template <detail::stars Stars, class F, class R>
  auto try_start_range(F&& f, R&& arguments, map_options& options) {
    using made =
        decltype(start_range<Stars>(std::declval<detail::group_place>(), std::forward<F>(f),
                                    std::forward<R>(arguments), map_options()));
    auto place = core().try_place();
    return place ? std::optional<made>(start_range<Stars>(std::move(*place), std::forward<F>(f),
                                                          std::forward<R>(arguments),
                                                          std::move(options)))
                 : std::nullopt;
  }

  template <detail::stars Stars, class F, class R>
  auto start_range(detail::group_place place, F&& f, R&& arguments, map_options options) {
    using callable = detail::without_name_t<F>;
    using kept = std::decay_t<R>;
    using range = detail::kept_arguments_t<kept>;
    static_assert(std::ranges::input_range<range> || detail::async_arguments<range>,
                  "the arguments must be a range, or something with next() or pop() to await");
    static_assert(std::copy_constructible<callable>,
                  "each task gets a copy of the callable: it must be possible to copy it");
    using element = typename decltype(element_of<kept>())::type;
    using value = typename decltype(result_of<callable, element, Stars>())::type;
    using source = typename decltype(source_of<value, Stars, callable, kept>())::type;
    const auto limit = options.group_size.value_or(options.num_concurrent);
    if (limit == 0)
      throw invalid_pool_option("`num_concurrent` must be a positive integer.");
    core().require_unknown(options.group_name);
    std::string function = detail::name_of_callable(f);
    const std::string stem = std::string(prefix_of(Stars)) + function + "-group-";
    if (!std::copy_constructible<element> && options.retry)
      throw invalid_pool_option("retry needs arguments that can be copied");
    detail::group_settings settings;
    settings.num_concurrent = limit;
    if constexpr (std::ranges::sized_range<range>)
      settings.expected = size_of(arguments);
    take(settings, options);
    auto call = detail::without_name(std::forward<F>(f));
    detail::require_callable(call);
    auto results = std::make_unique<detail::typed_results<value>>();
    auto from = std::make_unique<source>(std::move(call), std::move(function), *results,
                                         std::forward<R>(arguments));
    return opened<value>(place, std::move(settings), std::move(from), std::move(results),
                         std::move(options.group_name), stem);
  }

  template <class R>
  static std::size_t size_of(R& arguments) {
    if constexpr (!std::ranges::range<R>) // a reference_wrapper
      return std::ranges::size(arguments.get());
    else
      return std::ranges::size(arguments);
  }
};

} // namespace weir
