// SPDX-License-Identifier: MIT
#include <weir/latch.hpp>

#include <mutex>
#include <string>

namespace weir {

void latch::count_down(std::size_t n, detail::woken_list& woken) {
  if (n > count_)
    throw error(errc::limit_exceeded, "a latch at " + std::to_string(count_) +
                                          " cannot count down by " + std::to_string(n) +
                                          "; construct it with as many as arrive");
  count_ -= n;
  if (count_ == 0)
    waiting_.move_all_to(woken);
}

void latch::count_down(std::size_t n) {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(mutex_);
    count_down(n, woken);
  }
  // The latch may be gone from here on.
  woken.complete_all();
}

bool latch::try_wait() const noexcept {
  const std::scoped_lock lock(mutex_);
  return count_ == 0;
}

bool latch::wait_awaiter::wait_or_take() {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(awaited_->mutex_);
    awaited_->count_down(arrives_, woken);
    if (awaited_->count_ != 0) {
      awaited_->waiting_.push_back(*this);
      return true;
    }
  }
  woken.complete_all();
  return false;
}

bool latch::wait_awaiter::withdraw(suspension& self) noexcept {
  auto& node = static_cast<wait_awaiter&>(self);
  const std::scoped_lock lock(node.awaited_->mutex_);
  return node.awaited_->waiting_.remove(node);
}

} // namespace weir
