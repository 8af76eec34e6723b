// SPDX-License-Identifier: MIT
#include <weir/semaphore.hpp>

#include <mutex>
#include <string>

namespace weir {

semaphore::semaphore(std::size_t permits) : permits_(permits) {
  if (permits > max_permits)
    throw error(errc::invalid_option, "a semaphore was to have " + std::to_string(permits) +
                                          " permits; the limit is " + std::to_string(max_permits));
}

bool semaphore::take(std::size_t n) noexcept {
  if (!waiting_.empty() || n > permits_)
    return false;
  permits_ -= n;
  return true;
}

bool semaphore::try_acquire(std::size_t n) noexcept {
  const std::scoped_lock lock(mutex_);
  return take(n);
}

std::size_t semaphore::available() const noexcept {
  const std::scoped_lock lock(mutex_);
  return permits_;
}

void semaphore::release(std::size_t n) {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(mutex_);
    if (n > max_permits - permits_)
      throw error(errc::limit_exceeded,
                  "release of " + std::to_string(n) + " permits beside " +
                      std::to_string(permits_) + " free ones passes the limit of " +
                      std::to_string(max_permits) + "; release only what was acquired");
    permits_ += n;
    serve(woken);
  }
  woken.complete_all();
}

void semaphore::serve(detail::woken_list& woken) noexcept {
  while (!waiting_.empty()) {
    auto& oldest = static_cast<waiting&>(*waiting_.front());
    if (oldest.count_ > permits_)
      return;
    permits_ -= oldest.count_;
    waiting_.remove(oldest);
    woken.push_back(oldest);
  }
}

bool semaphore::waiting::wait_or_take() noexcept {
  const std::scoped_lock lock(from_->mutex_);
  if (from_->take(count_))
    return false;
  from_->waiting_.push_back(*this);
  return true;
}

bool semaphore::waiting::withdraw(suspension& self) noexcept {
  auto& node = static_cast<waiting&>(self);
  detail::woken_list woken;
  {
    const std::scoped_lock lock(node.from_->mutex_);
    if (!node.from_->waiting_.remove(node))
      return false;
    // Those behind a large request may be content with what is there.
    node.from_->serve(woken);
  }
  woken.complete_all();
  return true;
}

} // namespace weir
