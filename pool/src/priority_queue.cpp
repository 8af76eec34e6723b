// SPDX-License-Identifier: MIT
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <utility>

namespace weir::detail {

namespace {

/// An inbox, which submitters push to by one compare-and-swap, and a pairing heap, which belongs to
/// who takes. Taking moves the inbox into the heap first, so that the order is exact: by weight,
/// then by when the push happened. A pairing heap links its items and so never allocates.
class priority_queue final : public front_queue {
 public:
  void push(pool_item& item) noexcept override {
    pool_item* head = inbox_.load(std::memory_order_relaxed);
    do
      item.next = head;
    // Release: pairs with the acquire in sort_in.
    while (!inbox_.compare_exchange_weak(head, &item, std::memory_order_release,
                                         std::memory_order_relaxed));
  }

  pool_item* pop(packet&) noexcept override {
    // Relaxed: hints; who pushes afterwards sees to a slot.
    if (inbox_.load(std::memory_order_relaxed) == nullptr &&
        root_.load(std::memory_order_relaxed) == nullptr)
      return nullptr;
    const taking_flag::guard guard(taking_);
    sort_in();
    weighted_item* const best = root_.load(std::memory_order_relaxed);
    if (best != nullptr)
      root_.store(merge_pairs(std::exchange(best->child, nullptr)), std::memory_order_relaxed);
    return best;
  }

  pool_item* take_husks() noexcept override {
    const taking_flag::guard guard(taking_);
    sort_in();
    // The heap is taken apart by a list of trees to visit, and the rest put together again.
    pool_item* husks = nullptr;
    weighted_item* kept = nullptr;
    weighted_item* trees = root_.load(std::memory_order_relaxed);
    while (trees != nullptr) {
      weighted_item* const item = trees;
      trees = next_of(*item);
      for (weighted_item* at = std::exchange(item->child, nullptr); at != nullptr;) {
        weighted_item* const following = next_of(*at);
        at->next = trees;
        trees = at;
        at = following;
      }
      item->next = nullptr;
      if (item->is_husk()) {
        item->next = husks;
        husks = item;
      } else {
        kept = merge(kept, item);
      }
    }
    root_.store(kept, std::memory_order_relaxed);
    return husks;
  }

 private:
  static weighted_item* next_of(pool_item& item) noexcept {
    return static_cast<weighted_item*>(item.next);
  }

  static bool before(const weighted_item& a, const weighted_item& b) noexcept {
    return a.weight != b.weight ? a.weight < b.weight : a.arrival < b.arrival;
  }

  /// Of two trees without siblings.
  static weighted_item* merge(weighted_item* a, weighted_item* b) noexcept {
    if (a == nullptr || b == nullptr)
      return a == nullptr ? b : a;
    if (before(*b, *a))
      std::swap(a, b);
    b->next = a->child;
    a->child = b;
    return a;
  }

  /// Merges siblings in pairs from the left, and the pairs from the right.
  static weighted_item* merge_pairs(weighted_item* first) noexcept {
    weighted_item* pairs = nullptr;
    while (first != nullptr) {
      weighted_item* const a = first;
      weighted_item* const b = next_of(*a);
      first = b == nullptr ? nullptr : next_of(*b);
      a->next = nullptr;
      if (b != nullptr)
        b->next = nullptr;
      weighted_item* const pair = merge(a, b);
      pair->next = pairs;
      pairs = pair;
    }
    weighted_item* whole = nullptr;
    while (pairs != nullptr) {
      weighted_item* const pair = pairs;
      pairs = next_of(*pair);
      pair->next = nullptr;
      whole = merge(whole, pair);
    }
    return whole;
  }

  void sort_in() noexcept {
    // Relaxed: a hint, looked at again by who comes next. The exchange is an acquire and pairs with
    // push.
    if (inbox_.load(std::memory_order_relaxed) == nullptr)
      return;
    pool_item* newest = inbox_.exchange(nullptr, std::memory_order_acquire);
    pool_item* oldest = nullptr;
    while (newest != nullptr) {
      pool_item* const older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    weighted_item* root = root_.load(std::memory_order_relaxed);
    while (oldest != nullptr) {
      auto& item = static_cast<weighted_item&>(*oldest);
      oldest = item.next;
      item.next = nullptr;
      item.child = nullptr;
      item.arrival = ++arrivals_;
      root = merge(root, &item);
    }
    root_.store(root, std::memory_order_relaxed);
  }

  sync::atomic<pool_item*> inbox_{nullptr};
  // Of who takes; the root is an atomic for the glance of those who do not.
  alignas(sync::line_size) taking_flag taking_;
  sync::atomic<weighted_item*> root_{nullptr};
  std::uint64_t arrivals_ = 0;
};

} // namespace

std::unique_ptr<front_queue> make_priority_queue() {
  return std::make_unique<priority_queue>();
}

} // namespace weir::detail
