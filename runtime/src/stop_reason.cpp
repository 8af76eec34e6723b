// SPDX-License-Identifier: MIT
#include <weir/stop_reason.hpp>

#include <array>
#include <string>

namespace weir {

/// Those without a text are static and not counted.
struct stop_reason::representation {
  stop_cause cause = stop_cause::requested;
  bool counted = false;
  mutable detail::sync::atomic<std::uint32_t> references{1};
  std::string text;
};

namespace {

const stop_reason::representation& of(stop_cause cause) noexcept {
  // Never destroyed: tasks may end after static objects have.
  static const auto& all = *new std::array<stop_reason::representation, 6>{{
      {stop_cause::requested, false, {1}, "stop was requested"},
      {stop_cause::timed_out, false, {1}, "the time limit has passed"},
      {stop_cause::shutdown, false, {1}, "the runtime or pool is stopping"},
      {stop_cause::sibling_failed, false, {1}, "another task of the group has failed"},
      {stop_cause::not_needed, false, {1}, "another task has ended first"},
      {stop_cause::not_started_in_time, false, {1}, "the task was not started in time"},
  }};
  return all[static_cast<std::size_t>(cause)];
}

} // namespace

stop_reason::stop_reason(stop_cause cause) noexcept : shared_(&of(cause)) {}

const stop_reason::representation* stop_reason::made_of(std::string_view text) {
  return new representation{stop_cause::requested, true, {1}, std::string(text)};
}

stop_cause stop_reason::cause() const noexcept {
  return shared_->cause;
}

std::string_view stop_reason::text() const noexcept {
  return shared_->text;
}

void stop_reason::retain() const noexcept {
  if (shared_->counted) // relaxed: the caller holds a share already
    shared_->references.fetch_add(1, std::memory_order_relaxed);
}

void stop_reason::release() const noexcept {
  // Acquire-release: the last one to leave deletes after everybody else's reads.
  if (shared_->counted && shared_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete shared_;
}

} // namespace weir
