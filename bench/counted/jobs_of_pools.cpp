// SPDX-License-Identifier: MIT
// Jobs that pools of one slot run, by kind of queue.
#include "jobs.hpp"

namespace bench::counted {
namespace {

/// A pool with the face of a peer.
template <class Queue>
class pool_of_one {
 public:
  explicit pool_of_one(std::size_t size) : pool_(rt_, {.size = size}) {}
  template <class F>
  void post(F f) {
    pool_.post(std::move(f));
  }
  template <class F>
  auto submit(F f) {
    return pool_.submit_nowait(std::move(f));
  }

 private:
  one_worker rt_;
  weir::fixed_pool<Queue> pool_;
};

constexpr operation all[] = {
    {"pool_post/weir-fifo", 2000, 12000, count_post<pool_of_one<weir::fifo>>},
    {"pool_post/weir-lifo", 2000, 12000, count_post<pool_of_one<weir::lifo>>},
    {"pool_post/weir-priority", 2000, 12000, count_post<pool_of_one<weir::priority>>},
    {"pool_submit/weir-fifo", 2000, 12000, count_submit<pool_of_one<weir::fifo>>},
    {"pool_submit/weir-lifo", 2000, 12000, count_submit<pool_of_one<weir::lifo>>},
    {"pool_submit/weir-priority", 2000, 12000, count_submit<pool_of_one<weir::priority>>},
};

} // namespace

std::span<const operation> jobs_of_pools() {
  return all;
}

} // namespace bench::counted
