// SPDX-License-Identifier: MIT
// Numbers without a pattern, for data and as work.
#pragma once

#include <cstdint>

namespace bench {

/// A permutation of the 32-bit numbers.
constexpr std::uint32_t mix(std::uint32_t x) noexcept {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

/// As many steps, each of which needs the one before.
constexpr std::uint32_t mixed(std::uint32_t x, std::uint32_t steps) noexcept {
  for (std::uint32_t step = 0; step < steps; ++step)
    x = mix(x + step);
  return x;
}

} // namespace bench
