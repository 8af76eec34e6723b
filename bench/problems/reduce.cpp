// SPDX-License-Identifier: MIT
// Sum of the squares of ten million numbers.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

namespace {

class reduction {
 public:
  static constexpr const char* name = "reduce";
  static constexpr int iterations = 10;
  static constexpr long forks = 0;
  static constexpr std::size_t size = 10'000'000;
  static constexpr long work = size;

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

  [[nodiscard]] std::uint64_t serial() const {
    std::uint64_t sum = 0;
    for (const std::uint32_t x : values_)
      sum += square(x);
    return sum;
  }
  template <has_sums Peer>
  [[nodiscard]] std::uint64_t solve() const {
    return Peer::sum(values_, [](std::uint32_t x) { return square(x); });
  }

 private:
  std::vector<std::uint32_t> values_;
  std::uint64_t expected_;
};

const problem added([](const sweep& workers) { add_all<reduction>(workers); });

} // namespace

} // namespace bench
