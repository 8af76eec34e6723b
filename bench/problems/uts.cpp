// SPDX-License-Identifier: MIT
// Unbalanced tree search (Olivier et al., UTS, 2007): counts the nodes of a tree that no one knows
// before having walked it. A node is a SHA-1 digest; its children's digests are those of its own
// and the child's number. Trees T1 (geometric) and T3 (binomial) with their published sizes.
#include "measure.hpp"
#include "problems/problems.hpp"
#include "problems/sha1.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace bench {

namespace {

struct uts_node {
  sha1_digest digest;
  std::uint32_t depth;
};

struct uts_count {
  std::uint32_t nodes = 0;
  std::uint32_t leaves = 0;
  std::uint32_t depth = 0;
  uts_count& operator+=(const uts_count& other) {
    nodes += other.nodes;
    leaves += other.leaves;
    depth = std::max(depth, other.depth);
    return *this;
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

template <class Tree>
class uts {
 public:
  static constexpr const char* name = Tree::name;
  static constexpr int iterations = 1;
  static constexpr long forks = Tree::expected.nodes;
  static constexpr long work = forks;
  static constexpr bool beyond_cpus = true;
  static void reset() {}
  static bool correct(const uts_count& result) { return result == Tree::expected; }
  static std::size_t bytes() { return 0; }

  static uts_count serial() { return serial(uts_root(Tree::seed)); }
  template <forks_many Peer>
  static uts_count solve() {
    return forked<Peer>(uts_root(Tree::seed));
  }

 private:
  static uts_count serial(const uts_node& node) {
    const std::uint32_t children = Tree::children(node);
    if (children == 0)
      return {1, 1, node.depth};
    uts_count total{1, 0, 0};
    for (std::uint32_t i = 0; i < children; ++i)
      total += serial(uts_child(node, i));
    return total;
  }

  template <class Peer>
  static uts_count forked(const uts_node& node) {
    const std::uint32_t children = Tree::children(node);
    if (children == 0)
      return {1, 1, node.depth};
    uts_count total = Peer::fold(children, [&node](std::size_t i) {
      return forked<Peer>(uts_child(node, static_cast<std::uint32_t>(i)));
    });
    ++total.nodes;
    return total;
  }
};

const problem added([](const sweep& workers) {
  add_all<uts<uts_t1>>(workers);
  add_all<uts<uts_t3>>(workers);
});

} // namespace

} // namespace bench
