// SPDX-License-Identifier: MIT
#include <weir/mutex.hpp>

#include <mutex>

namespace weir {

bool mutex::try_lock() noexcept {
  const std::scoped_lock lock(mutex_);
  return !std::exchange(locked_, true);
}

void mutex::unlock() {
  detail::wait_node* next = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (!locked_)
      detail::throw_error(errc::not_locked,
                          "unlock of a mutex that is not locked; unlock once for each lock, and "
                          "not at all if a guard does it");
    next = waiting_.pop_front();
    locked_ = next != nullptr;
  }
  if (next != nullptr)
    next->complete_and_schedule(detail::this_thread());
}

bool mutex::lock_or_wait(detail::wait_node& node) noexcept {
  const std::scoped_lock lock(mutex_);
  if (!std::exchange(locked_, true))
    return true;
  waiting_.push_back(node);
  return false;
}

bool mutex::withdraw(detail::wait_node& node) noexcept {
  const std::scoped_lock lock(mutex_);
  return waiting_.remove(node);
}

} // namespace weir
