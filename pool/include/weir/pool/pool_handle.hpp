// SPDX-License-Identifier: MIT
/// \file
/// `pool_handle<T>`: a handle to a task of a `fixed_pool` or `autoscale_pool`, with its id.
#pragma once

#include <weir/error.hpp>
#include <weir/handle.hpp>
#include <weir/pool/errors.hpp>

#include <optional>

namespace weir {

/// As `handle<T>`, which it can be moved into; and knows the task's id, also when the task has
/// ended or its result was taken.
template <class T>
class [[nodiscard(
    "dropping the handle gives up the result; use post() for fire and forget")]] pool_handle
    : public handle<T> {
 public:
  pool_handle() noexcept {}
  /// For the library.
  pool_handle(handle<T> of, std::optional<task_id> id) noexcept
      : handle<T>(std::move(of)), id_(id) {}

  /// Whether the task has an id: in pools with `ids`, and with a callback, `start_by` or
  /// `timeout`.
  [[nodiscard]] bool has_id() const noexcept { return id_.has_value(); }
  /// Throws `errc::no_state` if it has none.
  [[nodiscard]] task_id id() const {
    if (!id_)
      detail::throw_error(errc::no_state, "the task has no id: set .ids in the pool's options");
    return *id_;
  }

 private:
  std::optional<task_id> id_;
};

} // namespace weir
