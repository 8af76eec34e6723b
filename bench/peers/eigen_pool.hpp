// SPDX-License-Identifier: MIT
// Eigen's NonBlockingThreadPool behind the benchmarks' common face (face.hpp). A queue of it holds
// 1,024 jobs; a job that finds it full is run by the thread that submits.
#pragma once

#include <cstddef>
#include <future>
#include <utility>

#include <unsupported/Eigen/CXX11/ThreadPool>

namespace bench {

class eigen_pool {
 public:
  static constexpr const char* name = "eigen";

  explicit eigen_pool(std::size_t workers) : pool_(static_cast<int>(workers)) {}

  template <class F>
  void post(F f) {
    pool_.Schedule(std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    post([&] { result.set_value(f()); });
    return got.get();
  }

 private:
  Eigen::ThreadPool pool_;
};

} // namespace bench
