// SPDX-License-Identifier: MIT
// Skynet: a tree of ten children a node and 10^8 leaves, each a task, which give their ordinals;
// every node gives the sum of its children.
#include "measure.hpp"
#include "problems/problems.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <tuple>

namespace bench {

namespace {

class skynet {
 public:
  static constexpr const char* name = "skynet";
  static constexpr int iterations = 1;
  static constexpr long leaves = 100'000'000;
  static constexpr long forks = leaves;
  static constexpr long work = leaves;
  static void reset() {}
  static bool correct(long result) { return result == leaves / 2 * (leaves - 1); }
  static std::size_t bytes() { return 0; }

  static long serial() { return serial(0, leaves); }
  template <forks_many Peer>
  static long solve() {
    return forked<Peer>(0, leaves);
  }
  static weir::task<long> coroutines() { return coroutines(0, leaves); }
  static weir::task<long> ready_leaves() { return ready_leaves(0, leaves); }

 private:
  /// The sum of `size` leaves from `first` on. Not inlined, as `forked`: compilers would see
  /// through the lowest levels and have no leaf to call.
  [[gnu::noinline]] static long serial(long first, long size) {
    if (size == 1)
      return first;
    const long part = size / 10;
    long sum = 0;
    for (int i = 0; i < 10; ++i)
      sum += serial(first + i * part, part);
    return sum;
  }

  template <class Peer>
  [[gnu::noinline]] static long forked(long first, long size) {
    if (size == 1)
      return first;
    const long part = size / 10;
    return fold_fixed<Peer, 10>([first, part](std::size_t i) {
      return forked<Peer>(first + static_cast<long>(i) * part, part);
    });
  }

  static weir::task<long> coroutines(long first, long size) {
    if (size == 1)
      co_return first;
    const long part = size / 10;
    const auto child = [first, part](int i) {
      return weir::fork([=] { return coroutines(first + i * part, part); });
    };
    const auto sums = co_await weir::join(child(0), child(1), child(2), child(3), child(4),
                                          child(5), child(6), child(7), child(8), child(9));
    co_return std::apply([](auto... each) { return (each + ...); }, sums);
  }

  static weir::task<long> ready_leaves(long first, long size) {
    return size == 1 ? weir::make_ready_task(first) : inner(first, size);
  }
  static weir::task<long> inner(long first, long size) {
    const long part = size / 10;
    const auto child = [first, part](int i) {
      return weir::fork([=] { return ready_leaves(first + i * part, part); });
    };
    const auto sums = co_await weir::join(child(0), child(1), child(2), child(3), child(4),
                                          child(5), child(6), child(7), child(8), child(9));
    co_return std::apply([](auto... each) { return (each + ...); }, sums);
  }
};

const problem added([](const sweep& workers) { add_all<skynet>(workers); });

} // namespace

} // namespace bench
