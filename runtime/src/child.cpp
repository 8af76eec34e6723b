// SPDX-License-Identifier: MIT
#include <weir/detail/child.hpp>
#include <weir/error.hpp>

namespace weir::detail {

child::~child() = default;
join::~join() = default;

void throw_not_startable() {
  throw_error(errc::no_state, "a combinator was given a task that is empty or was awaited before; "
                              "give it a new one");
}

void child::require_startable() const {
  if (!startable_)
    throw_not_startable();
}

void child::run_first(job& self, thread_state& thread) noexcept {
  auto& c = static_cast<child&>(self);
  if (c.scope_->stop_requested()) {
    c.finish(thread, false);
    return;
  }
  thread.current = &*c.scope_;
  c.run = &run_ended;
  if (c.coroutine_ == nullptr)
    c.coroutine_ = c.make_coroutine();
  if (c.coroutine_ == nullptr || c.coroutine_->start(c, *c.scope_))
    c.finish(thread, true);
}

promise_base* child::make_coroutine() noexcept {
  return nullptr;
}

void child::run_ended(job& self, thread_state& thread) noexcept {
  static_cast<child&>(self).finish(thread, true);
}

void child::finish(thread_state& thread, bool started) noexcept {
  thread.current = nullptr; // whoever goes on sets it
  scope_->end_visit(thread);
  join& owner = *owner_;
  if (owner.child_ended(*this, settle(started), thread))
    owner.leave(thread);
}

job* join::left(std::uint64_t count) noexcept {
  // Acquire-release: the last one, and by it the parent, sees what all others have done.
  return pending_.fetch_sub(count, std::memory_order_acq_rel) == count ? complete() : nullptr;
}

void join::leave(thread_state& thread, std::uint64_t count) noexcept {
  scheduler& home = scope().home(); // afterwards it may be gone
  if (job* const resume = left(count))
    schedule_chained(home, thread, *resume);
}

bool join::record_failure(child& which, child_end how) noexcept {
  if (how == child_end::cancelled) {
    const child* none = nullptr;
    // Relaxed: read by the parent, which comes after every leave().
    return cancelled_child_.compare_exchange_strong(none, &which, std::memory_order_relaxed);
  }
  if (has_error_.exchange(true, std::memory_order_relaxed)) { // the same
    count_suppressed(scope().root().home());
    return false;
  }
  error_ = which.take_error();
  return true;
}

stop_reason join::reason_or(stop_cause own) const noexcept {
  return scope().stop_requested() ? scope().reason() : stop_reason(own);
}

void join::check_failures() {
  check();
  if (error_ != nullptr) {
    count_grouped(scope().root().home());
    std::rethrow_exception(std::move(error_));
  }
  // Relaxed: the parent comes after every leave().
  if (const child* const which = cancelled_child_.load(std::memory_order_relaxed))
    throw_cancelled_as(*which);
}

void join::throw_cancelled_as(const child& which) const {
  scope().check_stop();
  throw task_cancelled(which.reason());
}

bool fixed_join::launch(promise_base& parent) {
  require_startable();
  if (!prepare(parent.scope(), parent))
    return false;
  attach_children(parent.scope());
  return start_children();
}

void fixed_join::require_startable() const {
  for (const child* c = last_; c != nullptr; c = c->next)
    c->require_startable();
}

void fixed_join::attach_children(const task_scope& parent) noexcept {
  for (child* c = last_; c != nullptr; c = c->next)
    c->attach(*this, parent, parent.context());
  enter(count_);
}

bool fixed_join::start_children() noexcept {
  child* c = last_;
  if (c == nullptr) {
    retract();
    return false;
  }
  (void)commit(); // J4: nobody can complete it yet, so that it stays suspended
  thread_state& thread = this_thread();
  scheduler& home = scope().home();
  // The newest of a worker's own jobs is its next: so the last child goes first. Those that have
  // started may have ended, but none is gone before all have.
  for (; c->next != nullptr; c = c->next)
    schedule_fork(home, thread, *c);
  child::start(*c, thread);
  return true;
}

void fixed_join::begin(promise_base& parent, context_node* context) noexcept {
  task_scope& above = parent.scope();
  above.observe_stop();
  prepare_anyway(above, parent);
  for (child* c = last_; c != nullptr; c = c->next)
    c->attach(*this, above, context);
  enter(count_ + 1);
  (void)commit();
  if (above.stop_requested()) // before the wait was prepared
    stop_children(above.reason(), nullptr);
}

void fixed_join::schedule_children(thread_state& thread) noexcept {
  scheduler& home = scope().home();
  for (child* c = last_; c != nullptr; c = c->next)
    schedule_fork(home, thread, *c);
}

void fixed_join::stop_children(const stop_reason& reason, const child* except) noexcept {
  for (child* c = last_; c != nullptr; c = c->next) {
    if (c != except)
      (void)c->scope().request_stop(reason);
  }
}

bool fixed_join::forward_stop(suspension& self) noexcept {
  auto& owner = static_cast<fixed_join&>(self);
  owner.stop_children(owner.scope().reason(), nullptr);
  return false;
}

} // namespace weir::detail
