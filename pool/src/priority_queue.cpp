// SPDX-License-Identifier: MIT
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

namespace weir::detail {

namespace {

/// An inbox, which submitters push to by one compare-and-swap, and a heap, which belongs to who
/// takes. Taking moves the inbox into the heap first, so that the order is exact: by weight, then
/// by when the push happened.
///
/// The heap is a pairing heap of lists of equal weight, in which the oldest item stands for its
/// list. It links its items and so never allocates. `lists_` remembers a list for each of some
/// weights: only to this one are items of its weight added, behind. A list that is forgotten for
/// another weight stays as it is, so that of two lists of one weight all of one are older.
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
      root_.store(without(*best), std::memory_order_relaxed);
    return best;
  }

  pool_item* take_husks() noexcept override {
    const taking_flag::guard guard(taking_);
    sort_in();
    // The heap is taken apart item by item, and put together again from those that stay.
    pool_item* husks = nullptr;
    weighted_item* all = nullptr;
    weighted_item** end = &all;
    for (weighted_item* at = root_.load(std::memory_order_relaxed); at != nullptr;) {
      weighted_item* const best = at;
      at = without(*best);
      best->next = nullptr;
      if (best->is_husk()) {
        best->next = husks;
        husks = best;
      } else {
        *end = best;
        end = &best->rest;
      }
    }
    *end = nullptr;
    weighted_item* kept = nullptr;
    while (all != nullptr) {
      weighted_item& item = *all;
      all = std::exchange(item.rest, nullptr);
      kept = with(kept, item);
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

  [[nodiscard]] weighted_item*& list_of(int weight) noexcept {
    return lists_[static_cast<unsigned>(weight) % lists_.size()];
  }

  /// Adds an item that is younger than all others of its weight. \return the new root.
  weighted_item* with(weighted_item* root, weighted_item& item) noexcept {
    item.next = nullptr;
    item.child = nullptr;
    item.rest = nullptr;
    weighted_item*& list = list_of(item.weight);
    if (list != nullptr && list->weight == item.weight) {
      (list->rest == nullptr ? list->rest : list->last->rest) = &item;
      list->last = &item;
      return root;
    }
    list = &item;
    return merge(root, &item);
  }

  /// Takes the best item out, which is the root. \return the new root.
  weighted_item* without(weighted_item& best) noexcept {
    weighted_item*& list = list_of(best.weight);
    weighted_item* const heir = std::exchange(best.rest, nullptr);
    if (list == &best)
      list = heir;
    if (heir == nullptr)
      return merge_pairs(std::exchange(best.child, nullptr));
    // It is older than what other lists of this weight have.
    heir->child = std::exchange(best.child, nullptr);
    heir->last = best.last;
    return heir;
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
      item.arrival = ++arrivals_;
      root = with(root, item);
    }
    root_.store(root, std::memory_order_relaxed);
  }

  sync::atomic<pool_item*> inbox_{nullptr};
  // Of who takes; the root is an atomic for the glance of those who do not.
  alignas(sync::line_size) taking_flag taking_;
  sync::atomic<weighted_item*> root_{nullptr};
  std::uint64_t arrivals_ = 0;
  std::array<weighted_item*, 64> lists_{};
};

} // namespace

std::unique_ptr<front_queue> make_priority_queue() {
  return std::make_unique<priority_queue>();
}

} // namespace weir::detail
