// SPDX-License-Identifier: MIT
// Threads that submit empty jobs at the same time.
#pragma once

#include "tally.hpp"

#include <chrono>
#include <latch>
#include <thread>
#include <vector>

namespace bench {

/// Starts `producers` threads at once, lets each submit its share of `jobs`, and waits for the last
/// job.
/// \return seconds.
template <class Submit>
double time_round(long jobs, int producers, const Submit& submit) {
  const long before = tally::sum();
  std::latch ready(producers + 1);
  std::vector<std::thread> threads;
  for (int p = 0; p < producers; ++p) {
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      submit(jobs / producers);
    });
  }
  ready.arrive_and_wait();
  const auto start = std::chrono::steady_clock::now();
  for (auto& t : threads)
    t.join();
  // Short sleeps, so that the watcher takes no CPU from the workers.
  while (tally::sum() - before < jobs)
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

} // namespace bench
