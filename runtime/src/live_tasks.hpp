// SPDX-License-Identifier: MIT
// The root tasks that wait or have asked for their stop token, so that stopping the runtime stops
// them. A task is entered when it first does so, not when it is submitted: what runs through
// without waiting never comes here.
//
// L1  After stop_all() has closed a shard nothing is entered there any more; who tries is stopped.
//     So each live task is either stopped by stop_all() or by itself.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>

#include <array>
#include <mutex>

namespace weir::detail {

class live_tasks {
 public:
  /// By the task itself, once.
  void add(task_block& task, std::size_t hint) noexcept {
    task.live_shard_ = static_cast<std::uint32_t>(hint % shards_.size()) + 1;
    shard& at = shards_[task.live_shard_ - 1];
    {
      const std::scoped_lock lock(at.mutex);
      if (!at.closed) {
        task.next_live_ = at.first;
        task.live_link_ = &at.first;
        if (at.first != nullptr)
          at.first->live_link_ = &task.next_live_;
        at.first = &task;
        return;
      }
    }
    (void)task.scope_.request_stop(stop_cause::shutdown);
  }

  /// By a task that was entered, at its end.
  void remove(task_block& task) noexcept {
    const std::scoped_lock lock(shards_[task.live_shard_ - 1].mutex);
    unlink(task);
  }

  /// Requests stop of everything entered.
  void stop_all() noexcept {
    for (shard& at : shards_) {
      std::unique_lock lock(at.mutex);
      at.closed = true;
      while (task_block* const task = at.first) {
        unlink(*task);
        // Relaxed: it has not ended, so that the runtime's reference is there.
        task->references_.fetch_add(1, std::memory_order_relaxed);
        lock.unlock();
        (void)task->scope_.request_stop(stop_cause::shutdown);
        task->release();
        lock.lock();
      }
    }
  }

 private:
  struct alignas(sync::line_size) shard {
    sync::mutex mutex;
    task_block* first = nullptr;
    bool closed = false;
  };

  static void unlink(task_block& task) noexcept {
    if (task.live_link_ == nullptr)
      return;
    *task.live_link_ = task.next_live_;
    if (task.next_live_ != nullptr)
      task.next_live_->live_link_ = task.live_link_;
    task.live_link_ = nullptr;
  }

  std::array<shard, 16> shards_;
};

} // namespace weir::detail
