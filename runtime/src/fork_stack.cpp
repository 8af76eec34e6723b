// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/detail/fork_loop.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/forked_tasks.hpp>
#include <weir/error.hpp>

#include <algorithm>

namespace weir::detail {

namespace {

// What threads without forks have. Only its constants are read, so that they may share it.
constinit fork_stack no_forks;

constexpr auto relaxed = std::memory_order_relaxed;

} // namespace

constinit thread_local fork_stack* this_forks = &no_forks;

fork_stack::fork_stack(scheduler& home)
    : home_(&home), slots_(std::make_unique<fork_slot[]>(capacity + reserve)) {
  top_ = bottom_ = slots_.get();
  floor_.store(bottom_, relaxed); // nobody knows of it yet
}

fork_stack::~fork_stack() = default;

void fork_stack::attach(thread_state& thread) noexcept {
  thread_ = &thread;
  before_ = std::exchange(this_forks, this);
  native_top_ = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

void fork_stack::detach() noexcept {
  this_forks = before_;
  thread_ = nullptr;
}

bool fork_stack::stop_requested() const noexcept {
  const task_scope* const task = running_task(*thread_);
  return task != nullptr && task->stop_requested();
}

void require_forks() {
  if (this_forks->home() == nullptr)
    throw_error(errc::not_on_worker,
                "forks need a runtime: this thread is no worker; give the runtime as the first "
                "argument, and the calling thread takes part");
}

fork_start fork_stack::push_slow(fork_slot::run_function run, void* data) {
  require_forks();
  if (stop_requested())
    return fork_start::stopped;
  if (slots_ == nullptr || top_ >= bottom_ + capacity)
    return fork_start::full;
  push_public(run, data);
  return fork_start::forked;
}

bool fork_stack::push_coroutine_slow(fork_slot::run_function run, void* data, bool first) noexcept {
  if (slots_ == nullptr || (first && top_ >= bottom_ + capacity))
    return false;
  push_public(run, data);
  return true;
}

fork_start fork_stack::push_piece(fork_loop& loop, loop_piece piece) noexcept {
  if (stop_requested())
    return fork_start::stopped;
  if (slots_ == nullptr || top_ >= bottom_ + capacity)
    return fork_start::full;
  top_->first.store(piece.first, relaxed);
  top_->last.store(piece.last, relaxed);
  push_public(nullptr, &loop);
  return fork_start::forked;
}

void fork_stack::push_public(fork_slot::run_function run, void* data) noexcept {
  fill(*top_, run, data);
  ++top_;
  publish();
}

void fork_stack::publish() noexcept {
  auto seen = word_.load(relaxed); // only thieves write it otherwise, and they write no data
  thread_state& thread = *thread_;
  const std::size_t count = index(top_);
  // The oldest first: scopes are made from there down, and change which one is the running task's.
  for (std::size_t i = split(seen); i < count; ++i) {
    if (is_unpublished_coroutine(slots_[i].run.load(relaxed)))
      forked_tasks::publish(slots_[i]);
  }
  task_scope* const task = running_task(thread);
  if (task != nullptr)
    task->observe_stop();
  context_node* const context = current_context(thread);
  for (std::size_t i = split(seen); i < count; ++i) {
    fork_slot& slot = slots_[i];
    if (is_published_coroutine(slot.data.load(relaxed)))
      continue;
    slot.scope.store(task, relaxed);
    slot.context.store(context, relaxed);
    slot.progress.thief.store(nullptr, relaxed);
    slot.progress.state.store(fork_progress::pending, relaxed);
  }
  const auto fresh = count - split(seen);
  // Seq_cst: a release of the slots and of what they point to, for the acquire in steal; and W1's
  // "write mine". Relaxed on failure: a thief has raised the tail.
  while (!word_.compare_exchange_weak(seen, changed(seen, tail(seen), count),
                                      std::memory_order_seq_cst, relaxed)) {
  }
  bump(published_, fresh);
  // While workers are idle, a few forks beyond the first are published at once: the owner may be
  // about to do something long. A few for each region and each theft, so that forks which nobody
  // takes stay cheap.
  if (split(seen) == 0 || tail(seen) != last_tail_)
    extra_ = home_->idle_workers(thread);
  else if (extra_ != 0)
    --extra_;
  last_tail_ = tail(seen);
  set_hints();
  home_->wake_for_forks(thread);
}

void fork_stack::set_hints() noexcept {
  const auto seen = word_.load(relaxed);
  // Seq_cst, all four: pair with steal and poison. Either the thief's hints come later in the order
  // of these two words, or its exchange is seen by the second look; so F3 survives the thief that
  // takes the last fork meanwhile.
  floor_.store(bottom_ + split(seen), std::memory_order_seq_cst);
  guard_.store(extra_ > 1 ? nullptr : bottom_ + capacity, std::memory_order_seq_cst);
  const auto now = word_.load(std::memory_order_seq_cst);
  if (tail(now) == split(now) || stop_requested())
    poison();
}

void fork_stack::publish_rest() noexcept {
  if (split(word_.load(relaxed)) < index(top_)) // only this thread changes it
    publish();
}

void fork_stack::pin_rest() noexcept {
  publish_rest();
  pinned_ = index(top_);
}

fork_end fork_stack::take_back() noexcept {
  fork_slot& slot = *top_;
  const std::size_t at = index(&slot);
  auto seen = word_.load(relaxed);
  if (at >= split(seen)) {
    // It is private: thieves have asked for more, or stop was requested.
    if (stop_requested())
      return fork_end::dropped;
    if (at > split(seen))
      publish();
    else if (tail(seen) < split(seen))
      set_hints();
    else
      floor_.store(&slot, relaxed); // nothing is left that a thief could ask for
    return fork_end::untouched;
  }
  while (tail(seen) <= at) {
    // Half of what is public comes back, this one with it; the oldest stays public.
    const std::size_t keep =
        std::max(tail(seen) + (at - tail(seen) + 1) / 2, std::min(at, pinned_));
    // Acquire-release: goes on with the release sequence that thieves acquire. On failure a thief
    // has raised the tail.
    if (!word_.compare_exchange_weak(seen, changed(seen, tail(seen), keep),
                                     std::memory_order_acq_rel, relaxed))
      continue;
    pinned_ = std::min(pinned_, at);
    if (keep != tail(seen)) {
      set_hints();
    } else {
      // Relaxed: with nothing public there is no thief to race.
      floor_.store(bottom_ + keep, relaxed);
      guard_.store(nullptr, relaxed);
    }
    return stop_requested() ? fork_end::dropped : fork_end::untouched;
  }
  return fork_end::stolen;
}

void fork_stack::forget_stolen() noexcept {
  const std::size_t at = index(top_);
  pinned_ = std::min(pinned_, at);
  // Release: with nothing public no thief changes it; the next publication goes on from here.
  word_.store(changed(word_.load(relaxed), at, at), std::memory_order_release);
  floor_.store(top_, relaxed); // as above
  guard_.store(nullptr, relaxed);
}

fork_end fork_stack::pop_slow() noexcept {
  const fork_end how = take_back();
  if (how != fork_end::stolen)
    return how;
  fork_slot& slot = *top_++; // kept meanwhile: the thief writes to it
  const auto outcome = wait(slot.progress, may_help());
  --top_;
  forget_stolen();
  return outcome == fork_progress::dropped ? fork_end::dropped : fork_end::stolen;
}

fork_end fork_stack::pop_without_wait() noexcept {
  const fork_end how = take_back();
  if (how == fork_end::stolen)
    forget_stolen();
  return how;
}

fork_end fork_stack::pop_piece(loop_piece& piece) noexcept {
  const fork_slot& slot = *(top_ - 1);
  piece = {slot.first.load(relaxed), slot.last.load(relaxed)};
  return pop() ? fork_end::untouched : pop_without_wait();
}

bool fork_stack::take_rest(stolen_fork& taken) noexcept {
  while (top_ != bottom_) {
    fork_slot& slot = *(top_ - 1);
    taken = {nullptr,
             slot.data.load(relaxed),
             slot.scope.load(relaxed),
             slot.context.load(relaxed),
             &slot,
             {}};
    // No task runs here of which somebody could have requested stop.
    if (pop_piece(taken.piece) != fork_end::stolen)
      return true;
  }
  return false;
}

bool fork_stack::steal(stolen_fork& taken) noexcept {
  // Acquire: pairs with publish.
  auto seen = word_.load(std::memory_order_acquire);
  while (tail(seen) < split(seen)) {
    fork_slot& slot = slots_[tail(seen)];
    taken = {slot.run.load(relaxed),
             slot.data.load(relaxed),
             slot.scope.load(relaxed),
             slot.context.load(relaxed),
             &slot,
             {slot.first.load(relaxed), slot.last.load(relaxed)}};
    // Seq_cst: F2; a release, so that the slot was read before; pairs with set_hints.
    if (!word_.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst,
                                     std::memory_order_acquire))
      continue;
    if (tail(seen) + 1 == split(seen))
      poison(); // F3
    return true;
  }
  return false;
}

void fork_progress::end(std::uint32_t outcome) noexcept {
  // Acquire-release: pairs with the owner's load and exchange in wait; the results are seen.
  if (state.exchange(outcome, std::memory_order_acq_rel) == waited_for)
    sync::futex_wake_one(state);
}

void fork_progress::call_for_help() noexcept {
  std::uint32_t seen = waited_for;
  // Seq_cst, also on failure: comes after the publication of what may be helped with, and pairs
  // with park, which says that it waits and then looks for that.
  if (state.compare_exchange_strong(seen, pending, std::memory_order_seq_cst))
    sync::futex_wake_one(state);
}

void stolen_fork::execute(thread_state& thread, fork_stack& thief, worker* on) const noexcept {
  if (fork_stack::is_published_coroutine(data)) {
    run(data, thread);
    return;
  }
  auto* const loop = static_cast<fork_loop*>(data); // if `run` is null
  fork_progress& progress = run == nullptr ? loop->progress() : slot->progress;
  // Release: pairs with help, so that a stack which was made meanwhile is seen as it is.
  progress.thief.store(&thief, std::memory_order_release);
  std::uint32_t outcome = fork_progress::dropped;
  std::size_t share = piece.size();
  if (scope == nullptr || !scope->stop_requested()) {
    const auto scope_before = std::exchange(thread.fork_scope, scope);
    const auto ambient_before = std::exchange(thread.ambient, context);
    if (run == nullptr)
      share = loop->run_stolen(thief, piece, on);
    else
      run(data, thread);
    thread.ambient = ambient_before;
    thread.fork_scope = scope_before;
    outcome = fork_progress::done;
  }
  // The slot outlives the fork, as the owner's runtime does; what `data` points to does not.
  if (run == nullptr)
    loop->let_go(share, outcome);
  else
    progress.end(outcome);
}

bool fork_stack::may_help() const noexcept {
  // Helping nests on the native stack, and leaves half of it.
  if (thread_->stack_limit == UINTPTR_MAX)
    learn_stack_limit(*thread_);
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  return thread_->stack_bottom != 0 &&
         native_top_ - here <= (native_top_ - thread_->stack_bottom) / 2;
}

bool fork_stack::help(const fork_progress& progress, thread_state& thread) noexcept {
  stolen_fork taken;
  // First the thief itself: what it has forked is part of what is waited for.
  fork_stack* const thief = progress.thief.load(std::memory_order_acquire); // pairs with execute
  if ((thief == nullptr || !thief->steal(taken)) && !home_->steal_fork(*this, next_victim_, taken))
    return false;
  bump(stolen_);
  // What runs now belongs to another task.
  const auto current = std::exchange(thread.current, nullptr);
  const auto fork_scope = std::exchange(thread.fork_scope, nullptr);
  const auto budget = std::exchange(thread.chain_budget, 0U);
  const auto call_top = std::exchange(thread.call_top, nullptr);
  taken.execute(thread, *this);
  thread.call_top = call_top;
  thread.chain_budget = budget;
  thread.fork_scope = fork_scope;
  thread.current = current;
  return true;
}

std::uint32_t fork_stack::wait(fork_progress& progress, bool helps) noexcept {
  thread_state& thread = *thread_;
  if (job* const chained = std::exchange(thread.chain, nullptr))
    schedule(*thread.home, thread, *chained); // others may run it meanwhile
  // Everything up to here has been stolen.
  floor_.store(top_, relaxed);
  guard_.store(nullptr, relaxed);
  const auto spin = home_->options().spin;
  std::optional<sync::time_point> until;
  for (;;) {
    // Acquire: pairs with the exchange in fork_progress::end.
    const auto seen = progress.state.load(std::memory_order_acquire);
    if (seen != fork_progress::pending)
      return seen;
    if (helps && help(progress, thread)) {
      until.reset();
      continue;
    }
    for (int i = 0; i < 32 && progress.state.load(relaxed) == fork_progress::pending; ++i)
      sync::relax();
    if (spin.count() != 0 && !until) {
      until = sync::now() + spin;
    } else if (spin.count() == 0 || sync::now() >= *until) {
      park(progress, thread, helps);
      until.reset();
    }
  }
}

void fork_stack::park(fork_progress& progress, thread_state& thread, bool helps) noexcept {
  std::uint32_t seen = fork_progress::pending;
  // Seq_cst: pairs with the exchange in fork_progress::end, which either sees this and wakes, or
  // came before; and with call_for_help.
  if (!progress.state.compare_exchange_strong(seen, fork_progress::waited_for,
                                              std::memory_order_seq_cst))
    return;
  // This thread has none itself: its own have all been stolen.
  if (helps && home_->has_public_fork()) {
    seen = fork_progress::waited_for;
    // Relaxed: the next look at the state decides.
    (void)progress.state.compare_exchange_strong(seen, fork_progress::pending, relaxed);
    return;
  }
  // Another worker stands in, so that neither tasks nor forks wait for this thread's return. Also
  // if it is a guest here: then for its own runtime.
  worker* const self = thread.self;
  if (self != nullptr)
    self->enter_blocking();
  // Acquire: as in wait.
  while (progress.state.load(std::memory_order_acquire) == fork_progress::waited_for)
    sync::futex_wait(progress.state, fork_progress::waited_for);
  if (self != nullptr)
    self->leave_blocking();
}

fork_guest::fork_guest(scheduler& home) {
  if (this_forks->home() == &home)
    return;
  thread_state& thread = this_thread();
  home.enter_guest(thread);
  try {
    forks_ = home.guests().lend(home);
    if (forks_ == nullptr) {
      unlisted_ = std::make_unique<fork_stack>(home, fork_stack::without_slots{});
      forks_ = unlisted_.get();
    }
  } catch (...) {
    home.leave_guest(thread);
    throw;
  }
  home_ = &home;
  // This thread may run forks of other tasks before it comes back to those below.
  this_forks->pin_all();
  forks_->attach(thread);
}

fork_guest::~fork_guest() {
  if (home_ == nullptr)
    return;
  forks_->detach();
  if (unlisted_ == nullptr)
    home_->guests().give_back(*forks_);
  home_->leave_guest(this_thread());
}

bool is_fork_guest(const scheduler& home) noexcept {
  const fork_stack* at = this_forks;
  while (at != nullptr && at->home() != &home)
    at = at->before();
  return at != nullptr;
}

void throw_fork_cancelled() {
  running_task(this_thread())->throw_cancelled();
}

void suppress_fork_error() noexcept {
  suppress_fork_error(std::current_exception());
}

void suppress_fork_error(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const task_cancelled&) {
    return;
  } catch (...) {
    count_suppressed(*this_forks->home());
  }
}

} // namespace weir::detail
