// SPDX-License-Identifier: MIT
// What becomes of a run that cannot be counted.
#pragma once

#include <string>

#include <benchmark/benchmark.h>

namespace bench {

/// Whether a run has given a wrong result, which the program's exit status says.
inline bool failed = false;

/// A wrong result: the scripts use no figures of such a program.
inline void fail_unless(benchmark::State& state, bool right, const char* words) {
  if (right)
    return;
  failed = true;
  state.SkipWithError(words);
}

/// The machine is too small or too slow for this run: the scripts say so and go on without it.
inline void leave_out(benchmark::State& state, const std::string& why) {
  state.SkipWithError(("left out: " + why).c_str());
}

} // namespace bench
