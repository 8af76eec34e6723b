// SPDX-License-Identifier: MIT
// std::execution::par. That of GCC's standard library runs on oneTBB, whose threads it uses here.
#pragma once

#include "fork_face.hpp"
#include "fork_tbb.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <execution>
#include <functional>
#include <iterator>
#include <numeric>
#include <span>

namespace bench {

class std_par : public tbb_threads {
 public:
  static constexpr const char* name = "std-par";
  using tbb_threads::tbb_threads;

  template <class F>
  static void loop(std::size_t size, loop_hints, const F& f) {
    std::for_each(std::execution::par, counter{0}, counter{static_cast<std::ptrdiff_t>(size)},
                  [&f](std::size_t i) { f(i); });
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    return std::transform_reduce(std::execution::par, values.begin(), values.end(),
                                 std::uint64_t{0}, std::plus<>(), f);
  }
  template <class I>
  static void sort(I first, I last) {
    std::sort(std::execution::par, first, last);
  }

 private:
  /// An integer as an iterator. That of std::views::iota would do if these algorithms took it for
  /// one of random access; they run it on one thread.
  struct counter {
    using iterator_category = std::random_access_iterator_tag;
    using value_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::size_t*;
    using reference = std::size_t;

    std::ptrdiff_t value;

    std::size_t operator*() const { return static_cast<std::size_t>(value); }
    std::size_t operator[](std::ptrdiff_t by) const { return static_cast<std::size_t>(value + by); }
    counter& operator++() { return *this += 1; }
    counter operator++(int) { return {value++}; }
    counter& operator--() { return *this -= 1; }
    counter operator--(int) { return {value--}; }
    counter& operator+=(std::ptrdiff_t by) {
      value += by;
      return *this;
    }
    counter& operator-=(std::ptrdiff_t by) { return *this += -by; }
    friend counter operator+(counter at, std::ptrdiff_t by) { return {at.value + by}; }
    friend counter operator+(std::ptrdiff_t by, counter at) { return {at.value + by}; }
    friend counter operator-(counter at, std::ptrdiff_t by) { return {at.value - by}; }
    friend std::ptrdiff_t operator-(counter a, counter b) { return a.value - b.value; }
    friend auto operator<=>(counter, counter) = default;
  };
};

} // namespace bench
