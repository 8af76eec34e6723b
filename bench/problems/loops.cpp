// SPDX-License-Identifier: MIT
// Loops: ten million bodies of a few instructions, and a thousand of which some take a thousand
// times as long as others.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

namespace {

/// What both loops have in common: body i writes element i, which is checked.
template <class Derived, std::size_t Size>
class loop {
 public:
  static constexpr std::size_t size = Size;
  static constexpr long forks = 0;
  static constexpr long work = Size;

  loop() : values_(size) {}
  void reset() { std::fill(values_.begin(), values_.end(), 0); }
  [[nodiscard]] std::size_t bytes() const { return size * sizeof(values_[0]); }

  bool serial() {
    for (std::size_t i = 0; i < size; ++i)
      self().body(i);
    return true;
  }
  template <has_loops Peer>
  bool solve() {
    Peer::loop(size, Derived::hints, [&l = self()](std::size_t i) { l.body(i); });
    return true;
  }

 protected:
  std::vector<std::uint32_t> values_;

 private:
  Derived& self() { return static_cast<Derived&>(*this); }
};

class tiny_loop : public loop<tiny_loop, 10'000'000> {
 public:
  static constexpr const char* name = "for_tiny";
  static constexpr int iterations = 10;
  static constexpr loop_hints hints{.chunk = 4096, .cycles = 3};
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
  static constexpr bool beyond_cpus = true;
  static constexpr loop_hints hints{.chunk = 1, .cycles = 50'000};

  uneven_loop() : expected_(size) {
    for (std::size_t i = 0; i < size; ++i)
      expected_[i] = chain(i);
  }
  void body(std::size_t i) { values_[i] = chain(i); }
  [[nodiscard]] bool correct(bool) const { return values_ == expected_; }

 private:
  /// Not inlined, so that all run the same instructions: a compiler that sees a library's loop
  /// around it works on several bodies at once. A chain of 1,000 to 1,000,000 steps. Half of the
  /// bodies take less than 2,000; ten take nearly as long as all others together, and the second
  /// half twice as long as the first.
  [[gnu::noinline]] static std::uint32_t chain(std::size_t i) {
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
  static constexpr loop_hints hints{.chunk = 1, .cycles = 30'000'000};

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

const problem added([](const sweep& workers) {
  add_all<tiny_loop>(workers);
  add_all<uneven_loop>(workers);
  add_all<coarse_loop>(workers);
});

} // namespace

} // namespace bench
