// SPDX-License-Identifier: MIT
#include "concurrent_queue.hpp"
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <new>

namespace weir::detail {

front_queue::~front_queue() = default;

namespace {

/// moodycamel's queue, and in front of it those that clearing husks has moved out of it.
class fifo_queue final : public front_queue {
 public:
  void push(pool_item& item) override {
    if (!queue_.enqueue(slot_of(&item)))
      throw std::bad_alloc();
  }

  pool_item* pop() noexcept override {
    // Relaxed: who misses what is being moved takes a later one, as if it had come first.
    if (first_.load(std::memory_order_relaxed) != nullptr) {
      const taking_flag::guard guard(taking_);
      if (pool_item* const item = first_.load(std::memory_order_relaxed)) {
        first_.store(item->next, std::memory_order_relaxed);
        return item;
      }
    }
    slot_of taken;
    return queue_.try_dequeue(taken) ? taken.item : nullptr;
  }

  pool_item* take_husks() noexcept override {
    const taking_flag::guard guard(taking_);
    pool_item* husks = nullptr;
    pool_item* first = nullptr;
    pool_item** end = &first;
    const auto sort = [&](pool_item& item) {
      if (item.is_husk()) {
        item.next = husks;
        husks = &item;
        return;
      }
      item.next = nullptr;
      *end = &item;
      end = &item.next;
    };
    for (pool_item* at = first_.load(std::memory_order_relaxed); at != nullptr;) {
      pool_item* const following = at->next;
      sort(*at);
      at = following;
    }
    // What is pushed meanwhile need not be moved.
    slot_of taken;
    for (auto left = queue_.size_approx(); left != 0 && queue_.try_dequeue(taken); --left)
      sort(*taken.item);
    first_.store(first, std::memory_order_relaxed);
    return husks;
  }

 private:
  /// As queue_slot in job.hpp says: the queue orders the reuse of its slots by a fence.
  struct slot_of : queue_slot {
    slot_of() noexcept {}
    explicit slot_of(pool_item* which) noexcept : item(which) {}
    slot_of(slot_of&& other) noexcept : queue_slot(), item(other.item) {}
    slot_of& operator=(slot_of&& other) noexcept {
      item = other.item;
      sync::tell_tsan_released(&other);
      return *this;
    }
    ~slot_of() = default;
    pool_item* item = nullptr;
  };

  moodycamel::ConcurrentQueue<slot_of> queue_;
  alignas(sync::line_size) sync::atomic<pool_item*> first_{nullptr};
  taking_flag taking_;
};

} // namespace

std::unique_ptr<front_queue> make_fifo_queue() {
  return std::make_unique<fifo_queue>();
}

} // namespace weir::detail
