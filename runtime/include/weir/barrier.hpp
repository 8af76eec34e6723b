// SPDX-License-Identifier: MIT
/// \file
/// `barrier`: a fixed number of tasks wait for each other, again and again.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>

#include <cstddef>
#include <functional>

namespace weir {

/// A phase ends when as many parties have arrived as there are; then all go on and the next phase
/// begins. The last one to arrive calls the completion function, outside the lock, before anybody
/// goes on.
///
/// A cancelled wait takes its arrival back: the phase then waits for this party to come again. A
/// party that gives up for good calls `arrive_and_drop`, or the others wait for ever.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. Costs: one short lock for each call; a waiter allocates nothing.
class WEIR_API barrier {
 public:
  /// \param parties how many wait for each other, at least 1.
  /// \param completion called once at the end of each phase; may be empty. If it throws, the
  ///        others go on and the last one to arrive gets the exception.
  /// Throws `errc::invalid_option`, `std::bad_alloc`.
  explicit barrier(std::size_t parties, std::function<void()> completion = {});
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;
  ~barrier() = default;

  class wait_awaiter;

  /// Awaiting it arrives and waits for the end of the phase. Throws `errc::limit_exceeded` if all
  /// parties have dropped out.
  [[nodiscard("nobody arrives before this is awaited")]] wait_awaiter arrive_and_wait() noexcept;

  /// Drops out: this phase and the later ones have one party less. May end the phase, and then
  /// calls the completion function. Throws `errc::limit_exceeded` if all parties have dropped out.
  void arrive_and_drop();

  /// How many have not dropped out.
  [[nodiscard]] std::size_t parties() const noexcept;

 private:
  void require_parties() const;
  /// By the last one to arrive, for those who waited.
  void finish_phase(detail::woken_list& woken) const;

  mutable detail::sync::mutex mutex_;
  std::size_t parties_;
  std::size_t arrived_ = 0;
  detail::wait_list waiting_;
  const std::function<void()> completion_;
};

class barrier::wait_awaiter : public detail::list_awaiter<wait_awaiter> {
 public:
  explicit wait_awaiter(barrier& awaited) noexcept : list_awaiter(&withdraw), awaited_(&awaited) {}

  [[nodiscard]] WEIR_API bool wait_or_take();
  void await_resume() {
    check();
    if (last_)
      awaited_->finish_phase(others_);
  }

 private:
  WEIR_API static bool withdraw(suspension& self) noexcept;

  barrier* awaited_;
  bool last_ = false;
  detail::woken_list others_;
};

inline barrier::wait_awaiter barrier::arrive_and_wait() noexcept {
  return wait_awaiter(*this);
}

} // namespace weir
