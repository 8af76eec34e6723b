// SPDX-License-Identifier: MIT
// std::async behind the benchmarks' common face (face.hpp): a thread for each job, so the number of
// workers means nothing.
#pragma once

#include <cstddef>
#include <future>
#include <mutex>
#include <utility>
#include <vector>

namespace bench {

class std_async {
 public:
  static constexpr const char* name = "std-async";
  static constexpr bool thread_per_job = true;

  explicit std_async(std::size_t) {}

  template <class F>
  void post(F f) {
    auto started = std::async(std::launch::async, std::move(f));
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(std::move(started));
  }
  template <class F>
  auto round_trip(F f) {
    return std::async(std::launch::async, std::move(f)).get();
  }

 private:
  std::mutex mutex_;
  std::vector<std::future<void>> jobs_;
};

} // namespace bench
