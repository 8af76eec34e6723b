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
/// another weight stays as it is, so that of two lists of one weight all of one are older: lists
/// are numbered as they begin.
class priority_queue final : public front_queue {
 public:
  void push(pool_item& item) noexcept override {
    pool_item* head = inbox_.load(std::memory_order_relaxed);
    do
      item.set_next(head);
    // Release: pairs with the acquire in sort_in.
    while (!inbox_.compare_exchange_weak(head, &item, std::memory_order_release,
                                         std::memory_order_relaxed));
  }

  taken_call pop(pool_slot& slot) noexcept override {
    // Relaxed: hints; who pushes afterwards sees to a slot.
    if (inbox_.load(std::memory_order_relaxed) == nullptr &&
        root_.load(std::memory_order_relaxed) == nullptr)
      return {};
    const taking_flag::guard guard(taking_);
    sort_in();
    weighted_item* const best = root_.load(std::memory_order_relaxed);
    if (best == nullptr)
      return {};
    weighted_item* const root = without(*best);
    root_.store(root, std::memory_order_relaxed);
    if (root != nullptr && root->rest != nullptr)
      __builtin_prefetch(root->rest); // whose links the next one to take needs
    if (arrives(*best, slot))
      taken_.count();
    return taken_call(best);
  }

  std::uint32_t taken() const noexcept override { return taken_.value(); }
  void wait_for_takers() noexcept override { const taking_flag::guard guard(taking_); }

  pool_item* take_husks(bool& more) noexcept override {
    more = false;
    const taking_flag::guard guard(taking_);
    sort_in();
    pool_item* husks = nullptr;
    build_anew(husks);
    return husks;
  }

 private:
  static constexpr std::uint32_t last_series = 0x7fffffff;

  static weighted_item* next_of(pool_item& item) noexcept {
    return static_cast<weighted_item*>(item.next());
  }

  static bool before(const weighted_item& a, const weighted_item& b) noexcept {
    return a.weight != b.weight ? a.weight < b.weight : a.series < b.series;
  }

  /// Of two trees without siblings.
  static weighted_item* merge(weighted_item* a, weighted_item* b) noexcept {
    if (a == nullptr || b == nullptr)
      return a == nullptr ? b : a;
    if (before(*b, *a))
      std::swap(a, b);
    b->set_next(a->child);
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
      a->set_next(nullptr);
      if (b != nullptr)
        b->set_next(nullptr);
      weighted_item* const pair = merge(a, b);
      pair->set_next(pairs);
      pairs = pair;
    }
    weighted_item* whole = nullptr;
    while (pairs != nullptr) {
      weighted_item* const pair = pairs;
      pairs = next_of(*pair);
      pair->set_next(nullptr);
      whole = merge(whole, pair);
    }
    return whole;
  }

  struct list {
    weighted_item* first = nullptr;
    weighted_item* last = nullptr;
  };

  [[nodiscard]] list& list_of(int weight) noexcept {
    return lists_[static_cast<unsigned>(weight) % lists_.size()];
  }

  /// Adds items of one weight that are younger than all others of it. \return the new root.
  weighted_item* with(weighted_item* root, list added) noexcept {
    weighted_item& first = *added.first;
    list& known = list_of(first.weight);
    if (known.first != nullptr && known.first->weight == first.weight) {
      known.last->rest = &first;
      known.last = added.last;
      return root;
    }
    first.set_next(nullptr);
    first.child = nullptr;
    first.series = series_++;
    known = added;
    return merge(root, &first);
  }

  /// Takes the best item out, which is the root. \return the new root.
  weighted_item* without(weighted_item& best) noexcept {
    list& known = list_of(best.weight);
    weighted_item* const heir = std::exchange(best.rest, nullptr);
    if (known.first == &best)
      known.first = heir;
    if (heir == nullptr)
      return merge_pairs(std::exchange(best.child, nullptr));
    // It is older than what other lists of this weight have.
    heir->set_next(nullptr);
    heir->child = std::exchange(best.child, nullptr);
    heir->series = best.series;
    return heir;
  }

  /// Takes the heap apart item by item, puts it together again from those that are no husks, and
  /// numbers its lists from 0 on.
  void build_anew(pool_item*& husks) noexcept {
    weighted_item* all = nullptr;
    weighted_item** end = &all;
    for (weighted_item* at = root_.load(std::memory_order_relaxed); at != nullptr;) {
      weighted_item* const best = at;
      at = without(*best);
      best->set_next(nullptr);
      if (best->is_husk()) {
        best->set_next(husks);
        husks = best;
      } else {
        *end = best;
        end = &best->rest;
      }
    }
    *end = nullptr;
    lists_ = {};
    series_ = 0;
    weighted_item* kept = nullptr;
    while (all != nullptr) {
      weighted_item& item = *all;
      all = std::exchange(item.rest, nullptr);
      kept = with(kept, {&item, &item});
    }
    root_.store(kept, std::memory_order_relaxed);
  }

  void sort_in() noexcept {
    // Relaxed: a hint, looked at again by who comes next. The exchange is an acquire and pairs with
    // push.
    if (inbox_.load(std::memory_order_relaxed) == nullptr)
      return;
    pool_item* newest = inbox_.exchange(nullptr, std::memory_order_acquire);
    weighted_item* root = root_.load(std::memory_order_relaxed);
    // Mostly there are few weights: then each item is touched once, and whole lists are added.
    std::array<list, 8> lists;
    std::size_t count = 0;
    while (newest != nullptr) {
      auto& item = static_cast<weighted_item&>(*newest);
      std::size_t i = 0;
      while (i != count && lists[i].first->weight != item.weight)
        ++i;
      if (i == lists.size())
        break;
      newest = item.next();
      item.rest = i == count ? nullptr : lists[i].first;
      lists[i].first = &item;
      if (i == count)
        lists[count++].last = &item;
    }
    // What is left is older than those.
    pool_item* oldest = nullptr;
    while (newest != nullptr) {
      pool_item* const older = newest->next();
      newest->set_next(oldest);
      oldest = newest;
      newest = older;
    }
    while (oldest != nullptr) {
      auto& item = static_cast<weighted_item&>(*oldest);
      oldest = item.next();
      item.rest = nullptr;
      root = with(root, {&item, &item});
    }
    for (std::size_t i = 0; i != count; ++i)
      root = with(root, lists[i]);
    root_.store(root, std::memory_order_relaxed);
    if (series_ >= last_series) [[unlikely]] {
      // More lists cannot wait than would fit; husks stay husks.
      pool_item* husks = nullptr;
      build_anew(husks);
      while (husks != nullptr)
        push(*std::exchange(husks, husks->next()));
    }
  }

  alignas(sync::line_size) sync::atomic<pool_item*> inbox_{nullptr};
  // Of who takes; the root is an atomic for the glance of those who do not.
  alignas(sync::line_size) taking_flag taking_;
  sync::atomic<weighted_item*> root_{nullptr};
  taken_count taken_;
  // Begins near the end, so that numbering anew is nothing rare.
  std::uint32_t series_ = last_series - 1000;
  std::array<list, 64> lists_{};
};

} // namespace

std::unique_ptr<front_queue> make_priority_queue() {
  return std::make_unique<priority_queue>();
}

} // namespace weir::detail
