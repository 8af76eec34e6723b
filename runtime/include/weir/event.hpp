// SPDX-License-Identifier: MIT
/// \file
/// `event`: a flag that tasks wait for.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>

namespace weir {

/// A flag that is set and reset by hand. `set` lets everybody go on who waits then, also if `reset`
/// follows at once.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. A task whose wait has ended may destroy the event while `set` is still returning; one
/// that has only seen `is_set()` may not. Costs: one short lock for each call, none for `is_set`; a
/// waiter allocates nothing.
class WEIR_API event {
 public:
  /// \param set whether it is set at first.
  explicit event(bool set = false) noexcept : set_(set) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event() = default;

  class wait_awaiter;

  /// Lets everybody go on who waits or comes to wait before the next `reset`.
  void set() noexcept;
  /// From now on tasks wait again.
  void reset() noexcept;
  [[nodiscard]] bool is_set() const noexcept {
    // Acquire: pairs with the release in set; what came before it is seen.
    return set_.load(std::memory_order_acquire);
  }

  /// Awaiting it waits until the event is set.
  [[nodiscard("the event is waited for when this is awaited")]] wait_awaiter wait() noexcept;

 private:
  detail::sync::mutex mutex_;
  detail::sync::atomic<bool> set_; // written under the lock
  detail::wait_list waiting_;
};

class event::wait_awaiter : public detail::list_awaiter<wait_awaiter> {
 public:
  explicit wait_awaiter(event& awaited) noexcept : list_awaiter(&withdraw), awaited_(&awaited) {}

  [[nodiscard]] WEIR_API bool wait_or_take() noexcept;
  void await_resume() const { check(); }

 private:
  WEIR_API static bool withdraw(suspension& self) noexcept;

  event* awaited_;
};

inline event::wait_awaiter event::wait() noexcept {
  return wait_awaiter(*this);
}

} // namespace weir
