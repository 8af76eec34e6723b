// SPDX-License-Identifier: MIT
/// \file
/// `condition`: tasks that hold a `weir::mutex` wait until another one has changed something.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>
#include <weir/mutex.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <utility>

namespace weir {

/// A condition variable for tasks. A wait gives the mutex back, and has it again when it ends,
/// however it ends: also a cancelled one throws `task_cancelled` only when it has the mutex again,
/// and waiting for that cannot be cancelled.
///
/// The oldest waiter is notified first. There are no spurious wake-ups, but between the
/// notification and the end of the wait others may have had the mutex: look again, or give `wait` a
/// predicate. A notified task queues for the mutex at once; nobody is woken only to wait again.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. Costs: two or three short locks for each wait; a waiter allocates nothing.
class WEIR_API condition {
 public:
  condition() noexcept {}
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;
  ~condition() = default;

  class wait_awaiter;

  /// Awaiting it unlocks the guard's mutex, waits for a notification and locks the mutex again.
  /// The guard owns the mutex also when this throws. Throws `errc::not_locked` if it does not own
  /// one now.
  [[nodiscard("the condition is waited for when this is awaited")]] wait_awaiter
  wait(mutex_guard& guard) noexcept;

  /// Waits until `predicate()`, called with the mutex held, is true; not at all if it is so now.
  /// One frame from the cache.
  template <std::predicate<> Predicate>
  task<> wait(mutex_guard& guard, Predicate predicate);

  /// Lets the oldest waiter, or all, go on when they get the mutex. The caller need not hold it.
  void notify_one() noexcept;
  void notify_all() noexcept;

 private:
  detail::sync::mutex mutex_;
  detail::wait_list waiting_;
};

class condition::wait_awaiter : public detail::list_awaiter<wait_awaiter> {
 public:
  wait_awaiter(condition& awaited, mutex_guard& guard) noexcept
      : list_awaiter(&withdraw), awaited_(&awaited), guard_(&guard) {}

  [[nodiscard]] WEIR_API bool wait_or_take();
  void await_resume() const {
    check();
    if (given_up_)
      scope().throw_cancelled();
  }

 private:
  friend class condition;

  WEIR_API static bool withdraw(suspension& self) noexcept;
  /// Queues for the mutex; goes on when it has it.
  void lock_again(detail::thread_state& thread) noexcept;

  condition* awaited_;
  mutex_guard* guard_;
  mutex* locked_ = nullptr;
  // Whether it is in the condition's list; later it may be in the mutex's. Guarded by the
  // condition's lock.
  bool waits_ = false;
  bool given_up_ = false;
};

inline condition::wait_awaiter condition::wait(mutex_guard& guard) noexcept {
  return wait_awaiter(*this, guard);
}

template <std::predicate<> Predicate>
task<> condition::wait(mutex_guard& guard, Predicate predicate) {
  while (!predicate())
    co_await wait(guard);
}

} // namespace weir
