// SPDX-License-Identifier: MIT
// fib by other libraries, on the calling thread alone.
#include "../peers/fork_peers.hpp"
#include "fib.hpp"

#ifdef BENCH_HAS_TBB
#include <tbb/parallel_invoke.h>
#endif

namespace bench::counted {

#ifdef BENCH_HAS_TBB
namespace {

long fib_onetbb(int n) {
  if (n < 2)
    return n;
  long a = 0;
  long b = 0;
  tbb::parallel_invoke([n, &a] { a = fib_onetbb(n - 1); }, [n, &b] { b = fib_onetbb(n - 2); });
  return a + b;
}

long count_onetbb(long n) {
  tbb_threads peer(1);
  return fib_operations(n, peer.run([n] { return fib_onetbb(static_cast<int>(n)); }));
}
constexpr operation all[] = {{"fib/onetbb", 15, 22, count_onetbb}};

} // namespace

std::span<const operation> forks_of_peers() {
  return all;
}
#else
std::span<const operation> forks_of_peers() {
  return {};
}
#endif

} // namespace bench::counted
