// SPDX-License-Identifier: MIT
// For tests/counts/check: fib on one worker, where nobody steals, so that a tool that counts
// instructions sees what a fork and its join cost.
//   count_forks functions|ready|calls|tasks N
#include <weir/fork.hpp>
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
weir::task<long> fib_calls(int n);
weir::task<long> fib_tasks(int n);
weir::task<long> fib_ready(int n);
weir::task<long> fib_node(int n);

extern "C" long fib_function(int n) {
  if (n < 2)
    return n;
  auto [a, b] =
      weir::fork_join([=] { return fib_function(n - 1); }, [=] { return fib_function(n - 2); });
  return a + b;
}

weir::task<long> fib_calls(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::join(weir::fork([=] { return fib_calls(n - 1); }),
                                    weir::fork([=] { return fib_calls(n - 2); }));
  co_return a + b;
}

weir::task<long> fib_tasks(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::when_all(fib_tasks(n - 1), fib_tasks(n - 2));
  co_return a + b;
}

weir::task<long> fib_node(int n) {
  auto [a, b] = co_await weir::join(weir::fork([=] { return fib_ready(n - 1); }),
                                    weir::fork([=] { return fib_ready(n - 2); }));
  co_return a + b;
}

weir::task<long> fib_ready(int n) {
  return n < 2 ? weir::make_ready_task(long{n}) : fib_node(n);
}

int main(int argc, char** argv) {
  if (argc != 3)
    return 2;
  const int n = std::atoi(argv[2]);
  weir::runtime rt({.workers = 1, .spin = std::chrono::nanoseconds(0)});
  const std::string_view form = argv[1];
  const long found = form == "functions" ? rt.submit([n] { return fib_function(n); }).get()
                     : form == "ready"   ? rt.spawn(fib_ready(n)).get()
                     : form == "calls"   ? rt.spawn(fib_calls(n)).get()
                                         : rt.spawn(fib_tasks(n)).get();
  std::printf("%ld\n", found);
}
