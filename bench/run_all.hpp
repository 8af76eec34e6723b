// SPDX-License-Identifier: MIT
// What the main of every program ends with.
#pragma once

#include "line_trip.hpp"
#include "verdict.hpp"

#include <string>

#include <benchmark/benchmark.h>

namespace bench {

/// Runs what the options of Google Benchmark choose. \return the exit status.
inline int run_all(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::AddCustomContext("line_round_trip_ns", std::to_string(line_round_trip_ns()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return failed ? 1 : 0;
}

} // namespace bench
