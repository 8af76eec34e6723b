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
      item.set_next(head);
    // Release: pairs with the acquires in pop and take_husks.
    while (!head_.compare_exchange_weak(head, &item, std::memory_order_release,
                                        std::memory_order_relaxed));
  }

  taken_call pop(pool_slot& slot) noexcept override {
    if (head_.load(std::memory_order_relaxed) == nullptr)
      return {};
    const taking_flag::guard guard(taking_);
    pool_item* head = head_.load(std::memory_order_acquire);
    // Acquire: pairs with push. Nobody else takes; a failure means a newer item.
    while (head != nullptr &&
           !head_.compare_exchange_weak(head, head->next(), std::memory_order_acquire,
                                        std::memory_order_acquire)) {
    }
    if (head == nullptr)
      return {};
    pool_item* const below = head->next();
    if (below != nullptr)
      __builtin_prefetch(below); // whose link the next one to take needs
    if (head == at_)
      at_ = below;
    if (arrives(*head, slot))
      taken_.count();
    return taken_call(head);
  }

  std::uint32_t taken() const noexcept override { return taken_.value(); }
  void wait_for_takers() noexcept override { const taking_flag::guard guard(taking_); }

  pool_item* take_husks(bool& more) noexcept override {
    const taking_flag::guard guard(taking_);
    if (at_ == nullptr)
      at_ = head_.load(std::memory_order_acquire);
    // Those below the head belong to who takes. The head itself stays, husk or not.
    pool_item* husks = nullptr;
    for (unsigned looked = 0; at_ != nullptr && looked < husk_batch; ++looked) {
      pool_item* const below = at_->next();
      if (below == nullptr || !below->is_husk()) {
        at_ = below;
        continue;
      }
      at_->set_next(below->next());
      below->set_next(husks);
      husks = below;
    }
    more = at_ != nullptr;
    return husks;
  }

 private:
  alignas(sync::line_size) sync::atomic<pool_item*> head_{nullptr};
  // Of who takes.
  alignas(sync::line_size) taking_flag taking_;
  taken_count taken_;
  pool_item* at_ = nullptr; // below which husks are to be taken out next
};

} // namespace

std::unique_ptr<front_queue> make_lifo_queue() {
  return std::make_unique<lifo_queue>();
}

} // namespace weir::detail
