// SPDX-License-Identifier: MIT
// Skynet: a tree of ten children a node and 10^8 leaves, each a task, which give their ordinals;
// every node gives the sum of its children.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <tuple>

#ifdef BENCH_HAS_TBB
#include <tbb/parallel_invoke.h>
#endif

namespace bench {

class skynet {
 public:
  static constexpr const char* name = "skynet";
  static constexpr long leaves = 100'000'000;
  static constexpr int iterations = 1;
  static void reset() {}
  static bool correct(long result) { return result == leaves / 2 * (leaves - 1); }
  static std::size_t bytes() { return 0; }

  /// The sum of `size` leaves from `first` on. Not inlined: compilers would see through the lowest
  /// levels and have no leaf to call.
  [[gnu::noinline]] static long serial(long first, long size) {
    if (size == 1)
      return first;
    const long part = size / 10;
    long sum = 0;
    for (int i = 0; i < 10; ++i)
      sum += serial(first + i * part, part);
    return sum;
  }

  static long functions(long first, long size) {
    return size == 1 ? first : children<10>(first, size / 10);
  }
  /// So many children of `size` leaves, by halves.
  template <int Count>
  static long children(long first, long size) {
    if constexpr (Count == 1) {
      return functions(first, size);
    } else {
      constexpr int half = Count / 2;
      const auto [a, b] =
          weir::fork_join([=] { return children<half>(first, size); },
                          [=] { return children<Count - half>(first + half * size, size); });
      return a + b;
    }
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

#ifdef BENCH_HAS_TBB
  static long onetbb(long first, long size) {
    if (size == 1)
      return first;
    const long part = size / 10;
    long sums[10];
    const auto child = [first, part, &sums](int i) {
      return [first = first + i * part, part, &sum = sums[i]] { sum = onetbb(first, part); };
    };
    tbb::parallel_invoke(child(0), child(1), child(2), child(3), child(4), child(5), child(6),
                         child(7), child(8), child(9));
    long sum = 0;
    for (const long each : sums)
      sum += each;
    return sum;
  }
#endif

  static void add_all() {
    add<skynet, serial_peer>("serial", {1}, [](skynet&) { return serial(0, leaves); });
    add<skynet, weir_peer>("weir-functions", {1, 2}, [](skynet&) { return functions(0, leaves); });
    add<skynet, weir_workers>("weir-coroutines", {1, 2},
                              [](skynet&) { return coroutines(0, leaves); });
#ifdef BENCH_HAS_TBB
    add<skynet, tbb_peer>("onetbb", {1, 2}, [](skynet&) { return onetbb(0, leaves); });
#endif
  }
};

} // namespace bench
