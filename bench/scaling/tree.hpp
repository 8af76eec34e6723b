// SPDX-License-Identifier: MIT
// Trees of forks whose size is known before anybody walks them, so that the simulation can skip
// what one worker runs alone, and real workers can run the same tree. All are binary: a node is a
// leaf, or a fork that runs its left side and leaves its right one to others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace scaling {

/// A node and, with it, everything below it. What `size` and `extra` mean is the tree's business.
struct node {
  std::uint64_t size = 0;
  std::uint64_t extra = 0;
};

struct tree {
  enum class shape { fib, skynet, uneven };
  shape kind = shape::fib;
  std::uint64_t size = 1;

  /// `fib`: of which number; `skynet`: levels of ten children; `uneven`: leaves.
  static std::optional<tree> named(std::string_view name, std::uint64_t size) {
    if (name == "fib" && size < 90)
      return tree{shape::fib, size};
    if (name == "skynet" && size < 18)
      return tree{shape::skynet, size};
    if (name == "uneven" && size != 0)
      return tree{shape::uneven, size};
    return std::nullopt;
  }

  [[nodiscard]] node root() const {
    switch (kind) {
    case shape::skynet:
      return below({size, 1});
    case shape::uneven:
      return {size, mixed(size)};
    default:
      return {size, 0};
    }
  }
  [[nodiscard]] std::uint64_t leaves(const node& n) const {
    switch (kind) {
    case shape::fib:
      return fibonacci(n.size + 1);
    case shape::skynet:
      return n.extra * power_of_ten(n.size);
    default:
      return n.size;
    }
  }
  [[nodiscard]] std::uint64_t forks(const node& n) const { return leaves(n) - 1; }
  [[nodiscard]] bool is_leaf(const node& n) const { return leaves(n) == 1; }
  [[nodiscard]] node left(const node& n) const {
    switch (kind) {
    case shape::fib:
      return {n.size - 1, 0};
    case shape::skynet:
      return below({n.size, n.extra / 2});
    default:
      return {left_leaves(n), mixed(n.extra)};
    }
  }
  [[nodiscard]] node right(const node& n) const {
    switch (kind) {
    case shape::fib:
      return {n.size - 2, 0};
    case shape::skynet:
      return below({n.size, n.extra - n.extra / 2});
    default:
      return {n.size - left_leaves(n), mixed(~n.extra)};
    }
  }
  /// Forks on the longest way from the node to a leaf. Walks everything below.
  [[nodiscard]] std::uint64_t depth(const node& n) const {
    if (is_leaf(n))
      return 0;
    if (kind == shape::fib)
      return n.size - 1;
    if (kind == shape::skynet) // ten children are split three or four times
      return n.extra > 1 ? 1 + depth(right(n)) : depth(right(n));
    const std::uint64_t l = depth(left(n));
    const std::uint64_t r = depth(right(n));
    return 1 + (l < r ? r : l);
  }

 private:
  /// A single child of skynet is that child's ten.
  static node below(node n) {
    if (n.extra == 1 && n.size != 0)
      return {n.size - 1, 10};
    return n;
  }
  static std::uint64_t fibonacci(std::uint64_t n) {
    static constexpr auto numbers = [] {
      std::array<std::uint64_t, 92> f{0, 1};
      for (std::size_t i = 2; i < f.size(); ++i)
        f[i] = f[i - 1] + f[i - 2];
      return f;
    }();
    return numbers[n];
  }
  static std::uint64_t power_of_ten(std::uint64_t n) {
    static constexpr auto powers = [] {
      std::array<std::uint64_t, 19> p{1};
      for (std::size_t i = 1; i < p.size(); ++i)
        p[i] = 10 * p[i - 1];
      return p;
    }();
    return powers[n];
  }
  /// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
  static std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
  }
  /// The smaller side has k leaves or more with a chance of 1 / sqrt(k), as below the nodes of the
  /// binomial trees of Olivier et al., UTS (2007); a coin says which side that is.
  static std::uint64_t left_leaves(const node& n) {
    const std::uint64_t half = n.size / 2;
    const double chance = static_cast<double>((n.extra >> 12) + 1) * 0x1p-52;
    const double heavy = 1 / (chance * chance);
    std::uint64_t small = heavy < 1e18 ? static_cast<std::uint64_t>(heavy) : half;
    if (small > half)
      small = 1 + mixed(n.extra ^ n.size) % half;
    return (n.extra & 1) != 0 ? small : n.size - small;
  }
};

} // namespace scaling
