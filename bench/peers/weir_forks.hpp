// SPDX-License-Identifier: MIT
// weir's jobs that wait for nothing: forks of one job.
#pragma once

#include <weir/fork_join.hpp>
#include <weir/runtime.hpp>

#include <cstddef>

namespace bench {

class weir_forks {
 public:
  static constexpr const char* name = "weir-forks";
  explicit weir_forks(std::size_t workers) : runtime_({.workers = workers}) {}

  template <class F>
  void fan_out(long rounds, long width, F f) {
    runtime_
        .submit([rounds, width, f] {
          for (long round = 0; round < rounds; ++round)
            weir::with_fork_scope([width, f](weir::fork_scope& scope) {
              for (long i = 0; i < width; ++i)
                scope.fork(f);
            });
        })
        .get();
  }

 private:
  weir::runtime runtime_;
};

} // namespace bench
