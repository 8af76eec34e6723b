// SPDX-License-Identifier: MIT
/// \file
/// `admission`: a place among the groups that may wait in a `task_pool` with a bound.
#pragma once

#include <weir/detail/wait_list.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/pool/errors.hpp>

#include <memory>
#include <utility>

namespace weir {

/// Stands for one of the `max_waiting_groups` places of a pool, to be given to `apply`, `map` and
/// so on; dropping it gives the place back. It keeps nobody else's work from ending, and does not
/// open a pool that is locked meanwhile. It may outlive pool and runtime, and be dropped in a
/// forked child. Thread safety: one thread at a time.
class [[nodiscard("dropping it gives the place back")]] admission {
 public:
  /// For the library.
  explicit admission(std::shared_ptr<detail::task_pool_core> core) noexcept
      : core_(std::move(core)), place_(*core_) {}
  admission(admission&& other) noexcept = default;
  admission& operator=(admission&&) = delete;
  ~admission() = default;

  /// For the library: the place, for the pool that it is of. Throws `invalid_pool_option`, and what
  /// the pool throws if it takes no group now.
  [[nodiscard]] detail::group_place place_in(const detail::task_pool_core& pool) && {
    if (core_.get() != &pool || place_.core() == nullptr)
      throw invalid_pool_option("the admission is of another pool, or has been used");
    core_->require_open();
    return std::move(place_);
  }

 private:
  std::shared_ptr<detail::task_pool_core> core_;
  detail::group_place place_;
};

namespace detail {

/// Waits for a place; see `pool_base::admit`.
class [[nodiscard("the place is taken when this is awaited")]] place_wait final
    : public list_awaiter<place_wait, place_waiter> {
  using base = list_awaiter<place_wait, place_waiter>;

 public:
  explicit place_wait(std::shared_ptr<task_pool_core> core) noexcept
      : base(&take_back), core_(std::move(core)) {}
  place_wait(place_wait&& unused) noexcept
      : base(std::move(static_cast<base&>(unused))), core_(std::move(unused.core_)) {}
  place_wait& operator=(place_wait&&) = delete;
  ~place_wait() {
    if (given == answer::place) // its coroutine did not go on
      core_->give_back_place();
  }

  admission await_resume() {
    check();
    switch (std::exchange(given, answer::none)) {
    case answer::locked:
      throw pool_is_locked();
    case answer::closed:
      throw pool_is_closed();
    case answer::none:
    case answer::place:
      break;
    }
    return admission(core_);
  }

 private:
  friend base;
  [[nodiscard]] bool wait_or_take() { return core_->wait(*this); }
  static bool take_back(suspension& self) noexcept {
    auto& w = static_cast<place_wait&>(self);
    return w.core_->withdraw(w);
  }

  std::shared_ptr<task_pool_core> core_;
};

} // namespace detail

} // namespace weir
