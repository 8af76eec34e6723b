// SPDX-License-Identifier: MIT
// A task that has moved to a runtime other than that of its root task visits it: it is counted
// there as accepted when it comes and as ended when it leaves (S1), so that the visited runtime
// cannot end before. The root task itself stays counted at home, where it is completed.
#include <weir/resume_on.hpp>

#include <new>

namespace weir::detail {

bool resume_on_awaiter::move(promise_base& self) {
  task_scope& scope = self.scope();
  scope.check_stop();
  if (target_ == &scope.home())
    return false;
  moved_ = &self;
  thread_state& thread = this_thread();
  scheduler& target = *target_;
  if (&target == &scope.root().home()) {
    scope.end_visit(thread);
    schedule(target, thread, *this);
    return true;
  }
  submission_entry entry(target);
  scope.end_visit(thread);
  for (;;) {
    try {
      // From here on the coroutine may be running there, and this awaiter be gone.
      entry.submit(static_cast<job&>(*this));
      return true;
    } catch (const std::bad_alloc&) {
      sync::yield_thread(); // it has left already: wait for memory
    }
  }
}

void resume_on_awaiter::run_moved(job& self, thread_state& thread) noexcept {
  auto& awaiter = static_cast<resume_on_awaiter&>(self);
  promise_base& moved = *awaiter.moved_;
  task_scope& scope = moved.scope();
  scope.set_home(*awaiter.target_);
  if (awaiter.target_ != &scope.root().home())
    scope.begin_visit();
  promise_base::run_resume(moved, thread);
}

} // namespace weir::detail
