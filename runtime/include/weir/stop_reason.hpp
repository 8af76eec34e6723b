// SPDX-License-Identifier: MIT
/// \file
/// Why a task was asked to stop.
#pragma once

#include <weir/detail/sync.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>
#include <utility>

namespace weir {

/// Who asked a task to stop.
enum class stop_cause : std::uint8_t {
  /// Somebody called `request_stop()`.
  requested,
  /// A time limit has passed (`with_timeout`).
  timed_out,
  /// The runtime or the pool is being stopped.
  shutdown,
  /// A sibling of the same group has failed.
  sibling_failed,
  /// Another one of the same `when_any` has ended first.
  not_needed,
  /// It was to start by a point in time and had not (`start_by` of a pool's task).
  not_started_in_time,
};

/// A cause and a text of the caller. One pointer; copies share the text.
/// Thread safety: as for an `int`; copies may be used by different threads.
class stop_reason {
 public:
  /// Somebody called `request_stop()` and gave no text.
  stop_reason() noexcept : stop_reason(stop_cause::requested) {}
  /// A cause without a text. Allocates nothing.
  WEIR_API stop_reason(stop_cause cause) noexcept; // NOLINT: a cause is a reason
  /// `stop_cause::requested` with a text. Allocates once; throws `std::bad_alloc`.
  template <std::convertible_to<std::string_view> Text>
  stop_reason(const Text& text) // NOLINT: so is a text
      : shared_(made_of(text)) {}

  stop_reason(const stop_reason& other) noexcept : shared_(other.shared_) { retain(); }
  stop_reason(stop_reason&& other) noexcept : stop_reason() { swap(other); }
  stop_reason& operator=(const stop_reason& other) noexcept {
    stop_reason(other).swap(*this);
    return *this;
  }
  stop_reason& operator=(stop_reason&& other) noexcept {
    stop_reason(std::move(other)).swap(*this);
    return *this;
  }
  ~stop_reason() { release(); }
  void swap(stop_reason& other) noexcept { std::swap(shared_, other.shared_); }

  [[nodiscard]] WEIR_API stop_cause cause() const noexcept;
  /// The caller's text, or a few words for the cause if there is none.
  [[nodiscard]] WEIR_API std::string_view text() const noexcept;

  /// Equal causes and equal texts.
  [[nodiscard]] friend bool operator==(const stop_reason& a, const stop_reason& b) noexcept {
    return a.cause() == b.cause() && a.text() == b.text();
  }

  struct representation;
  /// For the library: the shared part, to be taken over by `adopt`.
  [[nodiscard]] const representation* give_up() && noexcept {
    return std::exchange(shared_, stop_reason().shared_);
  }
  /// For the library: takes over a share.
  [[nodiscard]] static stop_reason adopt(const representation* shared) noexcept {
    stop_reason reason;
    reason.shared_ = shared;
    return reason;
  }

 private:
  [[nodiscard]] WEIR_API static const representation* made_of(std::string_view text);
  WEIR_API void retain() const noexcept;
  WEIR_API void release() const noexcept;

  const representation* shared_;
};

} // namespace weir
