// SPDX-License-Identifier: MIT
// Eigen's thread pool (NonBlockingThreadPool): loops only, by its ThreadPoolDevice, whose cost
// model decides about the pieces. A job of the pool that waits for others holds its thread, so that
// a recursion would end with all threads waiting. The calling thread sleeps meanwhile.
#pragma once

#include "fork_face.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#define EIGEN_USE_THREADS
#include <unsupported/Eigen/CXX11/Tensor>

namespace bench {

class eigen_device {
 public:
  static constexpr const char* name = "eigen";

  explicit eigen_device(int threads) : pool_(threads), device_(&pool_, threads) {
    current_ = &device_;
  }
  eigen_device(const eigen_device&) = delete;
  eigen_device& operator=(const eigen_device&) = delete;
  ~eigen_device() { current_ = nullptr; }

  template <class F>
  auto run(F f) {
    return f();
  }

  template <class F>
  static void loop(std::size_t size, loop_hints hints, const F& f) {
    current_->parallelFor(static_cast<Eigen::Index>(size),
                          Eigen::TensorOpCost(0, sizeof(std::uint32_t), hints.cycles),
                          [&f](Eigen::Index first, Eigen::Index last) {
                            for (Eigen::Index i = first; i < last; ++i)
                              f(static_cast<std::size_t>(i));
                          });
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    std::atomic<std::uint64_t> total{0};
    current_->parallelFor(static_cast<Eigen::Index>(values.size()),
                          Eigen::TensorOpCost(sizeof(std::uint32_t), 0, 1),
                          [&](Eigen::Index first, Eigen::Index last) {
                            std::uint64_t part = 0;
                            for (Eigen::Index i = first; i < last; ++i)
                              part += f(values[static_cast<std::size_t>(i)]);
                            // Relaxed: parallelFor waits for all parts.
                            total.fetch_add(part, std::memory_order_relaxed);
                          });
    return total.load(std::memory_order_relaxed);
  }

 private:
  static inline Eigen::ThreadPoolDevice* current_ = nullptr;
  Eigen::ThreadPool pool_;
  Eigen::ThreadPoolDevice device_;
};

} // namespace bench
