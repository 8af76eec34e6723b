// SPDX-License-Identifier: MIT
/// \file
/// The clock that a runtime reads.
#pragma once

#include <weir/version.hpp>

#include <chrono>

namespace weir {

/// Where a runtime takes the time from. Derive to substitute it; the base is the steady clock.
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
};

} // namespace weir
