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

bool forked_tasks::enter_slow(thread_state& thread) {
  const bool here = may_run_here(thread);
  task_scope& scope = parent().stop_scope();
  scope.check_stop();
  context_ = scope.context();
  return here;
}

bool forked_tasks::push_all_slow(fork_stack& forks) noexcept {
  const std::size_t last = types_->count - 1;
  for (std::size_t index = last; index != 0; --index) {
    const auto run = fork_stack::coroutine(index);
    if (!forks.push(run, this) && !forks.push_coroutine_slow(run, this, index == last))
      return false;
  }
  return true;
}

void forked_tasks::build() noexcept {
  if (built())
    return;
  (void)parent().scope(); // its own from here on, as those of all above
  fixed_join& made = types_->build(*this);
  made.begin(parent(), context_);
  built_ = &made;
  unusual_ |= join_built;
}

void note_failed_fork(const promise_base& ended) noexcept {
  ended.forked_by->unusual_ |= forked_tasks::value_missing;
}

task_scope& make_scopes(promise_base& leaf) noexcept {
  promise_base* top = &leaf;
  while ((top->scope_bits & promise_base::forked_mark) == 0)
    top = static_cast<promise_base*>(top->continuation);
  forked_tasks& forks = *top->forked_by;
  forks.build();
  child& adopted = forks.types_->child_at(forks, forks.ended_); // only the one that runs has marks
  adopted.adopt(*top);
  task_scope& own = adopted.scope();
  // Q3
  context_node*& above = forks.parent().scope().context();
  const auto forgotten = context_ref::adopt(std::exchange(own.context(), above));
  above = context_ref::of(forks.context_).give_up();
  this_thread().current = &own;
  const auto bits = reinterpret_cast<std::uintptr_t>(&own);
  for (promise_base* p = &leaf; p != top; p = static_cast<promise_base*>(p->continuation))
    p->scope_bits = bits;
  top->scope_bits = bits;
  top->run = &promise_base::run_resume; // it may wait from now on
  return own;
}

void forked_tasks::publish(fork_slot& fork) noexcept {
  // Relaxed, all: the stack's word orders them.
  auto& forks = *static_cast<forked_tasks*>(fork.data.load(std::memory_order_relaxed));
  const auto index = fork_stack::number(fork.run.load(std::memory_order_relaxed));
  forks.build();
  child& which = forks.types_->child_at(forks, index);
  fork.data.store(reinterpret_cast<char*>(&which) + fork_stack::published_mark,
                  std::memory_order_relaxed);
  fork.run.store(&run_stolen, std::memory_order_relaxed);
}

void forked_tasks::run_stolen(void* data, thread_state& thread) noexcept {
  child::start(*reinterpret_cast<child*>(static_cast<char*>(data) - fork_stack::published_mark),
               thread);
}

void forked_tasks::rest(std::size_t index, bool ran) noexcept {
  thread_state& thread = this_thread();
  fork_stack& forks = *this_forks;
  auto how = ran ? fork_end::stolen : forks.pop_without_wait();
  for (;;) {
    if (how != fork_end::stolen) {
      if (how == fork_end::dropped)
        build();
      if (!built()) {
        ran = !types_->run(*this, index);
      } else {
        child& c = types_->child_at(*this, index);
        if (thread.fork_budget == 0) // unwinding
          schedule_fork(parent().scope().home(), thread, c);
        else
          child::start(c, thread);
        thread.current = &parent().scope();
      }
    }
    if (ran) {
      child& c = types_->child_at(*this, index);
      if (!c.adopted()) {
        c.ended_here(thread); // Q4
      } else if (thread.chain == &c) {
        // It had a scope, but has ended right here.
        thread.chain = nullptr;
        ++thread.chain_budget;
        c.ended_here(thread);
      }
      thread.current = &parent().scope();
    }
    if (++index == types_->count)
      return;
    ran = false;
    how = forks.pop() ? fork_end::untouched : forks.pop_without_wait();
  }
}

void forked_tasks::schedule_all() noexcept {
  thread_state& thread = this_thread();
  build();
  built_->schedule_children(thread);
  thread.current = &parent().scope();
}

bool forked_tasks::built_now() const noexcept {
  return built();
}

bool forked_tasks::leave() noexcept {
  return built_->left() == nullptr;
}

} // namespace weir::detail
