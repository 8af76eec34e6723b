// SPDX-License-Identifier: MIT
// For tests/counts/check: fib on one worker, where nobody steals, so that a tool that counts
// instructions sees what a fork and its join cost.
//   count_forks functions|coroutines N
#include <weir/fork_join.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>
#include <weir/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// With C names, for the disassembly.
extern "C" long fib_function(int n);
weir::task<long> fib_coroutine(int n);

extern "C" long fib_function(int n) {
  if (n < 2)
    return n;
  auto [a, b] =
      weir::fork_join([=] { return fib_function(n - 1); }, [=] { return fib_function(n - 2); });
  return a + b;
}

weir::task<long> fib_coroutine(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::when_all(fib_coroutine(n - 1), fib_coroutine(n - 2));
  co_return a + b;
}

int main(int argc, char** argv) {
  if (argc != 3)
    return 2;
  const int n = std::atoi(argv[2]);
  weir::runtime rt({.workers = 1, .spin = std::chrono::nanoseconds(0)});
  const long found = std::string_view(argv[1]) == "functions"
                         ? rt.submit([n] { return fib_function(n); }).get()
                         : rt.spawn(fib_coroutine(n)).get();
  std::printf("%ld\n", found);
}
