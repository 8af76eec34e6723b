// SPDX-License-Identifier: MIT
// Sorts ten million numbers in random order.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

namespace {

class sorting {
 public:
  static constexpr const char* name = "sort";
  static constexpr int iterations = 1;
  static constexpr long forks = 0;
  static constexpr std::size_t size = 10'000'000;
  static constexpr long work = size;

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

  bool serial() {
    std::sort(values_.begin(), values_.end());
    return true;
  }
  template <sorts Peer>
  bool solve() {
    Peer::sort(values_.begin(), values_.end());
    return true;
  }

 private:
  std::vector<std::uint32_t> values_;
};

const problem added([](const sweep& workers) { add_all<sorting>(workers); });

} // namespace

} // namespace bench
