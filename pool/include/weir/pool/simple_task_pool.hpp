// SPDX-License-Identifier: MIT
/// \file
/// `simple_task_pool`: as many tasks of one kind as are wanted at the moment.
#pragma once

#include <weir/pool/task_pool.hpp>

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
  std::string name{};
  log_sink log{};
  std::size_t history = 65536;
  on_exception exceptions = on_exception::fail_fast;
  std::optional<std::chrono::nanoseconds> callback_timeout{};
};

/// Starts and stops tasks of one callable with fixed arguments, which are copied for each task.
template <class F, class... Args>
  requires submittable<detail::without_name_t<F>, Args...>
class simple_task_pool : public pool_base {
  using callable = detail::without_name_t<F>;

 public:
  using value_type = submit_result_t<callable, Args...>;

  /// Logs "<name> initialized". The runtime must outlive the pool. Throws `errc::empty_callable`,
  /// and what copying throws.
  simple_task_pool(runtime& on, F f, std::tuple<Args...> args = {},
                   simple_task_pool_options options = {})
      : pool_base(on, "SimpleTaskPool", split(options, f)), name_(detail::name_of_callable(f)),
        f_(detail::without_name(std::move(f))), args_(std::move(args)),
        end_callback_(std::move(options.end_callback)),
        cancel_callback_(std::move(options.cancel_callback)) {
    static_assert((std::copy_constructible<callable> && ... && std::copy_constructible<Args>),
                  "each task gets copies of the callable and its arguments");
  }
  ~simple_task_pool() = default;

  /// The name of the callable; "task" if it has none.
  [[nodiscard]] std::string_view func_name() const noexcept { return name_; }

  /// Starts `num` more tasks, as a group "start-group-<number>". Throws `pool_is_closed`,
  /// `pool_is_locked`, `errc::stopped`, `std::bad_alloc`.
  group<value_type> start(std::size_t num = 1) {
    core().require_open();
    apply_options options;
    options.num = num;
    options.end_callback = end_callback_;
    options.cancel_callback = cancel_callback_;
    return this->template start_repeated<value_type, callable, Args...>(
        f_, args_, name_, "start-group-", std::move(options), true);
  }

  /// Requests stop of up to `num` running tasks, the newest first, tasks that were stopped before
  /// not counted. \return their ids in that order.
  std::vector<task_id> stop(std::size_t num = 1, const stop_reason& reason = {}) {
    return core().stop(num, reason);
  }
  /// The same of all.
  std::vector<task_id> stop_all(const stop_reason& reason = {}) { return stop(unlimited, reason); }

 private:
  static detail::task_pool_settings split(simple_task_pool_options& options, const F& f) {
    if constexpr (!detail::is_named<F>)
      detail::require_callable(f);
    task_pool_options common;
    common.pool_size = options.pool_size;
    common.name = std::move(options.name);
    common.log = std::move(options.log);
    common.history = options.history;
    common.exceptions = options.exceptions;
    common.callback_timeout = options.callback_timeout;
    return settings_of(std::move(common));
  }

  const std::string name_;
  const callable f_;
  const std::tuple<Args...> args_;
  const task_callback end_callback_;
  const task_callback cancel_callback_;
};

template <class F, class... Args>
simple_task_pool(runtime&, F, std::tuple<Args...>, simple_task_pool_options = {})
    -> simple_task_pool<F, Args...>;
template <class F>
simple_task_pool(runtime&, F) -> simple_task_pool<F>;

} // namespace weir
