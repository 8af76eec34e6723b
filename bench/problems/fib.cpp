// SPDX-License-Identifier: MIT
// Fibonacci numbers by recursion: nothing but forks, one for each call with n > 1. Number 36 for
// forks that cost nanoseconds, number 16 so that a thread for each is possible too.
#include "measure.hpp"
#include "problems/problems.hpp"

#include <weir/weir.hpp>

#include <cstddef>

namespace bench {

namespace {

template <int Index>
class fib {
  static_assert(Index == 36 || Index == 16);

 public:
  static constexpr const char* name = Index == 36 ? "fib36" : "fib16";
  static constexpr int iterations = Index == 36 ? 1 : 5;
  static constexpr long forks = Index == 36 ? 24'157'816 : 1'596;
  static constexpr long work = forks;
  static void reset() {}
  static bool correct(long result) { return result == (Index == 36 ? 14930352 : 987); }
  static std::size_t bytes() { return 0; }

  static long serial() { return serial(Index); }
  template <forks_two Peer>
  static long solve() {
    return forked<Peer>(Index);
  }
  static weir::task<long> coroutines() { return coroutines(Index); }
  static weir::task<long> ready_leaves() { return ready_leaves(Index); }

 private:
  static long serial(int n) { return n < 2 ? n : serial(n - 1) + serial(n - 2); }

  /// Not inlined: how many levels of it are would depend on how much else is in this file.
  template <class Peer>
  [[gnu::noinline]] static long forked(int n) {
    if (n < 2)
      return n;
    const auto [a, b] =
        Peer::both([n] { return forked<Peer>(n - 1); }, [n] { return forked<Peer>(n - 2); });
    return a + b;
  }

  static weir::task<long> coroutines(int n) {
    if (n < 2)
      co_return n;
    const auto [a, b] = co_await weir::join(weir::fork([n] { return coroutines(n - 1); }),
                                            weir::fork([n] { return coroutines(n - 2); }));
    co_return a + b;
  }

  static weir::task<long> ready_leaves(int n) {
    return n < 2 ? weir::make_ready_task(long{n}) : inner(n);
  }
  static weir::task<long> inner(int n) {
    const auto [a, b] = co_await weir::join(weir::fork([n] { return ready_leaves(n - 1); }),
                                            weir::fork([n] { return ready_leaves(n - 2); }));
    co_return a + b;
  }
};

const problem added([](const sweep& workers) {
  add_all<fib<36>>(workers);
  add_all<fib<16>>(workers);
});

} // namespace

} // namespace bench
