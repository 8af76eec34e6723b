// SPDX-License-Identifier: MIT
// One word {locked, requested} guards an intrusive list of callbacks. A callback runs unlocked and
// unlinked; `running_` names it until it has returned, so that its destructor on another thread can
// wait for `finished_`, and on the notifying thread (a callback that destroys itself) does not.
#include <weir/detail/thread_state.hpp>
#include <weir/stop_token.hpp>

namespace weir {

std::uint32_t inplace_stop_source::lock() const noexcept {
  auto seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    // Acquire: pairs with the release in unlock, hands over the list. Relaxed on failure: retried.
    if ((seen & locked) == 0 &&
        state_.compare_exchange_weak(seen, seen | locked, std::memory_order_acquire,
                                     std::memory_order_relaxed))
      return seen;
    detail::sync::relax();
    seen = state_.load(std::memory_order_relaxed);
  }
}

void inplace_stop_source::unlock(std::uint32_t bits) const noexcept {
  // Release: pairs with the acquire in lock and in stop_requested.
  state_.store(bits, std::memory_order_release);
}

bool inplace_stop_source::request_stop() noexcept {
  if ((lock() & requested) != 0) {
    unlock(requested);
    return false;
  }
  // Seq_cst: pairs with stop_requested. The lock is still held.
  state_.store(locked | requested, std::memory_order_seq_cst);
  notifier_ = &detail::this_thread();
  while (auto* callback = head_) {
    head_ = callback->next_;
    if (head_ != nullptr)
      head_->link_ = &head_;
    callback->link_ = nullptr;
    running_ = callback;
    bool gone = false;
    callback->gone_ = &gone;
    unlock(requested);

    callback->invoke_(*callback);

    if (!gone) {
      callback->gone_ = nullptr;
      // Release: pairs with the acquire in remove, which then destroys the callback.
      callback->finished_.store(1, std::memory_order_release);
    }
    lock();
    running_ = nullptr;
  }
  unlock(requested);
  return true;
}

bool inplace_stop_source::add(detail::stop_callback_base& callback) const noexcept {
  const auto bits = lock();
  if ((bits & requested) != 0) {
    unlock(bits);
    return false;
  }
  callback.next_ = head_;
  callback.link_ = &head_;
  if (head_ != nullptr)
    head_->link_ = &callback.next_;
  head_ = &callback;
  unlock(bits);
  return true;
}

void inplace_stop_source::remove(detail::stop_callback_base& callback) const noexcept {
  const auto bits = lock();
  if (callback.link_ != nullptr) {
    *callback.link_ = callback.next_;
    if (callback.next_ != nullptr)
      callback.next_->link_ = callback.link_;
    unlock(bits);
    return;
  }
  const bool inside = running_ == &callback && notifier_ == &detail::this_thread();
  unlock(bits);
  if (inside) {
    *callback.gone_ = true;
    return;
  }
  // Acquire: pairs with the release in request_stop.
  while (callback.finished_.load(std::memory_order_acquire) == 0)
    detail::sync::yield_thread();
}

} // namespace weir
