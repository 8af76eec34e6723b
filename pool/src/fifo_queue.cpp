// SPDX-License-Identifier: MIT
#include <weir/pool/detail/engine.hpp>

#include <new>

#if __has_include(<concurrentqueue/concurrentqueue.h>)
#include <concurrentqueue/concurrentqueue.h>
#elif __has_include(<concurrentqueue/moodycamel/concurrentqueue.h>)
#include <concurrentqueue/moodycamel/concurrentqueue.h>
#elif __has_include(<moodycamel/concurrentqueue.h>)
#include <moodycamel/concurrentqueue.h>
#else
#include <concurrentqueue.h>
#endif

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
