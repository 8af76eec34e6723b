// SPDX-License-Identifier: MIT
#include "ordered_queue.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <memory>
#include <span>

namespace weir::detail {

namespace {

/// The smallest weight first, of equal ones the oldest. A few weights have a line each, in which
/// calls wait in the order of their times; what finds no line for its weight and none to be had is
/// put into a heap.
class by_weight {
 public:
  static constexpr bool weighs = true;

  bool add(std::span<const fresh_call>& calls) noexcept {
    const int weight = calls.front().weight;
    const unsigned i = line_for(weight);
    if (i == lines_.size())
      return add_to_heap(calls);
    const auto other = std::find_if(calls.begin(), calls.end(),
                                    [&](const fresh_call& call) { return call.weight != weight; });
    std::span<const fresh_call> alike(calls.begin(), other);
    const bool all = add_by_time(lines_[i], alike);
    calls = {alike.begin(), calls.end()};
    if (!lines_[i].empty()) {
      weights_[i] = weight;
      used_ |= 1U << i;
    }
    return all;
  }
  [[nodiscard]] bool empty() const noexcept { return used_ == 0 && heap_.empty(); }

  taken_call take() noexcept {
    const unsigned i = best_line();
    if (i == lines_.size() || (!heap_.empty() && is_before_line(heap_.front(), i))) {
      std::pop_heap(heap_.begin(), heap_.end(), after);
      const timed_call best = heap_.back();
      heap_.pop_back();
      return best.call(best.weight);
    }
    const waiting_call best = lines_[i].front();
    lines_[i].pop_front();
    if (lines_[i].empty())
      used_ &= ~(1U << i);
    return best.call(weights_[i]);
  }

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
    std::erase_if(heap_, goes);
    std::make_heap(heap_.begin(), heap_.end(), after);
    return false;
  }

 private:
  bool add_to_heap(std::span<const fresh_call>& calls) noexcept {
    try {
      heap_.push_back(calls.front());
    } catch (...) {
      return false;
    }
    std::push_heap(heap_.begin(), heap_.end(), after);
    calls = calls.subspan(1);
    return true;
  }
  static bool after(const timed_call& a, const timed_call& b) noexcept {
    return a.weight != b.weight ? a.weight > b.weight : a.time > b.time;
  }
  [[nodiscard]] bool is_before_line(const timed_call& call, unsigned i) const noexcept {
    const int weight = weights_[i];
    return call.weight != weight ? call.weight < weight : call.time < lines_[i].front().time;
  }

  /// The line of that weight, or one that nobody uses; else their number.
  [[nodiscard]] unsigned line_for(int weight) const noexcept {
    for (unsigned used = used_; used != 0; used &= used - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(used));
      if (weights_[i] == weight)
        return i;
    }
    return static_cast<unsigned>(std::countr_one(used_));
  }
  /// Of those that are used; else their number.
  [[nodiscard]] unsigned best_line() const noexcept {
    auto best = static_cast<unsigned>(lines_.size());
    for (unsigned used = used_; used != 0; used &= used - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(used));
      if (best == lines_.size() || weights_[i] < weights_[best])
        best = i;
    }
    return best;
  }

  using line = calls_of<placed_call>;
  [[nodiscard]] line new_line() { return line(order_allocator<placed_call>(memory_)); }

  order_memory memory_;
  std::array<line, 8> lines_{new_line(), new_line(), new_line(), new_line(),
                             new_line(), new_line(), new_line(), new_line()};
  std::array<int, 8> weights_{};
  unsigned used_ = 0; // the bits of lines with calls
  calls_of<timed_call> heap_{order_allocator<timed_call>(memory_)};
};

} // namespace

std::unique_ptr<front_queue> make_priority_queue() {
  return std::make_unique<ordered_queue<by_weight>>();
}

} // namespace weir::detail
