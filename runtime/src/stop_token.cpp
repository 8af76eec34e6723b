// SPDX-License-Identifier: MIT
// One word {locked, requested, pointer} guards an intrusive list of callbacks. A callback runs
// unlocked and unlinked; the notification names it until it has returned, so that its destructor on
// another thread can wait for `finished_`, and on the notifying thread (a callback that destroys
// itself) does not.
#include <weir/detail/thread_state.hpp>
#include <weir/stop_token.hpp>

namespace weir {

namespace {

template <class T>
T* pointer_in(std::uintptr_t word) noexcept {
  return reinterpret_cast<T*>(word);
}
template <class T>
std::uintptr_t word_of(const T* pointer) noexcept {
  static_assert(alignof(T) >= 4, "the low bits hold the state");
  return reinterpret_cast<std::uintptr_t>(pointer);
}

} // namespace

std::uintptr_t inplace_stop_source::lock() const noexcept {
  auto seen = word_.load(std::memory_order_relaxed);
  for (;;) {
    // Acquire: pairs with the release in unlock, hands over the list. Relaxed on failure: retried.
    if ((seen & locked) == 0 &&
        word_.compare_exchange_weak(seen, seen | locked, std::memory_order_acquire,
                                    std::memory_order_relaxed))
      return seen;
    detail::sync::relax();
    seen = word_.load(std::memory_order_relaxed);
  }
}

void inplace_stop_source::unlock(std::uintptr_t word) const noexcept {
  // Release: pairs with the acquire in lock and in stop_requested.
  word_.store(word, std::memory_order_release);
}

bool inplace_stop_source::request_stop() noexcept {
  const auto before = lock();
  if ((before & requested) != 0) {
    unlock(before);
    return false;
  }
  notification now{&detail::this_thread(), nullptr, pointer_in<detail::stop_callback_base>(before)};
  const auto notifying = word_of(&now) | requested;
  // Seq_cst: pairs with stop_requested. The lock is still held.
  word_.store(notifying | locked, std::memory_order_seq_cst);
  while (auto* callback = now.head) {
    now.head = callback->next_;
    if (now.head != nullptr)
      now.head->previous_ = nullptr;
    callback->listed_ = false;
    now.running = callback;
    bool gone = false;
    callback->gone_ = &gone;
    unlock(notifying);

    callback->invoke_(*callback);

    if (!gone) {
      callback->gone_ = nullptr;
      // Release: pairs with the acquire in remove, which then destroys the callback.
      callback->finished_.store(1, std::memory_order_release);
    }
    lock();
    now.running = nullptr;
  }
  unlock(requested);
  return true;
}

bool inplace_stop_source::add(detail::stop_callback_base& callback) const noexcept {
  const auto seen = lock();
  if ((seen & requested) != 0) {
    unlock(seen);
    return false;
  }
  callback.next_ = pointer_in<detail::stop_callback_base>(seen);
  callback.previous_ = nullptr;
  callback.listed_ = true;
  if (callback.next_ != nullptr)
    callback.next_->previous_ = &callback;
  unlock(word_of(&callback));
  return true;
}

void inplace_stop_source::remove(detail::stop_callback_base& callback) const noexcept {
  auto seen = lock();
  auto* const notifying =
      (seen & requested) != 0 ? pointer_in<notification>(seen & pointer_mask) : nullptr;
  if (callback.listed_) {
    if (callback.next_ != nullptr)
      callback.next_->previous_ = callback.previous_;
    if (callback.previous_ != nullptr)
      callback.previous_->next_ = callback.next_;
    else if (notifying != nullptr)
      notifying->head = callback.next_;
    else
      seen = word_of(callback.next_);
    unlock(seen);
    return;
  }
  const bool inside = notifying != nullptr && notifying->running == &callback &&
                      notifying->thread == &detail::this_thread();
  unlock(seen);
  if (inside) {
    *callback.gone_ = true;
    return;
  }
  // Acquire: pairs with the release in request_stop.
  while (callback.finished_.load(std::memory_order_acquire) == 0)
    detail::sync::yield_thread();
}

} // namespace weir
