// SPDX-License-Identifier: MIT
// Product of two square matrices: the largest extent is halved until blocks of 64 x 64 remain.
// Halves of the result's rows or columns are independent, halves of the sum come one after another.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace bench {

namespace {

/// Block of a row-major matrix of `Size` columns.
template <class T, std::size_t Size>
struct block {
  T* first;
  [[nodiscard]] T* row(std::size_t i) const { return first + i * Size; }
  [[nodiscard]] block below(std::size_t rows) const { return {first + rows * Size}; }
  [[nodiscard]] block right(std::size_t columns) const { return {first + columns}; }
};

template <std::size_t Size>
class matmul {
  using input = block<const float, Size>;
  using output = block<float, Size>;

 public:
  static constexpr const char* name = Size == 1024 ? "matmul1024" : "matmul2048";
  static constexpr int iterations = Size == 1024 ? 3 : 1;
  static constexpr long forks = Size == 1024 ? 4'080 : 32'736;
  static constexpr long work = static_cast<long>(Size) * Size * Size;

  // Small whole numbers, so that every sum is exact in whatever order.
  matmul() : a_(Size * Size), b_(Size * Size), c_(Size * Size), probe_(Size) {
    for (std::size_t i = 0; i < Size * Size; ++i) {
      a_[i] = small(2 * i);
      b_[i] = small(2 * i + 1);
    }
    for (std::size_t i = 0; i < Size; ++i)
      probe_[i] = 1 + mix(static_cast<std::uint32_t>(i)) % 1000;
  }
  void reset() { std::fill(c_.begin(), c_.end(), 0.0F); }
  /// Multiplies both sides with a vector: C x = A (B x).
  [[nodiscard]] bool correct(bool) const {
    return times(c_, probe_) == times(a_, times(b_, probe_));
  }
  [[nodiscard]] static std::size_t bytes() { return 3 * Size * Size * sizeof(float); }

  bool serial() { return solve<one_after_the_other>(); }
  template <forks_two Peer>
  bool solve() {
    return multiply<Peer>({a_.data()}, {b_.data()}, {c_.data()}, {});
  }

 private:
  static constexpr std::size_t leaf = 64;

  struct one_after_the_other {
    template <class F, class G>
    static auto both(const F& f, const G& g) {
      return std::pair(f(), g());
    }
  };

  /// Where the work begins: all of it.
  struct extents {
    std::size_t rows = Size;
    std::size_t columns = Size;
    std::size_t terms = Size;
  };

  /// c += a b.
  template <class Peer>
  static bool multiply(input a, input b, output c, extents n) {
    if (n.rows >= n.columns && n.rows >= n.terms && n.rows > leaf) {
      const std::size_t half = n.rows / 2;
      const extents part{half, n.columns, n.terms};
      Peer::both([=] { return multiply<Peer>(a, b, c, part); },
                 [=] { return multiply<Peer>(a.below(half), b, c.below(half), part); });
    } else if (n.columns >= n.terms && n.columns > leaf) {
      const std::size_t half = n.columns / 2;
      const extents part{n.rows, half, n.terms};
      Peer::both([=] { return multiply<Peer>(a, b, c, part); },
                 [=] { return multiply<Peer>(a, b.right(half), c.right(half), part); });
    } else if (n.terms > leaf) {
      const std::size_t half = n.terms / 2;
      const extents part{n.rows, n.columns, half};
      multiply<Peer>(a, b, c, part);
      multiply<Peer>(a.right(half), b.below(half), c, part);
    } else {
      multiply_leaf(a, b, c);
    }
    return true;
  }

  static float small(std::size_t i) {
    return static_cast<float>(mix(static_cast<std::uint32_t>(i)) % 5) - 2;
  }

  template <class T>
  static std::vector<std::int64_t> times(const std::vector<float>& matrix,
                                         const std::vector<T>& vector) {
    std::vector<std::int64_t> product(Size);
    for (std::size_t i = 0; i < Size; ++i)
      for (std::size_t j = 0; j < Size; ++j)
        product[i] += static_cast<std::int64_t>(matrix[i * Size + j]) * vector[j];
    return product;
  }

  /// Four rows and eight columns of the result at a time, which stay in registers.
  [[gnu::noinline]] static void multiply_leaf(input a, input b, output c) {
    constexpr std::size_t height = 4;
    constexpr std::size_t width = 8;
    for (std::size_t i = 0; i < leaf; i += height) {
      for (std::size_t j = 0; j < leaf; j += width) {
        float sums[height][width] = {};
        for (std::size_t k = 0; k < leaf; ++k) {
          for (std::size_t y = 0; y < height; ++y)
            for (std::size_t x = 0; x < width; ++x)
              sums[y][x] += a.row(i + y)[k] * b.row(k)[j + x];
        }
        for (std::size_t y = 0; y < height; ++y)
          for (std::size_t x = 0; x < width; ++x)
            c.row(i + y)[j + x] += sums[y][x];
      }
    }
  }

  std::vector<float> a_;
  std::vector<float> b_;
  std::vector<float> c_;
  std::vector<std::int64_t> probe_;
};

const problem added([](const sweep& workers) {
  add_all<matmul<1024>>(workers);
  add_all<matmul<2048>>(workers);
});

} // namespace

} // namespace bench
