// SPDX-License-Identifier: MIT
/// \file
/// How a `fixed_pool` or `autoscale_pool` is closed.
#pragma once

#include <weir/clock.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/log.hpp>
#include <weir/pool/pool_executor.hpp>
#include <weir/task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weir {

/// How to make a pool smaller, or close it.
enum class removal : std::uint8_t {
  /// Running tasks end by themselves; a slot goes when its task has ended.
  soft,
  /// Slots without a task go first; then tasks are asked to stop, each of another slot.
  hard,
};

/// Times are those of the runtime's clock.
struct close_options {
  /// How long tasks may wait for a slot meanwhile. Not set: for ever.
  std::optional<std::chrono::nanoseconds> close_worker_timeout{};
  /// How long running tasks may then take. Not set: for ever.
  std::optional<std::chrono::nanoseconds> close_pool_timeout{};
  /// Whether a time-out is only reported and logged. Else it is thrown, as `errc::timed_out`.
  bool safe = true;
  /// Whether a time-out cancels what waits and requests stop of what runs. Else it goes on.
  bool cancel_on_timeout = true;
};

/// What was left when `close()` has ended.
struct close_report {
  /// Whether everything had ended in time.
  bool in_time = true;
  /// Tasks that had not, and whose end nobody has waited for.
  std::size_t left_waiting = 0;
  std::size_t left_running = 0;
};

namespace detail {

/// What a pool keeps beside its engine.
struct pool_settings {
  /// \param kind "FixedPool" or "AutoscalePool".
  WEIR_API pool_settings(std::string_view kind, std::string_view name, log_sink sink,
                         pool_executor on);
  std::string str; // "FixedPool-0", or with the pool's name in the place of the number
  log_sink log;
  pool_executor executor;
  bool ids = false;
  std::optional<clock_source::duration> callback_timeout;
};

template <class Options>
[[nodiscard]] pool_settings settings_of(std::string_view kind, Options& options) {
  pool_settings made(kind, options.name, std::move(options.log), options.executor);
  made.ids = options.ids;
  made.callback_timeout = options.callback_timeout;
  return made;
}

/// The waiting part of closing.
WEIR_API task<close_report> finish_closing(std::shared_ptr<pool_engine> engine,
                                           std::shared_ptr<const pool_settings> settings,
                                           close_options options);

/// A value that is there already: takes part in expressions as such, and can be awaited.
template <class T>
class immediate {
 public:
  explicit immediate(T value) noexcept : value_(value) {}
  operator T() const noexcept { return value_; } // NOLINT: it is that value
  [[nodiscard]] bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  T await_resume() const noexcept { return value_; }

 private:
  T value_;
};

} // namespace detail

} // namespace weir
