// SPDX-License-Identifier: MIT
/// \file
/// `manual_clock`: time that moves only when a test lets it.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/sync.hpp>

#include <memory>
#include <utility>

namespace weir {

/// A clock for tests, given to one or more runtimes by `runtime_options::clock`; it must outlive
/// them.
///
/// By default it jumps to the next deadline whenever every worker of its runtimes sleeps, so that a
/// day of sleeping tasks takes milliseconds. Created with `moves::by_hand` it moves only by
/// `advance()`. What runs on threads that are no workers (the test's own, a `blocking_executor`)
/// does not keep the clock from jumping: `hold()` does.
///
/// Equal deadlines fire in the order in which they were set, whichever worker set them; on a
/// runtime with one worker the tasks also run in that order.
///
/// Thread safety: every member may be called from any thread, except the destructor.
class WEIR_API manual_clock final : public clock_source {
 public:
  enum class moves {
    /// To the next deadline when every worker is idle, and by `advance()`.
    when_idle,
    /// Only by `advance()`.
    by_hand,
  };

  /// \param start what `now()` says at first.
  explicit manual_clock(moves how = moves::when_idle, time_point start = time_point());
  ~manual_clock() override;

  [[nodiscard]] time_point now() const noexcept override;

  /// Moves on by `step` (at least 0), as `advance_to`.
  void advance(duration step) { advance_to(now() + step); }

  /// Moves on to `target`, from deadline to deadline: at each one it waits until everything that
  /// fell due has run and all workers sleep again. A target in the past does not move the clock,
  /// but waits for the workers all the same. Throws `errc::would_deadlock` on a worker thread, and
  /// `errc::forked`.
  void advance_to(time_point target);

  /// The earliest deadline that a task waits for; `time_point::max()` if there is none.
  [[nodiscard]] time_point next_deadline() const;

  /// While one of these lives the clock does not jump by itself.
  class [[nodiscard]] holding {
   public:
    holding(holding&& other) noexcept : time_(std::exchange(other.time_, nullptr)) {}
    holding& operator=(holding&&) = delete;
    WEIR_API ~holding();

   private:
    friend class manual_clock;
    explicit holding(detail::manual_time* time) noexcept : time_(time) {}
    detail::manual_time* time_;
  };
  [[nodiscard("the clock jumps again when the result is destroyed")]] holding hold();

  [[nodiscard]] detail::manual_time* manual() const noexcept override { return time_.get(); }

 private:
  std::unique_ptr<detail::manual_time> time_;
};

} // namespace weir
