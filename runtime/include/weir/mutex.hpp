// SPDX-License-Identifier: MIT
/// \file
/// `mutex`: mutual exclusion of tasks, which may be held over a `co_await`.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>

#include <utility>

namespace weir {

class condition;
class mutex;

/// Owns a locked `mutex` and unlocks it when this ends. May be empty.
/// Thread safety: one thread at a time. The mutex must live longer.
class [[nodiscard("dropping it unlocks the mutex")]] mutex_guard {
 public:
  mutex_guard() noexcept {}
  /// Takes over the lock that the caller holds.
  explicit mutex_guard(weir::mutex& locked) noexcept : mutex_(&locked) {}
  mutex_guard(mutex_guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
  mutex_guard& operator=(mutex_guard&& other) noexcept {
    mutex_guard(std::move(other)).swap(*this);
    return *this;
  }
  /// Ends the process if somebody else has unlocked the mutex.
  ~mutex_guard() { unlock(); }
  void swap(mutex_guard& other) noexcept { std::swap(mutex_, other.mutex_); }

  [[nodiscard]] bool owns_lock() const noexcept { return mutex_ != nullptr; }
  /// The mutex, or null.
  [[nodiscard]] weir::mutex* mutex() const noexcept { return mutex_; }
  /// Unlocks now; nothing if it is empty.
  inline void unlock();

 private:
  weir::mutex* mutex_ = nullptr;
};

/// Held by one task at a time, from `lock` to `unlock`, over suspensions and whichever threads.
/// First come, first served: `unlock` hands the mutex to who has waited longest, and nobody gets
/// between. Not recursive: a task that locks twice waits for itself.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. Costs: one short lock for each call; a waiter allocates nothing.
class WEIR_API mutex {
 public:
  mutex() noexcept {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  ~mutex() = default;

  class lock_awaiter;
  class scoped_awaiter;

  /// Awaiting it locks; gives nothing.
  [[nodiscard("the mutex is locked when this is awaited")]] lock_awaiter lock() noexcept;

  /// Awaiting it locks; gives a `mutex_guard`.
  [[nodiscard("the mutex is locked when this is awaited")]] scoped_awaiter scoped_lock() noexcept;

  /// Locks if the mutex is free. Never waits.
  [[nodiscard]] bool try_lock() noexcept;

  /// Hands the mutex to the next one or frees it. Throws `errc::not_locked`.
  void unlock();

 private:
  friend class condition;
  class waiting;

  /// \return true if the mutex is locked for `node` now; else it waits for it.
  [[nodiscard]] bool lock_or_wait(detail::wait_node& node) noexcept;
  [[nodiscard]] bool withdraw(detail::wait_node& node) noexcept;

  detail::sync::mutex mutex_;
  bool locked_ = false;
  detail::wait_list waiting_;
};

class mutex::waiting : public detail::list_awaiter<waiting> {
 public:
  explicit waiting(mutex& wanted) noexcept : list_awaiter(&withdraw), wanted_(&wanted) {}

  [[nodiscard]] bool wait_or_take() noexcept { return !wanted_->lock_or_wait(*this); }

 protected:
  static bool withdraw(suspension& self) noexcept {
    auto& node = static_cast<waiting&>(self);
    return node.wanted_->withdraw(node);
  }

  mutex* wanted_;
};

class mutex::lock_awaiter : public mutex::waiting {
 public:
  using waiting::waiting;
  void await_resume() const { check(); }
};

class mutex::scoped_awaiter : public mutex::waiting {
 public:
  using waiting::waiting;
  mutex_guard await_resume() const {
    check();
    return mutex_guard(*wanted_);
  }
};

inline mutex::lock_awaiter mutex::lock() noexcept {
  return lock_awaiter(*this);
}

inline mutex::scoped_awaiter mutex::scoped_lock() noexcept {
  return scoped_awaiter(*this);
}

inline void mutex_guard::unlock() {
  if (auto* const locked = std::exchange(mutex_, nullptr))
    locked->unlock();
}

} // namespace weir
