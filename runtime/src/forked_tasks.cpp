// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <weir/detail/forked_tasks.hpp>

namespace weir::detail {

bool forked_tasks::may_run_here(thread_state& thread) noexcept {
  if (thread.fork_budget < forbidden)
    return false; // the native stack is used up
  thread.fork_budget = 0;
  // On a worker there is something to unwind for only if something else waits.
  if (thread.self == nullptr || thread.self->others_wait())
    return false;
  thread.fork_budget = worker::fork_budget;
  return true;
}

child& forked_tasks::child_of(const promise_base& which) noexcept {
  std::size_t i = 0;
  while (types_->promise_at(*this, i) != &which)
    ++i;
  return types_->child_at(*this, i);
}

void forked_tasks::build() noexcept {
  if (built_ != nullptr)
    return;
  (void)parent_->scope(); // its own from here on, as those of all above
  fixed_join& made = types_->build(*this);
  made.begin(*parent_, context_);
  built_ = &made;
}

task_scope& make_scopes(promise_base& leaf) noexcept {
  promise_base* top = &leaf;
  while (forked_tasks::marked(top->continuation) == nullptr)
    top = static_cast<promise_base*>(top->continuation);
  forked_tasks& forks = *forked_tasks::marked(top->continuation);
  forks.build();
  child& adopted = forks.child_of(*top);
  adopted.adopt(*top);
  task_scope& own = adopted.scope();
  // Q3
  context_node*& above = forks.parent_->scope().context();
  const auto forgotten = context_ref::adopt(std::exchange(own.context(), above));
  above = context_ref::of(forks.context_).give_up();
  this_thread().current = &own;
  const auto bits = reinterpret_cast<std::uintptr_t>(&own);
  for (promise_base* p = &leaf; p != top; p = static_cast<promise_base*>(p->continuation))
    p->scope_bits = bits;
  top->scope_bits = bits;
  return own;
}

void* forked_tasks::publish(void* data) noexcept {
  auto& which = *reinterpret_cast<promise_base*>(static_cast<char*>(data) - 1);
  forked_tasks& forks = *marked(which.continuation);
  forks.build();
  return reinterpret_cast<char*>(&forks.child_of(which)) + fork_stack::published_mark;
}

void forked_tasks::run_stolen(void* data, thread_state& thread) noexcept {
  child::start(*reinterpret_cast<child*>(static_cast<char*>(data) - fork_stack::published_mark),
               thread);
}

void forked_tasks::rest(thread_state& thread, std::size_t index, bool ran) noexcept {
  fork_stack& forks = *this_forks;
  auto how = ran ? fork_end::stolen : forks.pop_coroutine_slow();
  for (;;) {
    if (how != fork_end::stolen) {
      if (how == fork_end::dropped)
        build();
      if (built_ == nullptr) {
        ran = true;
        if (run(thread, *types_->promise_at(*this, index))) {
          types_->forget(*this, index);
          ran = false;
        }
      } else {
        child& c = types_->child_at(*this, index);
        if (thread.fork_budget == 0) // unwinding
          schedule_fork(parent_->scope().home(), thread, c);
        else
          child::start(c, thread);
        thread.current = &parent_->scope();
      }
    }
    if (ran) {
      if (thread.call_top == nullptr) {
        types_->forget(*this, index);
        types_->child_at(*this, index).ended_here(thread); // Q4
      }
      thread.current = &parent_->scope();
    }
    if (++index == types_->count)
      return;
    ran = false;
    how = forks.pop() ? fork_end::untouched : forks.pop_coroutine_slow();
  }
}

void forked_tasks::schedule_all(thread_state& thread) noexcept {
  build();
  built_->schedule_children(thread);
  thread.current = &parent_->scope();
}

bool forked_tasks::leave() noexcept {
  return built_->left() == nullptr;
}

} // namespace weir::detail
