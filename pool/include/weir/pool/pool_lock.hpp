// SPDX-License-Identifier: MIT
/// \file
/// `pool_lock`: a `task_pool` that is locked for a scope.
#pragma once

#include <weir/pool/detail/task_pool_core.hpp>

#include <memory>
#include <utility>

namespace weir {

/// Keeps a pool locked while it lives; made by `pool_base::scoped_lock`. One that was locked
/// already stays so afterwards.
class [[nodiscard("the pool is unlocked when this is destroyed")]] pool_lock {
 public:
  /// For the library.
  explicit pool_lock(std::shared_ptr<detail::task_pool_core> core)
      : core_(core->lock() ? std::move(core) : nullptr) {}
  pool_lock(pool_lock&&) noexcept = default;
  pool_lock& operator=(pool_lock&& other) noexcept {
    pool_lock(std::move(other)).core_.swap(core_);
    return *this;
  }
  ~pool_lock() {
    if (core_ != nullptr && !detail::is_forked(core_->home()))
      core_->unlock();
  }

 private:
  std::shared_ptr<detail::task_pool_core> core_; // null if there is nothing to unlock
};

} // namespace weir
