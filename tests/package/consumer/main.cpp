// SPDX-License-Identifier: MIT
// Ten lines that use weir from outside its tree.
#include <weir/weir.hpp>

weir::task<int> twice(int value) {
  co_return 2 * value;
}

int main() {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<weir::fifo> pool{rt, {.size = 2}};
  return rt.block_on(pool.submit(twice, 21)) == 42 ? 0 : 1;
}
