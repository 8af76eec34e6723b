// SPDX-License-Identifier: MIT
/// \file
/// How many slots an `autoscale_pool` gets: pure functions of what it sees.
#pragma once

#include <weir/version.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace weir {

/// What a pool saw at one moment.
struct autoscale_sample {
  /// Tasks that waited for a slot, and slots.
  std::size_t waiting = 0;
  std::size_t size = 1;
};

/// What a policy decides by.
struct autoscale_input {
  /// The last samples, the oldest first. The last one is of now, and is always there.
  std::span<const autoscale_sample> window;
  /// How many samples it has at most.
  std::size_t window_length = never;
  /// The limit that the pool has, and the bounds of it.
  std::size_t size = 1;
  std::size_t min = 1;
  std::size_t max = 1;
  /// How many steps ago a step last raised and lowered the limit; `never` if none has.
  std::size_t since_grown = never;
  std::size_t since_shrunk = never;

  static constexpr std::size_t never = SIZE_MAX;
};

/// What a policy decides: how many slots more or fewer. The pool keeps the bounds.
struct autoscale_decision {
  std::ptrdiff_t delta = 0;
  /// The backlog grows faster than the pool: worth a warning.
  bool accumulating = false;
};

/// A policy. Called at each step, on a worker or by `step_now`, one call at a time; must not block.
/// If it throws, the step changes nothing and the exception is logged.
using autoscale_policy = std::function<autoscale_decision(const autoscale_input&)>;

namespace policies {

/// The default.
///
/// A rising backlog of more than two tasks for each slot gets all slots at once, one that does not
/// rise adds 0.6 of what is left. A backlog of one or more for each slot adds 0.3, a smaller one
/// that grows 0.05. While less than that waits, but anything does, nothing changes. When nothing
/// has waited for a quarter of the window (and two samples, if it has two) the pool shrinks, by a
/// tenth of what is above `min`, and not within three steps after it has grown: a pool without work
/// reaches `min`, and stays there.
[[nodiscard]] WEIR_API autoscale_decision mended(const autoscale_input& in) noexcept;

/// Does at each step what Python's aio_parallel_tools does, oddities included: it never takes a
/// rising backlog for one, shrinks under a steady small load, and by one at each idle step. Means
/// are exact as there: with whole numbers, without rounding.
[[nodiscard]] WEIR_API autoscale_decision upstream_exact(const autoscale_input& in) noexcept;

} // namespace policies

} // namespace weir
