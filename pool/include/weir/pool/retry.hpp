// SPDX-License-Identifier: MIT
/// \file
/// `retry_options`: how often a task of a pool may be called again after it has thrown.
#pragma once

#include <weir/pool/errors.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>

namespace weir {

/// How a task that throws is called again, with copies of its callable and arguments.
///
/// To the pool it stays one task: it starts and ends once, keeps its id, and its room also during
/// the delays, as every suspended task does; it fails by what the last attempt has thrown. Stop
/// requested of it ends a delay at once. An attempt that ends by `task_cancelled` is the last.
struct retry_options {
  /// How often the callable is called at most, the first time included; at least 1.
  std::size_t attempts = 1;
  /// Whether to go on after an attempt has thrown this; empty: always. What it throws itself
  /// becomes the task's exception. It may be called by several tasks at the same time.
  std::function<bool(const std::exception_ptr&)> when{};
  /// From the end of an attempt to the next one, by the runtime's clock. 0: the next one stands in
  /// line behind the other tasks of its worker.
  std::chrono::nanoseconds delay{0};
  /// Each delay is as many times as long as the one before, at least 1, up to `max_delay`.
  double growth = 1;
  std::chrono::nanoseconds max_delay = std::chrono::hours(1);
  /// Stops an attempt of a coroutine that runs longer: it has thrown `errc::timed_out` then. (The
  /// call's `timeout` is for all attempts together, delays included, and is not tried again.)
  std::optional<std::chrono::nanoseconds> attempt_timeout{};
};

namespace detail {

inline void require_valid(const retry_options& options) {
  if (options.attempts == 0)
    throw invalid_pool_option("`attempts` of retry must be at least 1");
  if (!(options.growth >= 1))
    throw invalid_pool_option("`growth` of retry must be at least 1");
}

/// The delay before the attempt after the next one.
[[nodiscard]] inline std::chrono::nanoseconds grown_delay(std::chrono::nanoseconds delay,
                                                          const retry_options& options) noexcept {
  const double longer = static_cast<double>(delay.count()) * options.growth;
  // Not turned round: infinite growth of no delay is no number.
  if (!(longer < static_cast<double>(options.max_delay.count())))
    return options.max_delay;
  return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(longer));
}

} // namespace detail

} // namespace weir
