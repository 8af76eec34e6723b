// SPDX-License-Identifier: MIT
// SHA-1 of one block (FIPS 180-4), as a source of random numbers and of work.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

using sha1_digest = std::array<std::uint32_t, 5>;

/// The digest of `Words` big-endian words.
template <std::size_t Words>
  requires(Words <= 13)
sha1_digest sha1(const std::array<std::uint32_t, Words>& message) {
  std::array<std::uint32_t, 16> w{};
  for (std::size_t i = 0; i < Words; ++i)
    w[i] = message[i];
  w[Words] = 0x80000000U;
  w[15] = static_cast<std::uint32_t>(Words * 32);

  constexpr sha1_digest start{0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U};
  auto [a, b, c, d, e] = start;
  for (std::size_t t = 0; t < 80; ++t) {
    if (t >= 16) {
      w[t % 16] = std::rotl(w[(t - 3) % 16] ^ w[(t - 8) % 16] ^ w[(t - 14) % 16] ^ w[t % 16], 1);
    }
    std::uint32_t mixed = 0;
    if (t < 20)
      mixed = ((b & c) | (~b & d)) + 0x5a827999U;
    else if (t < 40)
      mixed = (b ^ c ^ d) + 0x6ed9eba1U;
    else if (t < 60)
      mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcU;
    else
      mixed = (b ^ c ^ d) + 0xca62c1d6U;
    const std::uint32_t next = std::rotl(a, 5) + mixed + e + w[t % 16];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  return {start[0] + a, start[1] + b, start[2] + c, start[3] + d, start[4] + e};
}

} // namespace bench
