// SPDX-License-Identifier: MIT
// Sum of the squares of ten million numbers.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"
#include "problems/mix.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#ifdef BENCH_HAS_TBB
#include <tbb/blocked_range.h>
#include <tbb/parallel_reduce.h>
#endif

namespace bench {

class reduction {
 public:
  static constexpr const char* name = "reduce";
  static constexpr int iterations = 10;
  static constexpr std::size_t size = 10'000'000;

  reduction() : values_(size), expected_(0) {
    for (std::size_t i = 0; i < size; ++i) {
      values_[i] = mix(static_cast<std::uint32_t>(i));
      expected_ += square(values_[i]);
    }
  }
  static void reset() {}
  [[nodiscard]] bool correct(std::uint64_t result) const { return result == expected_; }
  [[nodiscard]] static std::size_t bytes() { return size * sizeof(std::uint32_t); }

  static std::uint64_t square(std::uint32_t x) { return std::uint64_t{x} * x; }

  static void add_all() {
    add<reduction, serial_peer>("serial", {1}, [](reduction& r) {
      std::uint64_t sum = 0;
      for (const std::uint32_t x : r.values_)
        sum += square(x);
      return sum;
    });
    add<reduction, weir_peer>("weir-functions", {1, 2}, [](reduction& r) {
      return weir::parallel_transform_reduce(r.values_, std::uint64_t{0}, std::plus<>(),
                                             [](std::uint32_t x) { return square(x); });
    });
#ifdef BENCH_HAS_TBB
    add<reduction, tbb_peer>("onetbb", {1, 2}, [](reduction& r) {
      using range = tbb::blocked_range<const std::uint32_t*>;
      return tbb::parallel_reduce(
          range(r.values_.data(), r.values_.data() + size), std::uint64_t{0},
          [](const range& part, std::uint64_t sum) {
            for (const std::uint32_t x : part)
              sum += square(x);
            return sum;
          },
          std::plus<>());
    });
#endif
#ifdef _OPENMP
    add<reduction, openmp_peer>("openmp-static", {1, 2}, [](reduction& r) {
      std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
      for (std::size_t i = 0; i < size; ++i)
        sum += square(r.values_[i]);
      return sum;
    });
    add<reduction, openmp_peer>("openmp-dynamic", {1, 2}, [](reduction& r) {
      std::uint64_t sum = 0;
#pragma omp parallel for schedule(dynamic, 4096) reduction(+ : sum)
      for (std::size_t i = 0; i < size; ++i)
        sum += square(r.values_[i]);
      return sum;
    });
#endif
  }

 private:
  std::vector<std::uint32_t> values_;
  std::uint64_t expected_;
};

} // namespace bench
