// SPDX-License-Identifier: MIT
/// \file
/// The clock that a runtime reads.
#pragma once

#include <weir/version.hpp>

#include <chrono>

namespace weir {

namespace detail {
class manual_time;
} // namespace detail

/// Where a runtime takes the time from. Derive to substitute it; the base is the steady clock.
/// Workers that sleep until a deadline sleep for as long as the steady clock takes for what is left
/// of it, and then look at this clock again.
/// Thread safety: `now()` is called from any thread.
class WEIR_API clock_source {
 public:
  using duration = std::chrono::steady_clock::duration;
  using time_point = std::chrono::steady_clock::time_point;

  clock_source() noexcept {}
  clock_source(const clock_source&) = delete;
  clock_source& operator=(const clock_source&) = delete;
  virtual ~clock_source();

  /// The current time. Never goes back.
  [[nodiscard]] virtual time_point now() const noexcept;

  /// The steady clock that runtimes use by default.
  [[nodiscard]] static const clock_source& steady() noexcept;

  /// For the library: what makes a manual clock move; null for clocks that move by themselves.
  [[nodiscard]] virtual detail::manual_time* manual() const noexcept { return nullptr; }
};

} // namespace weir
