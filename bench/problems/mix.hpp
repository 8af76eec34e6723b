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

} // namespace bench
