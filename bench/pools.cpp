// SPDX-License-Identifier: MIT
// Pools beside the runtime that they stand on: empty tasks from outside, 2 workers. The peers of
// one question are run in turns, so that all of them meet the same machine. Every run checks how
// many tasks have run.
//
//   pools [rounds] [part of a name]
#include "producers.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t workers = 2;
constexpr long jobs_per_round = 1'000'000;

/// A round that ends the program if it ran a wrong number of jobs.
template <class Submit>
double checked_round(int producers, const Submit& submit) {
  const long before = bench::tally::sum();
  const double elapsed = bench::time_round(jobs_per_round, producers, submit);
  if (bench::tally::sum() - before != jobs_per_round) {
    std::fputs("wrong number of jobs\n", stderr);
    std::exit(1);
  }
  return elapsed;
}

/// One way to run empty tasks; gives seconds for a round.
struct peer {
  std::string name;
  std::function<double(int producers)> round;
  std::vector<double> rates{};
};

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

std::vector<peer> all_peers() {
  return {
      {"runtime post", post_to_runtime},
      {"fixed_pool<fifo> post", post_to_pool<weir::fifo>},
      {"fixed_pool<lifo> post", post_to_pool<weir::lifo>},
      {"fixed_pool<priority> post", post_to_pool<weir::priority>},
      {"runtime submit", submit_to_runtime},
      {"fixed_pool<fifo> submit_nowait", submit_to_pool<weir::fifo>},
      {"fixed_pool<lifo> submit_nowait", submit_to_pool<weir::lifo>},
      {"fixed_pool<priority> submit_nowait", submit_to_pool<weir::priority>},
  };
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

} // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  const std::string_view wanted = argc > 2 ? argv[2] : "";
  for (const int producers : {1, 2, 4}) {
    auto peers = all_peers();
    std::erase_if(peers, [&](const peer& p) { return p.name.find(wanted) == std::string::npos; });
    for (int round = 0; round < rounds; ++round) {
      for (auto& p : peers)
        p.rates.push_back(static_cast<double>(jobs_per_round) / p.round(producers) / 1e6);
    }
    std::printf("%d submitting, medians of %d\n", producers, rounds);
    for (const auto& p : peers)
      std::printf("  %-36s %7.2f M/s  %5.2f of the first\n", p.name.c_str(), median(p.rates),
                  median(p.rates) / median(peers.front().rates));
  }
}
