// SPDX-License-Identifier: MIT
// In how many ways 14 queens stand on a board without threatening each other: one child for every
// legal square of the next row, each with a board of its own, which is checked as a whole.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

#ifdef BENCH_HAS_TBB
#include <tbb/task_group.h>
#endif

namespace bench {

class nqueens {
 public:
  static constexpr const char* name = "nqueens14";
  static constexpr int size = 14;
  static constexpr int iterations = 1;
  static void reset() {}
  static bool correct(int result) { return result == 365596; }
  static std::size_t bytes() { return 0; }

  /// The column of the queen of each row.
  using board = std::array<char, size>;

  /// Not inlined, so that all run the same instructions.
  [[gnu::noinline]] static bool legal(const board& b, int rows) {
    for (int i = 0; i < rows; ++i) {
      const int p = b[static_cast<std::size_t>(i)];
      for (int j = i + 1; j < rows; ++j) {
        const int q = b[static_cast<std::size_t>(j)];
        if (q == p || q == p - (j - i) || q == p + (j - i))
          return false;
      }
    }
    return true;
  }

  /// The next board with one queen more than `rows`, from `column` on.
  static bool next(board& b, int rows, int& column) {
    for (; column < size; ++column) {
      b[static_cast<std::size_t>(rows)] = static_cast<char>(column);
      if (legal(b, rows + 1))
        return true;
    }
    return false;
  }

  static int serial(board b, int rows) {
    if (rows == size)
      return 1;
    int sum = 0;
    for (int column = 0; next(b, rows, column); ++column)
      sum += serial(b, rows + 1);
    return sum;
  }

  static int functions(board b, int rows, int column) {
    if (rows == size)
      return 1;
    if (!next(b, rows, column))
      return 0;
    const auto [child, others] =
        weir::fork_join([b, rows] { return functions(b, rows + 1, 0); },
                        [b, rows, column] { return functions(b, rows, column + 1); });
    return child + others;
  }

#ifdef BENCH_HAS_TBB
  static int onetbb(board b, int rows) {
    if (rows == size)
      return 1;
    std::array<int, size> sums{};
    tbb::task_group children;
    for (int column = 0; next(b, rows, column); ++column)
      children.run(
          [b, rows, &sum = sums[static_cast<std::size_t>(column)]] { sum = onetbb(b, rows + 1); });
    children.wait();
    return std::accumulate(sums.begin(), sums.end(), 0);
  }
#endif

  static void add_all() {
    add<nqueens, serial_peer>("serial", {1}, [](nqueens&) { return serial({}, 0); });
    add<nqueens, weir_peer>("weir-functions", {1, 2}, [](nqueens&) { return functions({}, 0, 0); });
#ifdef BENCH_HAS_TBB
    add<nqueens, tbb_peer>("onetbb", {1, 2}, [](nqueens&) { return onetbb({}, 0); });
#endif
  }
};

} // namespace bench
