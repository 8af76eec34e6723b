// SPDX-License-Identifier: MIT
// Fork and join: recursions, loops and a pipeline by weir, by other libraries and without any of
// them. The same work in the same pieces for all, and every run's result is checked.
//   fork [--workers 1,2,8] [--rss] [options of Google Benchmark]
//     --workers  instead of 1, 2, 4... up to the CPUs, and for some problems twice as many as these
//     --rss      also the peak memory beyond the data
#include "measure.hpp"
#include "problems/fib.hpp"
#include "problems/loops.hpp"
#include "problems/matmul.hpp"
#include "problems/nqueens.hpp"
#include "problems/pipeline.hpp"
#include "problems/quicksort.hpp"
#include "problems/reduce.hpp"
#include "problems/skynet.hpp"
#include "problems/sort.hpp"
#include "problems/uts.hpp"
#include "sweep.hpp"

#include <cstdio>
#include <string_view>

#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  bench::sweep workers;
  int left = 1;
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == std::string_view("--rss")) {
      bench::reports_memory = true;
    } else if (argv[i] == std::string_view("--workers")) {
      const auto given = bench::sweep::of_text(++i < argc ? argv[i] : "");
      if (!given) {
        std::fputs("fork: --workers takes counts from 1 to 1024, such as 1,2,8\n", stderr);
        return 2;
      }
      workers = *given;
    } else {
      argv[left++] = argv[i];
    }
  }
  argc = left;
  argv[argc] = nullptr;

  bench::add_all<bench::fib<36>>(workers);
  bench::add_all<bench::fib<16>>(workers);
  bench::add_all<bench::skynet>(workers);
  bench::add_all<bench::nqueens<12>>(workers);
  bench::add_all<bench::nqueens<14>>(workers);
  bench::add_all<bench::matmul<1024>>(workers);
  bench::add_all<bench::matmul<2048>>(workers);
  bench::add_all<bench::uts<bench::uts_t1>>(workers);
  bench::add_all<bench::uts<bench::uts_t3>>(workers);
  bench::add_all<bench::quicksort>(workers);
  bench::add_all<bench::pipeline>(workers);
  bench::add_all<bench::tiny_loop>(workers);
  bench::add_all<bench::uneven_loop>(workers);
  bench::add_all<bench::coarse_loop>(workers);
  bench::add_all<bench::sorting>(workers);
  bench::add_all<bench::reduction>(workers);

  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return bench::failed ? 1 : 0;
}
