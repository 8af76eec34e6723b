// SPDX-License-Identifier: MIT
// Fork and join: recursion and loops by weir, oneTBB, OpenMP and without any of them, each with one
// and two workers. The same work in the same pieces for all, and every run's result is checked.
//   fork [--rss] [options of Google Benchmark]    --rss: also the peak memory beyond the data
#include "measure.hpp"
#include "problems/fib.hpp"
#include "problems/loops.hpp"
#include "problems/matmul.hpp"
#include "problems/nqueens.hpp"
#include "problems/reduce.hpp"
#include "problems/skynet.hpp"
#include "problems/sort.hpp"
#include "problems/uts.hpp"

#include <algorithm>
#include <string_view>

#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  char** const end = std::remove(argv, argv + argc, std::string_view("--rss"));
  bench::reports_memory = end != argv + argc;
  argc = static_cast<int>(end - argv);
  argv[argc] = nullptr;

  bench::fib::add_all();
  bench::skynet::add_all();
  bench::nqueens::add_all();
  bench::matmul<1024>::add_all();
  bench::matmul<2048>::add_all();
  bench::uts<bench::uts_t1>::add_all();
  bench::uts<bench::uts_t3>::add_all();
  bench::tiny_loop::add_all();
  bench::uneven_loop::add_all();
  bench::coarse_loop::add_all();
  bench::sorting::add_all();
  bench::reduction::add_all();

  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return bench::failed ? 1 : 0;
}
