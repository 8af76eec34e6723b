// SPDX-License-Identifier: MIT
// Sorts ten million numbers in random order.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"
#include "problems/mix.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#ifdef BENCH_HAS_TBB
#include <tbb/parallel_sort.h>
#endif
#ifdef _OPENMP
// It uses what C++20 has deprecated, where Clang sees it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <parallel/algorithm>
#pragma GCC diagnostic pop
#endif

namespace bench {

class sorting {
 public:
  static constexpr const char* name = "sort";
  static constexpr int iterations = 1;
  static constexpr std::size_t size = 10'000'000;

  sorting() : values_(size) {}
  void reset() {
    for (std::size_t i = 0; i < size; ++i)
      values_[i] = mix(static_cast<std::uint32_t>(i));
  }
  /// The numbers are permuted, so their sums stay the same.
  [[nodiscard]] bool correct(bool) const {
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < size; ++i)
      difference += std::uint64_t{mix(values_[i])} - mix(mix(static_cast<std::uint32_t>(i)));
    return difference == 0 && std::is_sorted(values_.begin(), values_.end());
  }
  [[nodiscard]] static std::size_t bytes() { return size * sizeof(std::uint32_t); }

  static void add_all() {
    add<sorting, serial_peer>("serial", {1}, [](sorting& s) {
      std::sort(s.values_.begin(), s.values_.end());
      return true;
    });
    add<sorting, weir_peer>("weir-functions", {1, 2}, [](sorting& s) {
      weir::parallel_sort(s.values_.begin(), s.values_.end());
      return true;
    });
#ifdef BENCH_HAS_TBB
    add<sorting, tbb_peer>("onetbb", {1, 2}, [](sorting& s) {
      tbb::parallel_sort(s.values_.begin(), s.values_.end());
      return true;
    });
#endif
#ifdef _OPENMP
    add<sorting, openmp_peer>("openmp-gnu", {1, 2}, [](sorting& s) {
      __gnu_parallel::sort(s.values_.begin(), s.values_.end());
      return true;
    });
#endif
  }

 private:
  std::vector<std::uint32_t> values_;
};

} // namespace bench
