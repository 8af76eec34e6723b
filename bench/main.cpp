// SPDX-License-Identifier: MIT
// The program around questions that register themselves.
//   PROGRAM [--rss] [options of Google Benchmark]    --rss: also the peak memory
#include "line_trip.hpp"
#include "memory.hpp"
#include "verdict.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  char** const end = std::remove(argv, argv + argc, std::string_view("--rss"));
  bench::reports_memory = end != argv + argc;
  argc = static_cast<int>(end - argv);
  argv[argc] = nullptr;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::AddCustomContext("line_round_trip_ns", std::to_string(bench::line_round_trip_ns()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return bench::failed ? 1 : 0;
}
