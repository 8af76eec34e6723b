// SPDX-License-Identifier: MIT
/// \file
/// The clock that a runtime reads.
#pragma once

#include <weir/version.hpp>

#include <chrono>

namespace weir {

/// Where a runtime takes the time from. Derive to substitute it; the base is the steady clock.
/// Thread safety: `now()` is called from any thread.
class WEIR_API clock {
 public:
  using duration = std::chrono::steady_clock::duration;
  using time_point = std::chrono::steady_clock::time_point;

  clock() noexcept {}
  clock(const clock&) = delete;
  clock& operator=(const clock&) = delete;
  virtual ~clock();

  /// The current time. Never goes back.
  [[nodiscard]] virtual time_point now() const noexcept;

  /// The steady clock that runtimes use by default.
  [[nodiscard]] static const clock& steady() noexcept;
};

} // namespace weir
