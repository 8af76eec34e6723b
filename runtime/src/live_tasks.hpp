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
    task.live_shard_ = static_cast<std::uint8_t>(hint % shards_.size() + 1) & 0x1f;
    shard& at = shards_[task.live_shard_ - 1];
    {
      const std::scoped_lock lock(at.mutex);
      if (!at.closed) {
        task.next_job = at.first;
        set_link(task, &at.first);
        if (at.first != nullptr)
          set_link(task_of(*at.first), &task.next_job);
        at.first = &task;
        return;
      }
      set_link(task, nullptr); // it may hold a pool's stamp
    }
    (void)task.request_stop(stop_cause::shutdown);
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
      while (at.first != nullptr) {
        task_block* const task = &task_of(*at.first);
        unlink(*task);
        // Relaxed: it has not ended, so that the runtime's reference is there.
        task->references_.fetch_add(1, std::memory_order_relaxed);
        lock.unlock();
        (void)task->request_stop(stop_cause::shutdown);
        task->release();
        lock.lock();
      }
    }
  }

 private:
  struct alignas(sync::line_size) shard {
    sync::mutex mutex;
    accepted_job* first = nullptr;
    bool closed = false;
  };

  // Guarded by the shard's mutex.
  static accepted_job** link_of(const task_block& task) noexcept {
    return reinterpret_cast<accepted_job**>(task.last_.load(std::memory_order_relaxed));
  }
  static void set_link(task_block& task, accepted_job** link) noexcept {
    task.last_.store(reinterpret_cast<std::uintptr_t>(link), std::memory_order_relaxed);
  }
  static task_block& task_of(accepted_job& job) noexcept { return static_cast<task_block&>(job); }

  static void unlink(task_block& task) noexcept {
    accepted_job** const link = link_of(task);
    if (link == nullptr)
      return;
    *link = task.next_job;
    if (task.next_job != nullptr)
      set_link(task_of(*task.next_job), link);
    set_link(task, nullptr);
  }

  std::array<shard, 16> shards_;
};

} // namespace weir::detail
