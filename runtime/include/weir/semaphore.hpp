// SPDX-License-Identifier: MIT
/// \file
/// `semaphore`: a number of permits that tasks take, wait for and give back.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>

#include <cstddef>
#include <limits>
#include <utility>

namespace weir {

class semaphore;

/// Permits that go back to their semaphore when this ends. May be empty.
/// Thread safety: one thread at a time. The semaphore must live longer.
class [[nodiscard("dropping it gives the permits back")]] semaphore_permit {
 public:
  semaphore_permit() noexcept {}
  /// Takes over `count` permits that the caller has acquired.
  semaphore_permit(semaphore& from, std::size_t count) noexcept : from_(&from), count_(count) {}
  semaphore_permit(semaphore_permit&& other) noexcept
      : from_(std::exchange(other.from_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  semaphore_permit& operator=(semaphore_permit&& other) noexcept {
    semaphore_permit(std::move(other)).swap(*this);
    return *this;
  }
  /// Ends the process if others have released more than they had, up to the semaphore's limit.
  ~semaphore_permit() { release(); }
  void swap(semaphore_permit& other) noexcept {
    std::swap(from_, other.from_);
    std::swap(count_, other.count_);
  }

  /// How many permits it holds.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Gives the permits back now.
  inline void release();

 private:
  semaphore* from_ = nullptr;
  std::size_t count_ = 0;
};

/// Counts permits. Strictly first come, first served: while somebody waits, nobody overtakes, not
/// even `try_acquire`, and not even a request for fewer permits; who waits is handed its permits.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. Costs: one short lock for each call; a waiter allocates nothing.
class WEIR_API semaphore {
 public:
  /// The largest number of permits.
  static constexpr std::size_t max_permits = std::numeric_limits<std::size_t>::max() / 2;

  /// \param permits how many there are at first, 0 to `max_permits`.
  /// Throws `errc::invalid_option`.
  explicit semaphore(std::size_t permits);
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;
  ~semaphore() = default;

  class acquire_awaiter;
  class scoped_awaiter;

  /// Awaiting it takes `n` permits, waiting until they are there; they come all at once or, if the
  /// wait is cancelled, not at all.
  [[nodiscard("the permits are taken when this is awaited")]] acquire_awaiter
  acquire(std::size_t n = 1) noexcept;

  /// As `acquire`; gives a `semaphore_permit`.
  [[nodiscard("the permits are taken when this is awaited")]] scoped_awaiter
  acquire_scoped(std::size_t n = 1) noexcept;

  /// Takes `n` permits if they are there and nobody waits. Never waits.
  [[nodiscard]] bool try_acquire(std::size_t n = 1) noexcept;

  /// Gives `n` permits, first to those who wait. Throws `errc::limit_exceeded` if there would be
  /// more than `max_permits`; then nothing has happened.
  void release(std::size_t n = 1);

  /// A moment's number of free permits.
  [[nodiscard]] std::size_t available() const noexcept;

 private:
  class waiting;

  [[nodiscard]] bool take(std::size_t n) noexcept;
  /// Hands free permits to the oldest waiters.
  void serve(detail::woken_list& woken) noexcept;

  mutable detail::sync::mutex mutex_;
  std::size_t permits_;
  detail::wait_list waiting_;
};

class semaphore::waiting : public detail::list_awaiter<waiting> {
 public:
  waiting(semaphore& from, std::size_t count) noexcept
      : list_awaiter(&withdraw), from_(&from), count_(count) {}

  [[nodiscard]] WEIR_API bool wait_or_take() noexcept;

 protected:
  friend class semaphore;

  WEIR_API static bool withdraw(suspension& self) noexcept;

  semaphore* from_;
  std::size_t count_;
};

class semaphore::acquire_awaiter : public semaphore::waiting {
 public:
  using waiting::waiting;
  void await_resume() const { check(); }
};

class semaphore::scoped_awaiter : public semaphore::waiting {
 public:
  using waiting::waiting;
  semaphore_permit await_resume() const {
    check();
    return semaphore_permit(*from_, count_);
  }
};

inline semaphore::acquire_awaiter semaphore::acquire(std::size_t n) noexcept {
  return acquire_awaiter(*this, n);
}

inline semaphore::scoped_awaiter semaphore::acquire_scoped(std::size_t n) noexcept {
  return scoped_awaiter(*this, n);
}

inline void semaphore_permit::release() {
  if (auto* const from = std::exchange(from_, nullptr))
    from->release(std::exchange(count_, 0));
}

} // namespace weir
