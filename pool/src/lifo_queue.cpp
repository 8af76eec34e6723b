// SPDX-License-Identifier: MIT
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

namespace weir::detail {

namespace {

/// A linked stack. Whoever pushes needs one compare-and-swap of the head. Only one at a time takes,
/// so that an item that is the head cannot go and come back while its successor is read: the stack
/// needs no tags against that, and no memory that outlives its items.
class lifo_queue final : public front_queue {
 public:
  void push(pool_item& item) noexcept override {
    pool_item* head = head_.load(std::memory_order_relaxed);
    do
      item.next = head;
    // Release: pairs with the acquires in pop and take_husks.
    while (!head_.compare_exchange_weak(head, &item, std::memory_order_release,
                                        std::memory_order_relaxed));
  }

  pool_item* pop(packet&) noexcept override {
    if (head_.load(std::memory_order_relaxed) == nullptr)
      return nullptr;
    const taking_flag::guard guard(taking_);
    pool_item* head = head_.load(std::memory_order_acquire);
    // Acquire: pairs with push. Nobody else takes; a failure means a newer item.
    while (head != nullptr &&
           !head_.compare_exchange_weak(head, head->next, std::memory_order_acquire,
                                        std::memory_order_acquire)) {
    }
    return head;
  }

  pool_item* take_husks() noexcept override {
    const taking_flag::guard guard(taking_);
    pool_item* const head = head_.load(std::memory_order_acquire);
    if (head == nullptr)
      return nullptr;
    // Those below the head belong to who takes. The head itself stays, husk or not.
    pool_item* husks = nullptr;
    for (pool_item* at = head; at->next != nullptr;) {
      pool_item* const below = at->next;
      if (!below->is_husk()) {
        at = below;
        continue;
      }
      at->next = below->next;
      below->next = husks;
      husks = below;
    }
    return husks;
  }

 private:
  sync::atomic<pool_item*> head_{nullptr};
  alignas(sync::line_size) taking_flag taking_;
};

} // namespace

std::unique_ptr<front_queue> make_lifo_queue() {
  return std::make_unique<lifo_queue>();
}

} // namespace weir::detail
