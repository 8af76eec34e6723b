// SPDX-License-Identifier: MIT
/// \file
/// A timer: a node that its owner keeps, and the runtime's queues link. No allocation, no thread.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/job.hpp>

#include <cstdint>

namespace weir::detail {

class timer_shard;
class scheduler;

class timer {
 public:
  /// Called on a worker when the deadline has passed, outside any lock; the timer may be gone
  /// afterwards. Must be short: user code belongs into the job.
  /// \return a job to run at once, or null.
  using fire_function = job* (*)(timer&, thread_state&) noexcept;

  /// \param kept a number that the timer keeps for its owner until it is armed, in a word that it
  /// needs only afterwards.
  explicit timer(fire_function function, std::int64_t kept = 0) noexcept
      : fire_(function), key_(static_cast<std::uint64_t>(kept)) {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  /// Makes the timer fire once `target`'s clock has reached `deadline`. Not while it is armed.
  /// Constant time; a short lock, which other workers rarely want.
  WEIR_API void arm(scheduler& target, thread_state& thread,
                    clock_source::time_point deadline) noexcept;

  /// Only before the timer is armed.
  [[nodiscard]] std::int64_t kept() const noexcept { return static_cast<std::int64_t>(key_); }

  /// By the worker that has taken it out of its queue.
  [[nodiscard]] job* fire(thread_state& thread) noexcept { return fire_(*this, thread); }

  /// Takes the timer back. \return false if it has fired or is about to: then `fire` was or will be
  /// called. Constant time, or logarithmic if the deadline is near.
  [[nodiscard]] WEIR_API bool cancel() noexcept;

 private:
  friend class timer_queue;
  friend class timer_shard;

  fire_function fire_;
  timer_shard* shard_ = nullptr;
  // The rest belongs to the queue, under its shard's lock.
  std::uint64_t key_;
  std::uint64_t sequence_ : 48 = 0;
  std::uint64_t place_ : 16 = 0;
  timer* next_ = nullptr;
  timer* previous_ = nullptr;
  timer* child_ = nullptr;
};

} // namespace weir::detail
