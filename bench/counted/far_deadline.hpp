// SPDX-License-Identifier: MIT
// Deadlines for timers that are cancelled.
#pragma once

#include "../problems/mix.hpp"

#include <chrono>
#include <cstdint>

namespace bench::counted {

/// An hour ahead and more, in no order.
inline std::chrono::steady_clock::time_point far_deadline(std::chrono::steady_clock::time_point now,
                                                          long i) {
  return now + std::chrono::hours(1) +
         std::chrono::microseconds(mix(static_cast<std::uint32_t>(i)) % 1'000'000'000U);
}

} // namespace bench::counted
