// SPDX-License-Identifier: MIT
// Unbalanced tree search (Olivier et al., UTS, 2007): counts the nodes of a tree that no one knows
// before having walked it. A node is a SHA-1 digest; its children's digests are those of its own
// and the child's number. Trees T1 (geometric) and T3 (binomial) with their published sizes.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"
#include "problems/sha1.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>

#ifdef BENCH_HAS_TBB
#include <tbb/task_group.h>
#endif

namespace bench {

struct uts_node {
  sha1_digest digest;
  std::uint32_t depth;
};

struct uts_count {
  std::uint32_t nodes = 0;
  std::uint32_t leaves = 0;
  std::uint32_t depth = 0;
  void add(const uts_count& other) {
    nodes += other.nodes;
    leaves += other.leaves;
    depth = std::max(depth, other.depth);
  }
  bool operator==(const uts_count&) const = default;
};

inline uts_node uts_root(std::uint32_t seed) {
  return {sha1(std::array<std::uint32_t, 5>{0, 0, 0, 0, seed}), 0};
}

inline uts_node uts_child(const uts_node& parent, std::uint32_t number) {
  const auto& d = parent.digest;
  return {sha1(std::array<std::uint32_t, 6>{d[0], d[1], d[2], d[3], d[4], number}),
          parent.depth + 1};
}

/// The node's random number, 0 to 1.
inline double uts_chance(const uts_node& node) {
  return static_cast<double>(node.digest[4] & 0x7fffffffU) / 2147483648.0;
}

/// T1: four children on average, at most 100, down to depth 10.
struct uts_t1 {
  static constexpr const char* name = "uts_t1";
  static constexpr std::uint32_t seed = 19;
  static constexpr uts_count expected{4130071, 3305118, 10};
  static std::uint32_t children(const uts_node& node) {
    static const double scale = std::log(1.0 - 1.0 / (1.0 + 4.0));
    if (node.depth >= 10)
      return 0;
    const double count = std::floor(std::log(1.0 - uts_chance(node)) / scale);
    return static_cast<std::uint32_t>(std::min(count, 100.0));
  }
};

/// T3: eight children with a probability just below an eighth, 2,000 at the root.
struct uts_t3 {
  static constexpr const char* name = "uts_t3";
  static constexpr std::uint32_t seed = 42;
  static constexpr uts_count expected{4112897, 3599034, 1572};
  static std::uint32_t children(const uts_node& node) {
    if (node.depth == 0)
      return 2000;
    return uts_chance(node) < 0.124875 ? 8 : 0;
  }
};

/// Results of a node's children: on the stack if they are few.
class uts_counts {
 public:
  explicit uts_counts(std::uint32_t size)
      : size_(size), many_(size > few_.size() ? std::make_unique<uts_count[]>(size) : nullptr) {}
  uts_count& operator[](std::uint32_t i) { return many_ ? many_[i] : few_[i]; }
  /// Those of the parent.
  uts_count sum() {
    uts_count total{1, 0, 0};
    for (std::uint32_t i = 0; i < size_; ++i)
      total.add((*this)[i]);
    return total;
  }

 private:
  std::uint32_t size_;
  std::array<uts_count, 16> few_;
  std::unique_ptr<uts_count[]> many_;
};

template <class Tree>
class uts {
 public:
  static constexpr const char* name = Tree::name;
  static constexpr int iterations = 1;
  static void reset() {}
  static bool correct(const uts_count& result) { return result == Tree::expected; }
  static std::size_t bytes() { return 0; }

  static uts_count serial(const uts_node& node) {
    const std::uint32_t children = Tree::children(node);
    if (children == 0)
      return {1, 1, node.depth};
    uts_count total{1, 0, 0};
    for (std::uint32_t i = 0; i < children; ++i)
      total.add(serial(uts_child(node, i)));
    return total;
  }

  static uts_count functions(const uts_node& node) {
    const std::uint32_t count = Tree::children(node);
    if (count == 0)
      return {1, 1, node.depth};
    uts_count total = children(node, 0, count);
    ++total.nodes;
    return total;
  }
  /// So many children of the node, by halves.
  static uts_count children(const uts_node& node, std::uint32_t first, std::uint32_t count) {
    if (count == 1)
      return functions(uts_child(node, first));
    const std::uint32_t half = count / 2;
    auto [total, others] = weir::fork_join(
        [&node, first, half] { return children(node, first, half); },
        [&node, first, half, count] { return children(node, first + half, count - half); });
    total.add(others);
    return total;
  }

#ifdef BENCH_HAS_TBB
  static uts_count onetbb(const uts_node& node) {
    const std::uint32_t children = Tree::children(node);
    if (children == 0)
      return {1, 1, node.depth};
    uts_counts counts(children);
    tbb::task_group group;
    for (std::uint32_t i = 0; i < children; ++i)
      group.run([&node, i, &count = counts[i]] { count = onetbb(uts_child(node, i)); });
    group.wait();
    return counts.sum();
  }
#endif

  static void add_all() {
    add<uts, serial_peer>("serial", {1}, [](uts&) { return serial(uts_root(Tree::seed)); });
    add<uts, weir_peer>("weir-functions", {1, 2},
                        [](uts&) { return functions(uts_root(Tree::seed)); });
#ifdef BENCH_HAS_TBB
    add<uts, tbb_peer>("onetbb", {1, 2}, [](uts&) { return onetbb(uts_root(Tree::seed)); });
#endif
  }
};

} // namespace bench
