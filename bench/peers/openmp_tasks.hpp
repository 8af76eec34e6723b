// SPDX-License-Identifier: MIT
// OpenMP's tasks behind the benchmarks' common face (face.hpp). Only a thread of the team can
// start them, so there is no way in from outside but to open a parallel region and wait for it.
#pragma once

#include "openmp_library.hpp"

#include <cstddef>
#include <string>
#include <utility>

#include <omp.h>

namespace bench {

class openmp_tasks {
 public:
  static inline const std::string name = openmp_library();

  explicit openmp_tasks(std::size_t workers) : workers_(static_cast<int>(workers)) {
    omp_set_dynamic(0);
  }

  template <class F>
  void run(F f) {
#pragma omp parallel num_threads(workers_)
#pragma omp single
    f();
  }
  template <class F>
  void post_from_job(F f) {
#pragma omp task firstprivate(f)
    f();
  }
  template <class F>
  void fan_out(long rounds, long width, F f) {
    run([&] {
      for (long round = 0; round < rounds; ++round) {
#pragma omp taskgroup
        for (long i = 0; i < width; ++i) {
#pragma omp task firstprivate(f)
          f();
        }
      }
    });
  }

 private:
  int workers_;
};

} // namespace bench
