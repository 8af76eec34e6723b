// SPDX-License-Identifier: MIT
/// \file
/// `simple_task_pool`: as many tasks of one kind as are wanted at the moment.
#pragma once

#include <weir/pool/named.hpp>
#include <weir/pool/pool_base.hpp>
#include <weir/pool/task_pool_options.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace weir {

/// How to set up a `simple_task_pool`.
struct simple_task_pool_options {
  task_callback end_callback{};
  task_callback cancel_callback{};
  /// The others as in `task_pool_options`.
  std::size_t pool_size = unlimited;
  std::size_t max_waiting_groups = unlimited;
  std::string name{};
  log_sink log{};
  std::size_t history = 65536;
  on_exception exceptions = on_exception::fail_fast;
  std::optional<std::chrono::nanoseconds> callback_timeout{};
  /// For each task, as in `apply_options`.
  std::optional<std::chrono::nanoseconds> timeout{};
  weir::bad_args bad_args = weir::bad_args::skip;
  std::optional<retry_options> retry{};
};

/// Starts and stops tasks of one callable with fixed arguments, which are copied for each task.
template <class F, class... Args>
  requires submittable<detail::without_name_t<F>, Args...>
class simple_task_pool : public pool_base {
  using callable = detail::without_name_t<F>;

 public:
  using value_type = submit_result_t<callable, Args...>;

  /// Logs "<name> initialized". When the runtime has ended, the pool refuses tasks. Throws
  /// `errc::empty_callable`, `invalid_pool_option`, and what copying throws.
  simple_task_pool(runtime& on, F f, std::tuple<Args...> args = {},
                   simple_task_pool_options options = {})
      : pool_base(on, "SimpleTaskPool", checked(options, f)), name_(detail::name_of_callable(f)),
        f_(detail::without_name(std::move(f))), args_(std::move(args)), each_(options_of(options)) {
    static_assert((std::copy_constructible<callable> && ... && std::copy_constructible<Args>),
                  "each task gets copies of the callable and its arguments");
  }
  ~simple_task_pool() = default;

  /// The name of the callable; "task" if it has none.
  [[nodiscard]] std::string_view func_name() const noexcept { return name_; }

  /// Starts `num` more tasks, none if that is negative, as a group "start-group-<number>". Throws
  /// `pool_is_closed`, `pool_is_locked`, `pool_is_full`, `errc::stopped`, `std::bad_alloc`, and
  /// what copying callable and arguments for the group throws.
  template <std::integral Count = std::size_t>
  group<value_type> start(Count num = 1) {
    return start_at(core().place(), count_of(num));
  }
  /// In a place that was got by `admit` or `try_admit`.
  template <std::integral Count = std::size_t>
  group<value_type> start(admission place, Count num = 1) {
    return start_at(std::move(place).place_in(core()), count_of(num));
  }
  /// As `start`, but gives nothing in place of `pool_is_full`.
  template <std::integral Count = std::size_t>
  [[nodiscard]] std::optional<group<value_type>> try_start(Count num = 1) {
    auto place = core().try_place();
    return place ? std::optional(start_at(std::move(*place), count_of(num))) : std::nullopt;
  }

  /// Requests stop of up to `num` running tasks, none if that is negative, the newest first, tasks
  /// that were stopped before not counted. \return their ids in that order.
  template <std::integral Count = std::size_t>
  std::vector<task_id> stop(Count num = 1, const stop_reason& reason = {}) {
    return core().stop(count_of(num), reason);
  }
  /// The same of all.
  std::vector<task_id> stop_all(const stop_reason& reason = {}) { return stop(unlimited, reason); }

 private:
  group<value_type> start_at(detail::group_place place, std::size_t num) {
    apply_options options = each_;
    options.num = num;
    return this->template start_repeated<value_type, callable, Args...>(
        std::move(place), f_, args_, name_, "start-group-", std::move(options), true);
  }

  static apply_options options_of(simple_task_pool_options& options) {
    apply_options each;
    each.end_callback = std::move(options.end_callback);
    each.cancel_callback = std::move(options.cancel_callback);
    each.timeout = options.timeout;
    each.bad_args = options.bad_args;
    each.retry = std::move(options.retry);
    return each;
  }
  /// Refuses what is to be refused before there is a pool with a number and a line in the log.
  static detail::task_pool_settings checked(simple_task_pool_options& options, F& f) {
    if constexpr (detail::is_named<F>)
      detail::require_callable(f.callable());
    else
      detail::require_callable(f);
    if (options.retry)
      detail::require_valid(*options.retry);
    return settings_of(options);
  }

  const std::string name_;
  const callable f_;
  const std::tuple<Args...> args_;
  const apply_options each_;
};

template <class F, class... Args>
simple_task_pool(runtime&, F, std::tuple<Args...>, simple_task_pool_options = {})
    -> simple_task_pool<F, Args...>;
template <class F>
simple_task_pool(runtime&, F) -> simple_task_pool<F>;

} // namespace weir
