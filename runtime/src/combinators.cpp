// SPDX-License-Identifier: MIT
// What the combinators make of the ends of their children.
#include <weir/as_completed.hpp>
#include <weir/error.hpp>
#include <weir/when_all.hpp>
#include <weir/when_any.hpp>

#include <mutex>

namespace weir::detail {

all_join::~all_join() = default;

void all_join::failed(child& which, child_end how) noexcept {
  if (record_failure(which, how) && stops_others_)
    stop_children(reason_or(stop_cause::sibling_failed), &which);
}

void all_join::ended_before(child& which) noexcept {
  if (const child_end how = which.how_ended(); how != child_end::value)
    failed(which, how);
}

bool all_join::child_ended(child& which, child_end how, thread_state&) noexcept {
  if (how != child_end::value)
    failed(which, how);
  return true;
}

any_join::~any_join() = default;

bool any_join::child_ended(child& which, child_end how, thread_state&) noexcept {
  child* none = nullptr;
  // Relaxed: read by the parent, which comes after every leave().
  if (winner_.compare_exchange_strong(none, &which, std::memory_order_relaxed)) {
    how_ = how;
    stop_children(reason_or(stop_cause::not_needed), &which);
  } else if (how == child_end::failed) {
    count_suppressed(scope().root().home());
  }
  return true;
}

child& any_join::winner() {
  check();
  // Relaxed: every child has left.
  child& first = *winner_.load(std::memory_order_relaxed);
  if (how_ == child_end::cancelled)
    throw_cancelled_as(first);
  if (how_ == child_end::failed)
    count_grouped(scope().root().home());
  return first;
}

void require_any(std::size_t count) {
  if (count == 0)
    throw_error(errc::invalid_option,
                "when_any was given a range of 0 tasks, of which none can end; give at least 1");
}

void completion_queue::push(child& ended, thread_state& thread) noexcept {
  pop_awaiter* waiting = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    (first_ == nullptr ? first_ : last_->next_ended) = &ended;
    last_ = &ended;
    waiting = std::exchange(waiting_, nullptr);
    if (waiting != nullptr)
      waiting->taken_ = std::exchange(first_, nullptr);
  }
  if (waiting != nullptr)
    waiting->complete_and_schedule(thread);
}

bool completion_queue::pop_awaiter::suspend(promise_base& promise) noexcept {
  if (!prepare(promise.scope(), promise))
    return false;
  bool waits = false;
  {
    const std::scoped_lock lock(from_->mutex_);
    taken_ = from_->first_;
    waits = taken_ == nullptr;
    if (waits)
      from_->waiting_ = this; // from here on `taken_` is written by who pushes
    else
      from_->first_ = taken_->next_ended;
  }
  if (waits)
    return commit();
  retract();
  return false;
}

child& completion_queue::pop_awaiter::await_resume() {
  check();
  return *taken_;
}

bool completion_queue::pop_awaiter::withdraw(suspension& self) noexcept {
  auto& awaiter = static_cast<pop_awaiter&>(self);
  const std::scoped_lock lock(awaiter.from_->mutex_);
  if (awaiter.from_->waiting_ != &awaiter)
    return false;
  awaiter.from_->waiting_ = nullptr;
  return true;
}

} // namespace weir::detail
