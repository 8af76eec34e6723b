// SPDX-License-Identifier: MIT
// weir::runtime behind the benchmarks' common face.
#pragma once

#include <weir/weir.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace bench {

class weir_runtime {
 public:
  static constexpr const char* name = "weir";
  static constexpr bool has_bulk = true;

  explicit weir_runtime(std::size_t workers) : runtime_({.workers = workers}) {}

  template <class F>
  void post(F f) {
    runtime_.post(std::move(f));
  }
  template <class F>
  void post_bulk(std::span<F> jobs) {
    runtime_.post_bulk(jobs);
  }
  template <class F>
  auto round_trip(F f) {
    return runtime_.submit(std::move(f)).get();
  }

 private:
  weir::runtime runtime_;
};

} // namespace bench
