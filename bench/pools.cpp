// SPDX-License-Identifier: MIT
// Pools beside the runtime that they stand on: empty tasks from outside, 2 workers, from 1, 2 and 4
// submitting threads. Names are `pool_post/weir-<peer>/<producers>` and `pool_submit/...`. To be
// repeated with --benchmark_repetitions and --benchmark_enable_random_interleaving, so that all
// peers meet the same machine. Every run checks how many tasks have run.
#include "producers.hpp"
#include "run_all.hpp"
#include "verdict.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <string>

#include <benchmark/benchmark.h>

namespace {

constexpr std::size_t workers = 2;
constexpr long jobs_per_round = 1'000'000;

/// A round in seconds, after one that brings the memory for as many jobs, whose first touch may
/// cost more than all the rest; 0 if it ran a wrong number of jobs.
template <class Submit>
double checked_round(int producers, const Submit& submit) {
  bench::time_round(jobs_per_round, producers, submit);
  const long before = bench::tally::sum();
  const double elapsed = bench::time_round(jobs_per_round, producers, submit);
  return bench::tally::sum() - before == jobs_per_round ? elapsed : 0;
}

double post_to_runtime(int producers) {
  weir::runtime rt({.workers = workers});
  return checked_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      rt.post(bench::empty_job());
  });
}

double submit_to_runtime(int producers) {
  weir::runtime rt({.workers = workers});
  return checked_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      (void)rt.submit(bench::empty_job());
  });
}

template <class Queue>
double post_to_pool(int producers) {
  weir::runtime rt({.workers = workers});
  weir::fixed_pool<Queue> pool(rt, {.size = workers});
  return checked_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      pool.post(bench::empty_job());
  });
}

template <class Queue>
double submit_to_pool(int producers) {
  weir::runtime rt({.workers = workers});
  weir::fixed_pool<Queue> pool(rt, {.size = workers});
  return checked_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      (void)pool.submit_nowait(bench::empty_job());
  });
}

/// Registers one way to run empty tasks; `round(producers)` gives seconds.
void add(const char* what, const char* peer, double (*round)(int producers)) {
  for (const int producers : {1, 2, 4}) {
    const auto run = [round](benchmark::State& state) {
      for (auto _ : state) {
        const double elapsed = round(static_cast<int>(state.range(0)));
        state.SetIterationTime(elapsed);
        bench::fail_unless(state, elapsed != 0, "wrong number of jobs");
      }
      state.SetItemsProcessed(jobs_per_round * state.iterations());
    };
    const std::string name = std::string("pool_") + what + "/weir-" + peer;
    benchmark::RegisterBenchmark(name.c_str(), run)
        ->Arg(producers)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
  }
}

} // namespace

int main(int argc, char** argv) {
  add("post", "runtime", post_to_runtime);
  add("post", "fixed-fifo", post_to_pool<weir::fifo>);
  add("post", "fixed-lifo", post_to_pool<weir::lifo>);
  add("post", "fixed-priority", post_to_pool<weir::priority>);
  add("submit", "runtime", submit_to_runtime);
  add("submit", "fixed-fifo", submit_to_pool<weir::fifo>);
  add("submit", "fixed-lifo", submit_to_pool<weir::lifo>);
  add("submit", "fixed-priority", submit_to_pool<weir::priority>);
  return bench::run_all(argc, argv);
}
