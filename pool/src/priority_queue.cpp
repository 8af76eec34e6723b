// SPDX-License-Identifier: MIT
#include "order_memory.hpp"
#include "ordered_queue.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

namespace weir::detail {

namespace {

/// The smallest weight first, of equal ones the oldest. A few weights have a line each, in which
/// calls wait in the order of their times; what finds no line for its weight and none to be had is
/// put into a heap.
class by_weight {
 public:
  static constexpr bool weighs = true;

  bool add(const timed_call& call) noexcept {
    try {
      const unsigned i = line_for(call.weight);
      if (i == most_lines) {
        heap_.push_back(call);
        std::push_heap(heap_.begin(), heap_.end(), after);
        return true;
      }
      lines_.reserve(most_lines); // a deque may not be moved without memory
      if (i == lines_.size())
        lines_.emplace_back(order_allocator<placed_call>(memory_));
      lines_[i].emplace_back(call);
      weights_[i] = call.weight;
      used_ |= 1U << i;
      if (best_ == most_lines || call.weight < weights_[best_])
        best_ = i;
      return true;
    } catch (...) {
      return false;
    }
  }
  [[nodiscard]] bool empty() const noexcept { return used_ == 0 && heap_.empty(); }
  [[nodiscard]] order_key best() const noexcept {
    return heap_is_next() ? order_key{heap_.front().weight, heap_.front().time} : best_of_lines();
  }

  taken_call take() noexcept { return heap_is_next() ? take_from_heap() : take_from_line(); }

  bool take_husks(pool_item*& husks, unsigned) noexcept {
    const auto goes = [&](const waiting_call& call) {
      const bool husk = call.is_husk();
      if (husk)
        call.join(husks);
      return husk;
    };
    for (unsigned i = 0; i < lines_.size(); ++i) {
      std::erase_if(lines_[i], goes);
      if (lines_[i].empty())
        used_ &= ~(1U << i);
    }
    choose();
    std::erase_if(heap_, goes);
    std::make_heap(heap_.begin(), heap_.end(), after);
    return false;
  }

 private:
  using line = calls_of<placed_call>;
  static constexpr unsigned most_lines = 8;

  static bool after(const timed_call& a, const timed_call& b) noexcept {
    return a.weight != b.weight ? a.weight > b.weight : a.time > b.time;
  }
  [[nodiscard]] order_key best_of_lines() const noexcept {
    return {weights_[best_], lines_[best_].front().time};
  }
  [[nodiscard]] bool heap_is_next() const noexcept {
    if (heap_.empty())
      return false;
    return best_ == most_lines ||
           order_key{heap_.front().weight, heap_.front().time} < best_of_lines();
  }

  taken_call take_from_heap() noexcept {
    std::pop_heap(heap_.begin(), heap_.end(), after);
    const taken_call best = heap_.back().call(heap_.back().weight);
    heap_.pop_back();
    return best;
  }
  taken_call take_from_line() noexcept {
    line& from = lines_[best_];
    const taken_call best = from.front().call(weights_[best_]);
    from.pop_front();
    if (from.empty()) {
      used_ &= ~(1U << best_);
      choose();
    }
    return best;
  }

  /// The line of that weight, or one that nobody uses or that is not there yet; else their number.
  [[nodiscard]] unsigned line_for(int weight) const noexcept {
    for (unsigned used = used_; used != 0; used &= used - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(used));
      if (weights_[i] == weight)
        return i;
    }
    return std::min(most_lines, static_cast<unsigned>(std::countr_one(used_)));
  }
  void choose() noexcept {
    best_ = most_lines;
    for (unsigned used = used_; used != 0; used &= used - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(used));
      if (best_ == most_lines || weights_[i] < weights_[best_])
        best_ = i;
    }
  }

  order_memory memory_;
  std::vector<line> lines_; // each made when it is needed first
  std::array<int, most_lines> weights_{};
  unsigned used_ = 0; // the bits of lines with calls
  unsigned best_ = most_lines;
  calls_of<timed_call> heap_{order_allocator<timed_call>(memory_)};
};

} // namespace

std::unique_ptr<front_queue> make_priority_queue() {
  return std::make_unique<ordered_queue<by_weight>>();
}

} // namespace weir::detail
