// SPDX-License-Identifier: MIT
#include "concurrent_queue.hpp"

#include <weir/pool/detail/engine.hpp>

#include <new>

namespace weir::detail {

namespace {

class fifo_queue final : public front_queue {
 public:
  void push(task_block& task) override {
    if (!queue_.enqueue(&task))
      throw std::bad_alloc();
  }
  task_block* pop() noexcept override {
    task_block* task = nullptr;
    return queue_.try_dequeue(task) ? task : nullptr;
  }

 private:
  moodycamel::ConcurrentQueue<task_block*> queue_;
};

} // namespace

std::unique_ptr<front_queue> make_fifo_queue() {
  return std::make_unique<fifo_queue>();
}

} // namespace weir::detail
