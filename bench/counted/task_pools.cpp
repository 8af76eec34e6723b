// SPDX-License-Identifier: MIT
// Tasks of a `task_pool`.
#include "counting.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace bench::counted {
namespace {

/// Tasks of a `task_pool` by one call, which are made while the worker is held.
template <bool Map>
long count_task_pool(long n) {
  one_worker rt;
  weir::task_pool pool(rt, {.pool_size = 10});
  long sum = 0;
  gate done;
  const auto add = [&](long each) {
    sum += each;
    if (sum == n)
      done.open();
  };
  held_worker held(rt);
  if constexpr (Map) {
    std::vector<long> ones(static_cast<std::size_t>(n), 1);
    (void)pool.map(add, std::move(ones), {.num_concurrent = 10});
  } else {
    (void)pool.apply([&add] { add(1); }, {.num = static_cast<std::size_t>(n)});
  }
  held.release();
  // Before the pool is closed, so that closing does not meet tasks.
  done.wait();
  rt.block_on(pool.gather_and_close());
  expect(sum == n);
  return n;
}

constexpr operation all[] = {
    {"task_pool/weir-apply", 1000, 6000, count_task_pool<false>},
    {"task_pool/weir-map", 1000, 6000, count_task_pool<true>},
};

} // namespace

std::span<const operation> task_pools() {
  return all;
}

} // namespace bench::counted
