// SPDX-License-Identifier: MIT
// Fibonacci numbers by recursion: nothing but forks, one for each call with n > 1.
#pragma once

#include "measure.hpp"
#include "peers/fork_peers.hpp"

#include <weir/weir.hpp>

#include <cstddef>

#ifdef BENCH_HAS_TBB
#include <tbb/parallel_invoke.h>
#endif

namespace bench {

class fib {
 public:
  static constexpr const char* name = "fib36";
  static constexpr int index = 36;
  static constexpr int iterations = 1;
  static void reset() {}
  static bool correct(long result) { return result == 14930352; }
  static std::size_t bytes() { return 0; }

  static long serial(int n) { return n < 2 ? n : serial(n - 1) + serial(n - 2); }

  static long functions(int n) {
    if (n < 2)
      return n;
    const auto [a, b] =
        weir::fork_join([n] { return functions(n - 1); }, [n] { return functions(n - 2); });
    return a + b;
  }

  static weir::task<long> coroutines(int n) {
    if (n < 2)
      co_return n;
    const auto [a, b] = co_await weir::join(weir::fork([n] { return coroutines(n - 1); }),
                                            weir::fork([n] { return coroutines(n - 2); }));
    co_return a + b;
  }

#ifdef BENCH_HAS_TBB
  static long onetbb(int n) {
    if (n < 2)
      return n;
    long a = 0;
    long b = 0;
    tbb::parallel_invoke([n, &a] { a = onetbb(n - 1); }, [n, &b] { b = onetbb(n - 2); });
    return a + b;
  }
#endif

  static void add_all() {
    add<fib, serial_peer>("serial", {1}, [](fib&) { return serial(index); });
    add<fib, weir_peer>("weir-functions", {1, 2}, [](fib&) { return functions(index); });
    add<fib, weir_workers>("weir-coroutines", {1, 2}, [](fib&) { return coroutines(index); });
#ifdef BENCH_HAS_TBB
    add<fib, tbb_peer>("onetbb", {1, 2}, [](fib&) { return onetbb(index); });
#endif
  }
};

} // namespace bench
