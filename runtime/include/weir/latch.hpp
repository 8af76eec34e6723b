// SPDX-License-Identifier: MIT
/// \file
/// `latch`: tasks wait until a count has come down to zero, once.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>

#include <cstddef>

namespace weir {

/// Counts down to zero once; then everybody goes on, for good.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. A task whose wait has ended may destroy the latch while the last `count_down` is
/// still returning. Costs: one short lock for each call; a waiter allocates nothing.
class WEIR_API latch {
 public:
  /// \param count how often to count down; 0: nobody waits.
  explicit latch(std::size_t count) noexcept : count_(count) {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;
  ~latch() = default;

  class wait_awaiter;

  /// Counts down by `n`. Throws `errc::limit_exceeded` if that passes zero; then nothing has
  /// happened.
  void count_down(std::size_t n = 1);

  /// Whether the count is zero.
  [[nodiscard]] bool try_wait() const noexcept;

  /// Awaiting it waits until the count is zero.
  [[nodiscard("the latch is waited for when this is awaited")]] wait_awaiter wait() noexcept;

  /// Awaiting it counts down by `n` and waits until the count is zero. Throws as `count_down`. If
  /// stop was requested before, it does not count; if the wait is cancelled, it has counted.
  [[nodiscard("nothing is counted before this is awaited")]] wait_awaiter
  arrive_and_wait(std::size_t n = 1) noexcept;

 private:
  /// Under the lock.
  void count_down(std::size_t n, detail::woken_list& woken);

  mutable detail::sync::mutex mutex_;
  std::size_t count_;
  detail::wait_list waiting_;
};

class latch::wait_awaiter : public detail::list_awaiter<wait_awaiter> {
 public:
  wait_awaiter(latch& awaited, std::size_t arrives) noexcept
      : list_awaiter(&withdraw), awaited_(&awaited), arrives_(arrives) {}

  [[nodiscard]] WEIR_API bool wait_or_take();
  void await_resume() const { check(); }

 private:
  WEIR_API static bool withdraw(suspension& self) noexcept;

  latch* awaited_;
  std::size_t arrives_;
};

inline latch::wait_awaiter latch::wait() noexcept {
  return wait_awaiter(*this, 0);
}

inline latch::wait_awaiter latch::arrive_and_wait(std::size_t n) noexcept {
  return wait_awaiter(*this, n);
}

} // namespace weir
