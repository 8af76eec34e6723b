// SPDX-License-Identifier: MIT
// Fork and join: recursions, loops and a pipeline by weir, by other libraries and without any of
// them. The same work in the same pieces for all, and every run's result is checked.
//   fork [--workers 1,2,8] [--rss] [options of Google Benchmark]
//     --workers  instead of 1, 2, 4... up to the CPUs, and for some problems twice as many as these
//     --rss      also the peak memory beyond the data
#include "measure.hpp"
#include "problems/problems.hpp"
#include "run_all.hpp"
#include "sweep.hpp"

#include <cstdio>
#include <string_view>

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

  bench::problem::add_all_known(workers);

  return bench::run_all(argc, argv);
}
