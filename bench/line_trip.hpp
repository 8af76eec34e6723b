// SPDX-License-Identifier: MIT
// How near the CPUs are to each other: what every figure that threads share a line for depends on.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace bench {

/// Nanoseconds for which a word goes from one thread to another and back, the shortest of a few
/// samples. Where CPUs are virtual, it changes by a factor of up to ten with their places.
inline double line_round_trip_ns() {
  constexpr int trips = 2000;
  constexpr int samples = 5;
  std::atomic<int> word{0};
  const auto wait_for = [&word](int value) {
    for (long turns = 1; word.load(std::memory_order_acquire) != value; ++turns) {
      if (turns % 4096 == 0)
        std::this_thread::yield(); // both may be on one CPU
    }
  };
  std::thread other([&] {
    for (int i = 0; i < samples * trips; ++i) {
      wait_for(2 * i + 1);
      word.store(2 * i + 2, std::memory_order_release);
    }
  });
  double shortest = 0;
  for (int sample = 0; sample < samples; ++sample) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = sample * trips; i < (sample + 1) * trips; ++i) {
      word.store(2 * i + 1, std::memory_order_release);
      wait_for(2 * i + 2);
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    shortest = sample == 0 ? took.count() : std::min(shortest, took.count());
  }
  other.join();
  return shortest / trips;
}

} // namespace bench
