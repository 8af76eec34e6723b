// SPDX-License-Identifier: MIT
// fib on one worker, where nobody steals: what a fork and its join cost in weir.
#include "fib.hpp"

#include <weir/fork.hpp>
#include <weir/fork_join.hpp>
#include <weir/runtime.hpp>
#include <weir/task.hpp>
#include <weir/when_all.hpp>

// The function has a C name for the disassembly.
extern "C" long fib_function(int n);
weir::task<long> fib_join(int n);
weir::task<long> fib_when_all(int n);
weir::task<long> fib_ready(int n);
weir::task<long> fib_node(int n);

extern "C" long fib_function(int n) {
  if (n < 2)
    return n;
  auto [a, b] =
      weir::fork_join([=] { return fib_function(n - 1); }, [=] { return fib_function(n - 2); });
  return a + b;
}

weir::task<long> fib_join(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::join(weir::fork([=] { return fib_join(n - 1); }),
                                    weir::fork([=] { return fib_join(n - 2); }));
  co_return a + b;
}

weir::task<long> fib_when_all(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await weir::when_all(fib_when_all(n - 1), fib_when_all(n - 2));
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

namespace bench::counted {
namespace {

long count_functions(long n) {
  one_worker rt;
  return fib_operations(n, rt.submit([n] { return fib_function(static_cast<int>(n)); }).get());
}

long count_join(long n) {
  one_worker rt;
  return fib_operations(n, rt.spawn(fib_join(static_cast<int>(n))).get());
}

long count_ready(long n) {
  one_worker rt;
  return fib_operations(n, rt.spawn(fib_ready(static_cast<int>(n))).get());
}

long count_when_all(long n) {
  one_worker rt;
  return fib_operations(n, rt.spawn(fib_when_all(static_cast<int>(n))).get());
}

constexpr operation all[] = {
    {"fib/weir-functions", 15, 22, count_functions},
    {"fib/weir-join", 15, 22, count_join},
    {"fib/weir-ready", 15, 22, count_ready},
    {"fib/weir-when_all", 15, 22, count_when_all},
};

} // namespace

std::span<const operation> forks() {
  return all;
}

} // namespace bench::counted
