// SPDX-License-Identifier: MIT
// Calls in the place of jobs: the floor, behind the benchmarks' common face (face.hpp).
#pragma once

#include <cstddef>

namespace bench {

class serial_calls {
 public:
  static constexpr const char* name = "serial";

  explicit serial_calls(std::size_t) {}

  template <class F>
  void run(F f) {
    f();
  }
  template <class F>
  void post_from_job(F f) {
    f();
  }
  template <class F>
  void fan_out(long rounds, long width, F f) {
    for (long i = 0; i < rounds * width; ++i)
      f();
  }
};

} // namespace bench
