// SPDX-License-Identifier: MIT
#include "order_memory.hpp"
#include "ordered_queue.hpp"

#include <cstddef>
#include <memory>

namespace weir::detail {

namespace {

/// A stack. Husks are taken out from the bottom up, which leaves a gap that grows and moves upwards
/// until it comes to the top.
class newest_first {
 public:
  static constexpr bool weighs = false;

  bool add(const timed_call& call) noexcept {
    try {
      calls_.emplace_back(call);
      return true;
    } catch (...) {
      return false;
    }
  }
  [[nodiscard]] bool empty() const noexcept { return calls_.empty(); }
  [[nodiscard]] order_key best() const noexcept { return {0, ~calls_.back().time}; }

  taken_call take() noexcept {
    const taken_call newest = calls_.back().call(0);
    calls_.pop_back();
    if (calls_.size() == gap_end_)
      close_gap();
    return newest;
  }

  bool take_husks(pool_item*& husks, unsigned most) noexcept {
    for (unsigned i = 0; i < most && gap_end_ != calls_.size(); ++i) {
      const placed_call call = calls_[gap_end_++];
      if (call.is_husk())
        call.join(husks);
      else
        calls_[gap_begin_++] = call;
    }
    if (gap_end_ != calls_.size())
      return true;
    close_gap();
    return false;
  }

 private:
  void close_gap() noexcept {
    calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(gap_begin_), calls_.end());
    gap_begin_ = gap_end_ = 0;
  }

  order_memory memory_;
  calls_of<placed_call> calls_{order_allocator<placed_call>(memory_)};
  // What is between has been taken out or moved down; both 0: nothing.
  std::size_t gap_begin_ = 0;
  std::size_t gap_end_ = 0;
};

} // namespace

std::unique_ptr<front_queue> make_lifo_queue() {
  return std::make_unique<ordered_queue<newest_first>>();
}

} // namespace weir::detail
