// SPDX-License-Identifier: MIT
#include <weir/event.hpp>

#include <mutex>

namespace weir {

void event::set() noexcept {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(mutex_);
    set_.store(true, std::memory_order_release); // pairs with is_set
    waiting_.move_all_to(woken);
  }
  // The event may be gone from here on: one of these, or one that came later, may have ended it.
  woken.complete_all();
}

void event::reset() noexcept {
  const std::scoped_lock lock(mutex_);
  set_.store(false, std::memory_order_relaxed); // says nothing of what came before
}

bool event::wait_awaiter::wait_or_take() noexcept {
  // The lock also waits for `set` to leave the event: the waiter may destroy it.
  const std::scoped_lock lock(awaited_->mutex_);
  if (awaited_->set_.load(std::memory_order_relaxed)) // the lock orders it
    return false;
  awaited_->waiting_.push_back(*this);
  return true;
}

bool event::wait_awaiter::withdraw(suspension& self) noexcept {
  auto& node = static_cast<wait_awaiter&>(self);
  const std::scoped_lock lock(node.awaited_->mutex_);
  return node.awaited_->waiting_.remove(node);
}

} // namespace weir
