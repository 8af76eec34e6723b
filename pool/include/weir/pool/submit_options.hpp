// SPDX-License-Identifier: MIT
/// \file
/// What can be said of one task when it is submitted to a `fixed_pool` or `autoscale_pool`.
#pragma once

#include <weir/clock.hpp>
#include <weir/pool/callback.hpp>

#include <concepts>
#include <optional>
#include <type_traits>

namespace weir {

/// Refers to a `task_callback` that has a name of its own; the pool copies it when the task is
/// submitted. Not the callable itself: GCC 12 destroys what is made inside the braces of a
/// `co_await` twice, and this needs no destruction.
class callback_ref {
 public:
  /// None.
  callback_ref() noexcept {}
  callback_ref(const task_callback& named) noexcept : named_(&named) {} // NOLINT: it is that one
  callback_ref(const task_callback&&) = delete;
  /// Give it a name: `const weir::task_callback told = [](weir::task_id) { … };`.
  template <class F>
    requires(!std::same_as<std::decay_t<F>, callback_ref> &&
             !std::same_as<std::decay_t<F>, task_callback>)
  callback_ref(F&&) = delete; // NOLINT: as above

  /// For the library.
  [[nodiscard]] task_callback get() const { return named_ == nullptr ? task_callback() : *named_; }
  [[nodiscard]] explicit operator bool() const noexcept { return named_ != nullptr; }

 private:
  const task_callback* named_ = nullptr;
};

/// For a pool without weights. With any of these a task has an id and takes about 160 bytes
/// more, and 72 for `start_by`.
struct submit_options {
  /// Called with the task's id when it has ended, also if it was cancelled or never started: after
  /// its slot was freed, before its result is there. What it throws takes the result's place.
  callback_ref end_callback{};
  /// The same of a task that was cancelled, before that: one that has started still holds its slot.
  callback_ref cancel_callback{};
  /// A task that has not started by then, by the runtime's clock, never does: it is cancelled at
  /// that moment, by `stop_cause::not_started_in_time`, and gives its place back.
  std::optional<clock_source::time_point> start_by{};
  /// How long it may take from its start. Then stop is requested of it; if it ends by that, it has
  /// failed by `errc::timed_out`. Code that does not look is waited for.
  std::optional<clock_source::duration> timeout{};
};

/// For a pool with weights.
struct weighted_options {
  /// Smaller is earlier. Any `int`.
  int weight = 4;
  // As in submit_options.
  callback_ref end_callback{};
  callback_ref cancel_callback{};
  std::optional<clock_source::time_point> start_by{};
  std::optional<clock_source::duration> timeout{};
};

// See callback_ref.
static_assert(std::is_trivially_destructible_v<submit_options> &&
              std::is_trivially_destructible_v<weighted_options>);

} // namespace weir
