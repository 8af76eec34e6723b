// SPDX-License-Identifier: MIT
// Quicksort of four million numbers: both sides of a partition are forks, and few numbers are
// sorted by the standard library.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

namespace {

class quicksort {
 public:
  static constexpr const char* name = "quicksort";
  static constexpr int iterations = 1;
  static constexpr long forks = 5'000;
  static constexpr std::size_t size = 4'000'000;
  static constexpr long work = size;
  static constexpr bool beyond_cpus = true;

  quicksort() : values_(size) {}
  void reset() {
    for (std::size_t i = 0; i < size; ++i)
      values_[i] = value(i);
  }
  /// The numbers are permuted, so their sums stay the same.
  [[nodiscard]] bool correct(bool) const {
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < size; ++i)
      difference += std::uint64_t{mix(values_[i])} - mix(value(i));
    return difference == 0 && std::is_sorted(values_.begin(), values_.end());
  }
  [[nodiscard]] static std::size_t bytes() { return size * sizeof(std::uint32_t); }

  bool serial() { return serial(values_.data(), values_.data() + size); }
  template <forks_two Peer>
  bool solve() {
    return forked<Peer>(values_.data(), values_.data() + size);
  }

 private:
  static constexpr std::ptrdiff_t leaf = 2048;

  /// Different for each i.
  static std::uint32_t value(std::size_t i) { return mix(static_cast<std::uint32_t>(i)); }

  /// The first of those that are not less than the median of three; not inlined, so that all run
  /// the same instructions.
  [[gnu::noinline]] static std::uint32_t* partition(std::uint32_t* first, std::uint32_t* last) {
    const std::uint32_t a = *first;
    const std::uint32_t b = first[(last - first) / 2];
    const std::uint32_t c = last[-1];
    const std::uint32_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    return std::partition(first, last, [pivot](std::uint32_t x) { return x < pivot; });
  }
  [[gnu::noinline]] static bool sort_leaf(std::uint32_t* first, std::uint32_t* last) {
    std::sort(first, last);
    return true;
  }

  static bool serial(std::uint32_t* first, std::uint32_t* last) {
    if (last - first <= leaf)
      return sort_leaf(first, last);
    std::uint32_t* const middle = partition(first, last);
    return serial(first, middle) && serial(middle, last);
  }
  template <class Peer>
  static bool forked(std::uint32_t* first, std::uint32_t* last) {
    if (last - first <= leaf)
      return sort_leaf(first, last);
    std::uint32_t* const middle = partition(first, last);
    const auto [left, right] = Peer::both([=] { return forked<Peer>(first, middle); },
                                          [=] { return forked<Peer>(middle, last); });
    return left && right;
  }

  std::vector<std::uint32_t> values_;
};

const problem added([](const sweep& workers) { add_all<quicksort>(workers); });

} // namespace

} // namespace bench
