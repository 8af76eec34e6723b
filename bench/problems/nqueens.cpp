// SPDX-License-Identifier: MIT
// In how many ways queens stand on a board without threatening each other: one child for every
// legal square of the next row, each with a board of its own, which is checked as a whole.
#include "measure.hpp"
#include "problems/problems.hpp"

#include <array>
#include <cstddef>

namespace bench {

namespace {

template <int Size>
class nqueens {
  static_assert(Size == 12 || Size == 14);

 public:
  static constexpr const char* name = Size == 12 ? "nqueens12" : "nqueens14";
  static constexpr int iterations = 1;
  static constexpr long forks = Size == 12 ? 856'188 : 27'358'552;
  static constexpr long work = forks;
  static void reset() {}
  static bool correct(int result) { return result == (Size == 12 ? 14200 : 365596); }
  static std::size_t bytes() { return 0; }

  static int serial() { return serial({}, 0); }
  template <forks_many Peer>
  static int solve() {
    return forked<Peer>({}, 0);
  }

 private:
  /// The column of the queen of each row.
  using board = std::array<char, Size>;

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

  /// The legal squares of the next row.
  struct squares {
    std::size_t row;
    std::array<char, Size> columns;
    std::size_t count = 0;
    squares(board b, int rows) : row(static_cast<std::size_t>(rows)) {
      for (int column = 0; column < Size; ++column) {
        b[row] = static_cast<char>(column);
        if (legal(b, rows + 1))
          columns[count++] = static_cast<char>(column);
      }
    }
    /// With a queen on one of them.
    [[nodiscard]] board board_with(board b, std::size_t square) const {
      b[row] = columns[square];
      return b;
    }
  };

  // Not inlined, both: see fib.cpp.
  [[gnu::noinline]] static int serial(const board& b, int rows) {
    if (rows == Size)
      return 1;
    const squares next(b, rows);
    int sum = 0;
    for (std::size_t i = 0; i < next.count; ++i)
      sum += serial(next.board_with(b, i), rows + 1);
    return sum;
  }

  template <class Peer>
  [[gnu::noinline]] static int forked(const board& b, int rows) {
    if (rows == Size)
      return 1;
    const squares next(b, rows);
    if (next.count == 0)
      return 0;
    return Peer::fold(next.count, [&b, rows, &next](std::size_t i) {
      return forked<Peer>(next.board_with(b, i), rows + 1);
    });
  }
};

const problem added([](const sweep& workers) {
  add_all<nqueens<12>>(workers);
  add_all<nqueens<14>>(workers);
});

} // namespace

} // namespace bench
