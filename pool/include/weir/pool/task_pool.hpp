// SPDX-License-Identifier: MIT
/// \file
/// `task_pool`: groups of tasks with numbers, callbacks and cancellation, at most `pool_size` at a
/// time. For people who come from Python's asyncio-taskpool: docs/asyncio-taskpool.md.
#pragma once

#include <weir/pool/admission.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/detail/pool_call.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/pool/errors.hpp>
#include <weir/pool/group.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/named.hpp>
#include <weir/pool/pool_lock.hpp>
#include <weir/pool/pool_registry.hpp>
#include <weir/pool/reports.hpp>
#include <weir/pool/retry.hpp>
#include <weir/pool/stats.hpp>
#include <weir/runtime.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

/// A pool without a limit.
inline constexpr std::size_t unlimited = SIZE_MAX;

/// How to set up a `task_pool`.
struct task_pool_options {
  /// Tasks that may run at once; a suspended coroutine counts. 0: none starts.
  std::size_t pool_size = unlimited;
  /// How many groups may wait: those that have not started all of their tasks, however many that
  /// are (`num` and arguments that are not read yet cost next to nothing); at least 1. When there
  /// are as many, new calls are refused or wait, see `pool_base::admit`.
  std::size_t max_waiting_groups = unlimited;
  /// Stands in the pool's name in place of its number.
  std::string name{};
  /// Gets the log lines.
  log_sink log{};
  /// How many ended tasks, and how many ended groups, the pool remembers until `flush` or `gather`;
  /// older ones are only counted.
  std::size_t history = 65536;
  /// What `flush` and `gather` do about exceptions if they are not told.
  on_exception exceptions = on_exception::fail_fast;
  /// Stops a coroutine callback that runs longer; the task's exception is `errc::timed_out` then.
  std::optional<std::chrono::nanoseconds> callback_timeout{};
};

/// How to start equal tasks.
struct apply_options {
  /// How many; 0 makes a group without tasks.
  std::size_t num = 1;
  /// Empty: "apply-<function>-group-<number>".
  std::string group_name{};
  task_callback end_callback{};
  task_callback cancel_callback{};
  /// Groups with smaller ones get room first, equal ones in turn.
  int priority = 0;
  /// Stops a coroutine task that runs longer: it fails by `errc::timed_out`.
  std::optional<std::chrono::nanoseconds> timeout{};
  /// A task whose turn comes later is cancelled by `stop_cause::not_started_in_time`, unstarted.
  std::optional<clock_source::time_point> start_by{};
  weir::bad_args bad_args = weir::bad_args::skip;
  /// Calls tasks that have thrown again; none by default. Callable and arguments must be copyable.
  std::optional<retry_options> retry{};
};

/// How to start a task for each argument.
struct map_options {
  /// How many of the call's tasks may run at once, at least 1.
  std::size_t num_concurrent = 1;
  /// The early form's name of it.
  std::optional<std::size_t> group_size{};
  /// Empty: "map-<function>-group-<number>", and likewise for the other calls.
  std::string group_name{};
  task_callback end_callback{};
  task_callback cancel_callback{};
  /// As in `apply_options`.
  int priority = 0;
  std::optional<std::chrono::nanoseconds> timeout{};
  std::optional<clock_source::time_point> start_by{};
  weir::bad_args bad_args = weir::bad_args::skip;
  std::optional<retry_options> retry{};
};

/// What all pools of groups have. Not for direct use.
///
/// Thread safety: every member may be called from any thread, except the destructor. Each takes a
/// mutex for a few instructions; callbacks, log lines and copies of arguments never run under it.
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
  /// groups become unknown, `num_ended()` 0. Exceptions are thrown after that.
  [[nodiscard]] task<flush_report> flush(std::optional<on_exception> what = {}) {
    return flush_of(core_, what.value_or(core_->settings().exceptions));
  }
  /// Waits until everything accepted has ended and forgets it. The pool can be used again after
  /// `unlock()`. Throws `pool_still_unlocked`; `errc::would_deadlock` in a task of this pool.
  [[nodiscard]] task<gather_report> gather(std::optional<on_exception> what = {}) {
    return gather_of(core_, what.value_or(core_->settings().exceptions), false);
  }
  /// Locks the pool, waits until everything accepted has ended and closes it for good. May be
  /// called again, also if its caller was cancelled, which does nothing to the tasks.
  [[nodiscard]] task<gather_report> gather_and_close(std::optional<on_exception> what = {}) {
    return gather_of(core_, what.value_or(core_->settings().exceptions), true);
  }
  /// Waits until the pool is closed. Always true.
  [[nodiscard]] task<bool> until_closed() { return closed_of(core_); }
  [[nodiscard]] bool is_closed() const { return core_->snapshot().closed; }

 protected:
  pool_base(runtime& on, std::string_view kind, detail::task_pool_settings settings)
      : keeps_(on.scheduler()),
        core_(std::make_shared<detail::task_pool_core>(on.scheduler(), kind, std::move(settings))),
        listed_(
            core_.get(),
            [](const void* core) {
              return static_cast<const detail::task_pool_core*>(core)->stats();
            },
            core_->str()) {}
  /// Cancels everything and waits for it; on a worker it does not wait, and the pool's core lives
  /// on until all has ended.
  ~pool_base();

  static detail::task_pool_settings settings_of(task_pool_options options);

  template <std::signed_integral Size>
  static std::size_t checked_size(Size size) {
    if (size < 0)
      throw invalid_pool_option("Pool size can not be less than 0");
    return static_cast<std::size_t>(size);
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

  detail::scheduler_share keeps_;
  core_pointer core_;
  detail::pool_registration listed_;
};

/// Starts tasks of different callables and arguments, in groups, at most `pool_size` at a time.
///
/// `apply` starts equal ones; `map` one for each element of a range, `starmap` for each tuple of
/// arguments. All return at once. Tasks that find room have started when they return, others wait:
/// groups take turns. Arguments are read one ahead, first by the caller, then by the workers that
/// end tasks; reading should not block.
///
/// A task is any callable, plain or a coroutine, also one that takes a stop token first. Callables
/// and arguments are copied for each task. With GCC 12, name a group that is made with options
/// before it is awaited: a compiler defect destroys what is made in braces twice that stand in the
/// expression of a `co_await`. `fn<&f>` and `named("f", f)` tell the name that stands in group
/// names and log lines.
class WEIR_API task_pool : public pool_base {
 public:
  /// Logs "<name> initialized". When the runtime has ended, the pool refuses tasks.
  explicit task_pool(runtime& on, task_pool_options options = {})
      : pool_base(on, "TaskPool", settings_of(std::move(options))) {}
  /// For sizes that may be negative: throws `invalid_pool_option`.
  template <std::signed_integral Size>
  task_pool(runtime& on, Size pool_size)
      : task_pool(on, task_pool_options{.pool_size = checked_size(pool_size)}) {}
  ~task_pool() = default;

  /// Starts `options.num` tasks `f(args...)`.
  ///
  /// Throws `pool_is_closed`, `pool_is_locked`, `pool_is_full`, `task_group_already_exists`,
  /// `errc::stopped`, `errc::empty_callable`, `std::bad_alloc` if there is no memory for the group
  /// or its first task, and what copying throws. (Without memory for a later task the group ends
  /// early, which `gather` reports.)
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
    if constexpr (std::ranges::range<detail::kept_range_t<Kept>>)
      return std::type_identity<std::ranges::range_value_t<detail::kept_range_t<Kept>>>();
    else
      return std::type_identity<detail::async_element_t<Kept>>();
  }
  template <class T, detail::stars Stars, class F, class Kept>
  static auto source_of() {
    if constexpr (std::ranges::range<detail::kept_range_t<Kept>>)
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
    using range = detail::kept_range_t<kept>;
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
