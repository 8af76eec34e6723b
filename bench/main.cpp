// SPDX-License-Identifier: MIT
// The program around questions that register themselves.
//   PROGRAM [--rss] [options of Google Benchmark]    --rss: also the peak memory
#include "memory.hpp"
#include "run_all.hpp"

#include <algorithm>
#include <string_view>

int main(int argc, char** argv) {
  char** const end = std::remove(argv, argv + argc, std::string_view("--rss"));
  bench::reports_memory = end != argv + argc;
  argc = static_cast<int>(end - argv);
  argv[argc] = nullptr;
  return bench::run_all(argc, argv);
}
