// SPDX-License-Identifier: MIT
// Loops: ten million bodies of a few instructions, and a thousand of which some take a thousand
// times as long as others.
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
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#endif

namespace bench {

/// What both loops have in common: body i writes element i, which is checked.
template <class Derived, std::size_t Size>
class loop {
 public:
  static constexpr std::size_t size = Size;

  loop() : values_(size) {}
  void reset() { std::fill(values_.begin(), values_.end(), 0); }
  [[nodiscard]] std::size_t bytes() const { return size * sizeof(values_[0]); }

  static void add_all() {
    add<Derived, serial_peer>("serial", {1}, [](Derived& l) {
      for (std::size_t i = 0; i < size; ++i)
        l.body(i);
      return true;
    });
    add<Derived, weir_peer>("weir-functions", {1, 2}, [](Derived& l) {
      weir::parallel_for(std::size_t{0}, size, [&l](std::size_t i) { l.body(i); });
      return true;
    });
#ifdef BENCH_HAS_TBB
    add<Derived, tbb_peer>("onetbb", {1, 2}, [](Derived& l) {
      tbb::parallel_for(tbb::blocked_range<std::size_t>(0, size),
                        [&l](const tbb::blocked_range<std::size_t>& part) {
                          for (std::size_t i = part.begin(), end = part.end(); i != end; ++i)
                            l.body(i);
                        });
      return true;
    });
#endif
#ifdef _OPENMP
    add<Derived, openmp_peer>("openmp-static", {1, 2}, [](Derived& l) {
#pragma omp parallel for schedule(static)
      for (std::size_t i = 0; i < size; ++i)
        l.body(i);
      return true;
    });
    add<Derived, openmp_peer>("openmp-dynamic", {1, 2}, [](Derived& l) {
#pragma omp parallel for schedule(dynamic, Derived::chunk)
      for (std::size_t i = 0; i < size; ++i)
        l.body(i);
      return true;
    });
#endif
  }

 protected:
  std::vector<std::uint32_t> values_;
};

class tiny_loop : public loop<tiny_loop, 10'000'000> {
 public:
  static constexpr const char* name = "for_tiny";
  static constexpr int iterations = 10;
  static constexpr int chunk = 4096; // for OpenMP's dynamic schedule
  void body(std::size_t i) { values_[i] = value(i); }
  [[nodiscard]] bool correct(bool) const {
    for (std::size_t i = 0; i < size; ++i)
      if (values_[i] != value(i))
        return false;
    return true;
  }

 private:
  /// Not zero, which is what reset() leaves.
  static std::uint32_t value(std::size_t i) { return mix(static_cast<std::uint32_t>(i)) | 1U; }
};

class uneven_loop : public loop<uneven_loop, 1'000> {
 public:
  static constexpr const char* name = "for_uneven";
  static constexpr int iterations = 5;
  static constexpr int chunk = 1;

  uneven_loop() : expected_(size) {
    for (std::size_t i = 0; i < size; ++i)
      expected_[i] = work(i);
  }
  void body(std::size_t i) { values_[i] = work(i); }
  [[nodiscard]] bool correct(bool) const { return values_ == expected_; }

 private:
  /// A chain of 1,000 to 1,000,000 steps. Half of the bodies take less than 2,000; ten take nearly
  /// as long as all others together, and the second half twice as long as the first.
  static std::uint32_t work(std::size_t i) {
    const auto x = static_cast<std::uint32_t>(3000 + i);
    return mixed(x, 1'000'000U / (1U + mix(x) % 1000U));
  }

  std::vector<std::uint32_t> expected_;
};

/// Few bodies of about ten milliseconds: what does not spread at once costs much.
class coarse_loop : public loop<coarse_loop, 64> {
 public:
  static constexpr const char* name = "for_coarse";
  static constexpr int iterations = 1;
  static constexpr int chunk = 1;

  /// Not inlined, so that all run the same instructions.
  [[gnu::noinline]] void body(std::size_t i) {
    values_[i] = mixed(static_cast<std::uint32_t>(i), 4'000'000);
  }
  [[nodiscard]] bool correct(bool) const {
    static const std::vector<std::uint32_t> expected = [] {
      coarse_loop reference;
      for (std::size_t i = 0; i < size; ++i)
        reference.body(i);
      return reference.values_;
    }();
    return values_ == expected;
  }
};

} // namespace bench
