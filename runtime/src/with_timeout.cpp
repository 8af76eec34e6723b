// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/with_timeout.hpp>

namespace weir::detail {

deadline_join::~deadline_join() = default;

bool deadline_join::launch_until(promise_base& parent, child& only,
                                 clock_source::time_point deadline) {
  require_startable();
  if (!prepare(parent.scope(), parent))
    return false;
  only_ = &only;
  attach_children(parent.scope());
  scheduler& home = parent.scope().home();
  if (deadline <= now_of(home)) {
    (void)only.scope().request_stop(stop_cause::timed_out);
  } else {
    enter(1);
    armed_ = true;
    arm(home, this_thread(), deadline);
  }
  return start_children();
}

bool deadline_join::child_ended(child&, child_end how, thread_state& thread) noexcept {
  how_ = how;
  if (armed_ && cancel())
    leave(thread);
  return true;
}

job* deadline_join::fire(timer& self, thread_state&) noexcept {
  return &static_cast<deadline_join&>(self);
}

void deadline_join::run_timed_out(job& self, thread_state& thread) noexcept {
  auto& join = static_cast<deadline_join&>(self);
  // Calls stop callbacks of the user.
  (void)join.only_->scope().request_stop(stop_cause::timed_out);
  join.leave(thread);
}

void deadline_join::check_time() {
  check();
  if (how_ != child_end::cancelled)
    return;
  scope().check_stop();
  if (only_->scope().stop_requested() && only_->scope().reason().cause() == stop_cause::timed_out)
    throw_error(errc::timed_out, "the time limit has passed and what was awaited was stopped");
}

} // namespace weir::detail
