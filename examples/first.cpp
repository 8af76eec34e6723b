// SPDX-License-Identifier: MIT
// The example of the README: four downloads at a time, each a coroutine that holds no thread.
#include <weir/weir.hpp>

#include <iostream>

weir::task<int> fetch(int id) {
  co_await weir::yield(); // a real one would await a socket
  co_return 2 * id;
}

int main() {
  weir::runtime rt;
  weir::fixed_pool<> pool{rt, {.size = 4}};
  std::cout << rt.block_on(pool.submit(fetch, 12)) << '\n'; // 24
}
