// SPDX-License-Identifier: MIT
/// \file
/// `pool_base`: what all pools of groups have.
#pragma once

#include <weir/pool/admission.hpp>
#include <weir/pool/detail/call_source.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/group.hpp>
#include <weir/pool/pool_lock.hpp>
#include <weir/pool/pool_registry.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/retry.hpp>
#include <weir/pool/stats.hpp>
#include <weir/pool/task_pool_options.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

namespace weir {

/// What all pools of groups have. Not for direct use.
///
/// Thread safety: every member may be called from any thread, except the destructor. Each takes a
/// mutex, most for a few instructions; lists of ids are copied, and ended tasks are looked for
/// among the last `history` ones, under it. Callbacks, log lines and copies of arguments never run
/// under it. In a forked child all throw `errc::forked`.
class WEIR_API pool_base {
 public:
  pool_base(const pool_base&) = delete;
  pool_base& operator=(const pool_base&) = delete;

  /// "TaskPool-0", or "TaskPool-<name>".
  [[nodiscard]] const std::string& str() const noexcept { return core_->str(); }
  /// "TaskPool-0_Task-3".
  [[nodiscard]] std::string task_name(task_id id) const { return core_->task_name(id); }

  /// How many tasks may run at once.
  [[nodiscard]] std::size_t pool_size() const { return core_->snapshot().pool_size; }
  /// Changes that. More room goes at once to the groups that wait for it, in their order; with
  /// less, nothing is stopped, and tasks start again once fewer run.
  void set_pool_size(std::size_t size) { core_->set_pool_size(size); }
  /// For sizes that may be negative: throws `invalid_pool_option`.
  template <std::signed_integral Size>
  void set_pool_size(Size size) {
    set_pool_size(checked_size(size));
  }
  /// How many more tasks could start now.
  [[nodiscard]] std::size_t room() const;
  /// Whether there is no room.
  [[nodiscard]] bool is_full() const { return room() == 0; }

  [[nodiscard]] bool is_locked() const { return core_->snapshot().locked; }
  /// Refuses new tasks from now on; what was accepted starts all the same.
  void lock() { (void)core_->lock(); }
  /// Takes new tasks again, unless the pool is closed.
  void unlock() { core_->unlock(); }
  /// Locks the pool for a scope, unless it is locked already.
  [[nodiscard]] pool_lock scoped_lock() { return pool_lock(core_); }

  /// How many groups have not started all of their tasks.
  [[nodiscard]] std::size_t num_waiting_groups() const { return core_->snapshot().waiting_groups; }
  /// How many may.
  [[nodiscard]] std::size_t max_waiting_groups() const noexcept {
    return core_->settings().max_waiting_groups;
  }
  /// Awaiting it gives the `admission` of one more group, waiting for it while `max_waiting_groups`
  /// wait; first come, first served, and nobody overtakes. `lock()` ends the waits by
  /// `pool_is_locked`. A task of this pool that waits here may wait for itself: its room may be
  /// what the groups wait for.
  ///
  ///     auto place = co_await pool.admit();
  ///     auto group = pool.map(std::move(place), work, std::move(arguments));
  ///
  /// Throws `pool_is_closed`, `pool_is_locked`, `task_cancelled`; the arguments are not in it yet.
  [[nodiscard]] detail::place_wait admit() noexcept { return detail::place_wait(core_); }
  /// The same without waiting: nothing if as many groups wait, or others wait for their place.
  [[nodiscard]] std::optional<admission> try_admit() {
    auto place = core_->try_place();
    if (!place)
      return std::nullopt;
    place->taken_over();
    return std::optional<admission>(std::in_place, core_);
  }

  /// Tasks that have started and were neither cancelled nor have ended.
  [[nodiscard]] std::size_t num_running() const { return core_->snapshot().running; }
  /// Tasks that handle their cancellation now: their `cancel_callback` runs.
  [[nodiscard]] std::size_t num_cancelled() const { return core_->snapshot().cancelled; }
  /// Tasks that have ended, in whatever way, since the last `flush` or `gather`.
  [[nodiscard]] std::size_t num_ended() const { return core_->snapshot().ended; }
  /// All figures of one moment, with totals that only grow.
  [[nodiscard]] pool_stats stats() const { return core_->stats(); }

  /// The tasks that the groups of these names have ever started. Throws `task_group_not_found`.
  [[nodiscard]] std::set<task_id>
  get_group_ids(std::initializer_list<std::string_view> names) const {
    return group_ids(std::span(names.begin(), names.size()));
  }
  template <std::convertible_to<std::string_view>... Names>
  [[nodiscard]] std::set<task_id> get_group_ids(const Names&... names) const {
    return get_group_ids({std::string_view(names)...});
  }

  /// Requests stop of running tasks: of all, or if one cannot be cancelled, of none. Throws
  /// `task_not_found`, `already_cancelled` and `already_ended` for the first such id.
  void cancel(std::span<const task_id> ids, const stop_reason& reason = {}) {
    core_->cancel(ids, reason);
  }
  void cancel(std::initializer_list<task_id> ids, const stop_reason& reason = {}) {
    core_->cancel(std::span(ids.begin(), ids.size()), reason);
  }
  void cancel(task_id id, const stop_reason& reason = {}) { cancel({id}, reason); }
  /// As `cancel`, but gives the refusal instead of throwing it.
  [[nodiscard]] std::error_code try_cancel(task_id id, const stop_reason& reason = {}) {
    return core_->try_cancel(id, reason);
  }
  /// Forgets a group: none of its tasks starts any more, and stop is requested of the running ones.
  /// Its name is free then. Throws `task_group_not_found`.
  void cancel_group(std::string_view name, const stop_reason& reason = {}) {
    core_->cancel_group(name, reason);
  }
  /// The same for all groups, the newest first. The pool stays open.
  void cancel_all(const stop_reason& reason = {}) { core_->cancel_all(reason); }

  /// Waits for tasks that have ended but for their callbacks, and forgets what has ended: ids and
  /// groups become unknown, `num_ended()` 0. Exceptions are thrown after that. Throws
  /// `errc::would_deadlock` in a task of this pool whose callback runs.
  [[nodiscard]] task<flush_report> flush(std::optional<on_exception> what = {}) {
    return flush_of(core_, what.value_or(core_->settings().exceptions));
  }
  /// Waits until everything accepted has ended and forgets it. The pool can be used again after
  /// `unlock()`. Throws `pool_still_unlocked`; `errc::would_deadlock` in a task of this pool.
  [[nodiscard]] task<gather_report> gather(std::optional<on_exception> what = {}) {
    return gather_of(core_, what.value_or(core_->settings().exceptions), false);
  }
  /// Locks the pool, waits until everything accepted has ended and closes it for good. May be
  /// called again, also if its caller was cancelled, which does nothing to the tasks; for a closed
  /// pool it is over at once. Throws `errc::would_deadlock` in a task of this pool, and leaves it
  /// as it is.
  [[nodiscard]] task<gather_report> gather_and_close(std::optional<on_exception> what = {}) {
    return gather_of(core_, what.value_or(core_->settings().exceptions), true);
  }
  /// Waits until the pool is closed. Always true.
  [[nodiscard]] task<bool> until_closed() { return closed_of(core_); }
  [[nodiscard]] bool is_closed() const { return core_->snapshot().closed; }

 protected:
  pool_base(runtime& on, std::string_view kind, detail::task_pool_settings settings)
      : core_(std::make_shared<detail::task_pool_core>(on.scheduler(), kind, std::move(settings))),
        listed_(
            core_.get(),
            [](const void* core) {
              return static_cast<const detail::task_pool_core*>(core)->stats();
            },
            core_->str()) {}
  /// Cancels everything and waits for it; on a worker it does not wait, and the pool's core lives
  /// on until all has ended.
  ~pool_base();

  /// What the options of all kinds of pools have in common, moved out of them.
  template <class Options>
  static detail::task_pool_settings settings_of(Options& options) {
    if (options.max_waiting_groups == 0)
      throw invalid_pool_option("max_waiting_groups must be at least 1");
    detail::task_pool_settings settings;
    settings.pool_size = options.pool_size;
    settings.max_waiting_groups = options.max_waiting_groups;
    settings.name = std::move(options.name);
    settings.log = std::move(options.log);
    settings.history = options.history;
    settings.exceptions = options.exceptions;
    settings.callback_timeout = options.callback_timeout;
    return settings;
  }

  template <std::integral Size>
  static std::size_t checked_size(Size size) {
    if (std::cmp_less(size, 0))
      throw invalid_pool_option("Pool size can not be less than 0");
    return static_cast<std::size_t>(size);
  }
  /// A number of tasks: less than none is none.
  template <std::integral Count>
  static std::size_t count_of(Count count) noexcept {
    return std::cmp_less(count, 0) ? 0 : static_cast<std::size_t>(count);
  }

  template <class T, class F, class... Args>
  group<T> start_repeated(detail::group_place place, F f, std::tuple<Args...> args,
                          std::string function, const std::string& stem, apply_options options,
                          bool simple) {
    if (options.retry && !(std::copy_constructible<F> && ... && std::copy_constructible<Args>))
      throw invalid_pool_option("retry needs a callable and arguments that can be copied");
    if (options.num > 1 && !(std::copy_constructible<F> && ... && std::copy_constructible<Args>))
      throw invalid_pool_option("num is " + std::to_string(options.num) +
                                ", but a callable or argument that cannot be copied serves one "
                                "task");
    detail::group_settings settings;
    settings.expected = options.num;
    settings.counted = true;
    settings.simple = simple;
    take(settings, options);
    auto results = std::make_unique<detail::typed_results<T>>();
    auto source = std::make_unique<detail::repeat_source<T, F, Args...>>(
        std::move(f), std::move(function), *results, std::move(args), options.num);
    return opened<T>(place, std::move(settings), std::move(source), std::move(results),
                     std::move(options.group_name), stem);
  }

  template <class T>
  group<T> opened(detail::group_place& place, detail::group_settings settings,
                  std::unique_ptr<detail::task_source> source,
                  std::unique_ptr<detail::group_results> results, std::string name,
                  std::string_view stem) {
    auto state = std::make_shared<detail::pool_group>(std::move(settings), std::move(source),
                                                      std::move(results));
    return group<T>(core_, core_->open_group(place, std::move(state), std::move(name), stem));
  }

  template <class Options>
  static void take(detail::group_settings& settings, Options& options) {
    settings.end_callback = std::move(options.end_callback);
    settings.cancel_callback = std::move(options.cancel_callback);
    settings.priority = options.priority;
    settings.timeout = options.timeout;
    settings.start_by = options.start_by;
    settings.policy = options.bad_args;
    if (options.retry)
      detail::require_valid(*options.retry);
    settings.retry = std::move(options.retry);
  }

  [[nodiscard]] detail::task_pool_core& core() const noexcept { return *core_; }

 private:
  using core_pointer = std::shared_ptr<detail::task_pool_core>;

  [[nodiscard]] std::set<task_id> group_ids(std::span<const std::string_view> names) const;
  static task<flush_report> flush_of(core_pointer core, on_exception what);
  static task<gather_report> gather_of(core_pointer core, on_exception what, bool close);
  static task<bool> closed_of(core_pointer core);

  core_pointer core_;
  detail::pool_registration listed_;
};

} // namespace weir
