// SPDX-License-Identifier: MIT
// Random sequences of calls against a model: a sequence that shows a difference is shrunk before it
// is told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

namespace test {

/// Leaves out whatever is not needed for a difference.
/// \param difference of calls, an optional text.
template <class Call, class Difference>
std::vector<Call> shrunk(std::vector<Call> calls, const Difference& difference) {
  for (std::size_t chunk = calls.size() / 2; chunk != 0;) {
    bool smaller = false;
    for (std::size_t from = 0; from + chunk <= calls.size();) {
      std::vector<Call> rest(calls.begin(), calls.begin() + static_cast<std::ptrdiff_t>(from));
      rest.insert(rest.end(), calls.begin() + static_cast<std::ptrdiff_t>(from + chunk),
                  calls.end());
      if (difference(rest)) {
        calls = std::move(rest);
        smaller = true;
      } else {
        from += chunk;
      }
    }
    if (!smaller)
      chunk /= 2;
  }
  return calls;
}

/// Plays `count` sequences of `length` calls, with fewer under sanitizers, and fails at the first
/// difference.
/// \param make of a seed and a length, the calls.
/// \param difference of seed and calls, an optional text.
/// \param shown of calls, a text.
template <class Make, class Difference, class Show>
void play_sequences(int count, std::size_t length, const Make& make, const Difference& difference,
                    const Show& shown) {
  const auto sequences = static_cast<std::uint64_t>(rounds(count));
  for (std::uint64_t seed = 1; seed <= sequences; ++seed) {
    const auto calls = make(seed, length);
    if (!difference(seed, calls))
      continue;
    const auto again = [&](const auto& some) { return difference(seed, some); };
    const auto least = shrunk(calls, again);
    FAIL("seed " << seed << ", " << least.size() << " calls:\n" << shown(least) << *again(least));
  }
}

} // namespace test
