// SPDX-License-Identifier: MIT
#include <weir/condition.hpp>

#include <mutex>

namespace weir {

bool condition::wait_awaiter::wait_or_take() {
  locked_ = guard_->mutex();
  if (locked_ == nullptr)
    detail::throw_error(errc::not_locked,
                        "wait on a condition with a guard that owns no lock; lock the mutex first");
  {
    const std::scoped_lock lock(awaited_->mutex_);
    awaited_->waiting_.push_back(*this);
    waits_ = true;
  }
  // Whoever gets the mutex from here on finds this waiter.
  locked_->unlock();
  return true;
}

bool condition::wait_awaiter::withdraw(suspension& self) noexcept {
  auto& node = static_cast<wait_awaiter&>(self);
  {
    const std::scoped_lock lock(node.awaited_->mutex_);
    if (!node.waits_)
      return false;
    node.awaited_->waiting_.remove(node);
    node.waits_ = false;
  }
  // It must have the mutex before it goes on. If it does not get it at once, this wait is given up
  // and completed all the same, by whoever unlocks the mutex.
  node.given_up_ = true;
  return node.locked_->lock_or_wait(node);
}

void condition::wait_awaiter::lock_again(detail::thread_state& thread) noexcept {
  if (locked_->lock_or_wait(*this))
    complete_and_schedule(thread);
}

void condition::notify_one() noexcept {
  wait_awaiter* oldest = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    oldest = static_cast<wait_awaiter*>(waiting_.pop_front());
    if (oldest == nullptr)
      return;
    oldest->waits_ = false;
  }
  oldest->lock_again(detail::this_thread());
}

void condition::notify_all() noexcept {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(mutex_);
    while (auto* const node = waiting_.pop_front()) {
      static_cast<wait_awaiter*>(node)->waits_ = false;
      woken.push_back(*node);
    }
  }
  detail::thread_state& thread = detail::this_thread();
  while (auto* const node = woken.pop_front())
    static_cast<wait_awaiter*>(node)->lock_again(thread);
}

} // namespace weir
