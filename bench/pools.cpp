// SPDX-License-Identifier: MIT
// Pools beside the runtime that they stand on: empty tasks from outside, 2 workers. The peers of
// one question are run in turns, so that all of them meet the same machine. Every run checks how
// many tasks have run.
//
//   pools [rounds] [part of a name]
#include "tally.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <latch>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

constexpr std::size_t workers = 2;
constexpr long jobs_per_round = 1'000'000;

struct empty_job {
  void operator()() const noexcept { bench::tally::count(); }
};

/// Starts `producers` threads at once, lets each submit its share, and waits for the last job.
/// \return seconds.
template <class Submit>
double time_round(int producers, const Submit& submit) {
  const long before = bench::tally::sum();
  std::latch ready(producers + 1);
  std::vector<std::thread> threads;
  for (int p = 0; p < producers; ++p) {
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      submit(jobs_per_round / producers);
    });
  }
  ready.arrive_and_wait();
  const auto start = clock_type::now();
  for (auto& t : threads)
    t.join();
  while (bench::tally::sum() - before < jobs_per_round)
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  const std::chrono::duration<double> elapsed = clock_type::now() - start;
  if (bench::tally::sum() - before != jobs_per_round) {
    std::fputs("wrong number of jobs\n", stderr);
    std::exit(1);
  }
  return elapsed.count();
}

/// One way to run empty tasks; gives seconds for a round.
struct peer {
  std::string name;
  std::function<double(int producers)> round;
  std::vector<double> rates{};
};

double post_to_runtime(int producers) {
  weir::runtime rt({.workers = workers});
  return time_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      rt.post(empty_job());
  });
}

double submit_to_runtime(int producers) {
  weir::runtime rt({.workers = workers});
  return time_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      (void)rt.submit(empty_job());
  });
}

template <class Queue>
double post_to_pool(int producers) {
  weir::runtime rt({.workers = workers});
  weir::fixed_pool<Queue> pool(rt, {.size = workers});
  return time_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      pool.post(empty_job());
  });
}

template <class Queue>
double submit_to_pool(int producers) {
  weir::runtime rt({.workers = workers});
  weir::fixed_pool<Queue> pool(rt, {.size = workers});
  return time_round(producers, [&](long count) {
    for (long i = 0; i < count; ++i)
      (void)pool.submit_nowait(empty_job());
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
