// SPDX-License-Identifier: MIT
#include <weir/detail/task_block.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/error.hpp>

namespace weir::detail {

namespace {

std::uintptr_t word_of(const suspension& s, std::uintptr_t state) noexcept {
  static_assert(alignof(suspension) >= 8, "the low bits hold the state");
  return reinterpret_cast<std::uintptr_t>(&s) | state;
}

} // namespace

bool suspension::prepare(task_scope& scope, job& resume) noexcept {
  scope.observe_stop();
  prepare_anyway(scope, resume);
  // C3. The source does not know of this wait yet, so that a canceller can only have marked it.
  if (!scope.stop_requested())
    return true;
  retract();
  withdraw_ = nullptr;
  return false;
}

void suspension::prepare_anyway(task_scope& scope, job& resume) noexcept {
  scope_ = &scope;
  resume_ = &resume;
  // Seq_cst: C3, pairs with cancel_wait.
  scope.wait_.store(word_of(*this, task_scope::preparing), std::memory_order_seq_cst);
}

bool suspension::commit() noexcept {
  auto& word = scope_->wait_;
  auto seen = word_of(*this, task_scope::preparing);
  // Release: pairs with the acquires in complete and cancel_wait, which go on with the coroutine.
  // Acquire: pairs with their releases when they came first; what they left is used now.
  while (!word.compare_exchange_strong(seen, word_of(*this, task_scope::suspended),
                                       std::memory_order_acq_rel, std::memory_order_acquire)) {
    if (seen == word_of(*this, task_scope::completed)) {
      word.store(0, std::memory_order_relaxed); // nobody else knows of this wait any more
      return false;
    }
    // Stop was requested: it is this coroutine's own business to withdraw.
    if (withdraw_(*this)) {
      word.store(0, std::memory_order_relaxed);
      withdraw_ = nullptr;
      return false;
    }
  }
  return true;
}

void suspension::retract() noexcept {
  scope_->wait_.store(0, std::memory_order_relaxed); // only read by this coroutine's canceller
}

job* suspension::complete() noexcept {
  auto& word = scope_->wait_;
  // Acquire: pairs with the releases in commit and cancel_wait.
  auto seen = word.load(std::memory_order_acquire);
  for (;;) {
    job* const resume = resume_;
    const auto state = seen & task_scope::state_mask;
    const auto wanted = state == task_scope::suspended    ? 0
                        : state == task_scope::cancelling ? task_scope::cancelling_completed
                                                          : task_scope::completed;
    const auto next = wanted == 0 ? 0 : word_of(*this, wanted);
    // Release: pairs with the acquires in commit and cancel_wait, for the source's result.
    if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                   std::memory_order_acquire))
      return wanted == 0 ? resume : nullptr;
  }
}

void suspension::complete_and_schedule(thread_state& thread) noexcept {
  scheduler& home = scope_->home();
  if (job* const resume = complete())
    schedule(home, thread, *resume);
}

void suspension::throw_cancelled() const {
  scope_->throw_cancelled();
}

task_scope::~task_scope() {
  (void)context_ref::adopt(context_);
  // Acquire: pairs with request_stop.
  if (const auto* reason = reason_.load(std::memory_order_acquire))
    (void)stop_reason::adopt(reason);
}

task_scope::claim task_scope::claim_start(bool on_worker) noexcept {
  auto seen = not_started;
  // Acquire-release: C0, pairs with cancel_wait and leave_in_queue.
  while (!wait_.compare_exchange_strong(seen, seen == not_started ? 0 : dropping_taken,
                                        std::memory_order_acq_rel, std::memory_order_acquire)) {
    while (seen == dropping && !on_worker) {
      sync::yield_thread();
      seen = wait_.load(std::memory_order_acquire);
    }
    if (seen == dropped)
      return claim::cancelled;
  }
  return seen == not_started ? claim::started : claim::being_cancelled;
}

bool task_scope::leave_in_queue() noexcept {
  auto seen = dropping;
  // Acquire-release: pairs with claim_start.
  return wait_.compare_exchange_strong(seen, dropped, std::memory_order_acq_rel,
                                       std::memory_order_acquire);
}

void task_scope::observe_stop() noexcept {
  if (is_child() || observed_)
    return;
  observed_ = true;
  root().announce_live();
}

inplace_stop_token task_scope::token() noexcept {
  observe_stop();
  return stop_.get_token();
}

stop_reason task_scope::reason() const noexcept {
  // Acquire: pairs with request_stop.
  const auto* shared = reason_.load(std::memory_order_acquire);
  if (shared == nullptr)
    return {};
  // A copy of the share that the scope keeps.
  stop_reason kept = stop_reason::adopt(shared);
  stop_reason copy = kept;
  (void)std::move(kept).give_up();
  return copy;
}

bool task_scope::request_stop(stop_reason reason) noexcept {
  const auto* wanted = std::move(reason).give_up();
  const stop_reason::representation* seen = nullptr;
  // Release: pairs with the acquire in reason(). The reason stands before the request is seen.
  const bool first = reason_.compare_exchange_strong(seen, wanted, std::memory_order_acq_rel,
                                                     std::memory_order_relaxed);
  if (!first)
    (void)stop_reason::adopt(wanted);
  // Whoever comes second also waits until stop has been requested.
  if (stop_.request_stop())
    cancel_wait();
  return first;
}

bool task_scope::stop_unstarted(stop_reason reason) noexcept {
  auto seen = not_started;
  // Acquire-release: C0, pairs with claim_start, and with cancel_wait of a request at this moment.
  if (!wait_.compare_exchange_strong(seen, dropping, std::memory_order_acq_rel,
                                     std::memory_order_relaxed))
    return false;
  const auto* wanted = std::move(reason).give_up();
  const stop_reason::representation* none = nullptr;
  if (!reason_.compare_exchange_strong(none, wanted, std::memory_order_acq_rel, // see request_stop
                                       std::memory_order_relaxed))
    (void)stop_reason::adopt(wanted);
  (void)stop_.request_stop();
  root().end_unstarted();
  return true;
}

void task_scope::cancel_wait() noexcept {
  // Seq_cst: C3, after the request; pairs with prepare_anyway.
  auto seen = wait_.load(std::memory_order_seq_cst);
  for (;;) {
    if (seen == 0) {
      poison_forks(); // it may be running, on a worker or guest of any runtime, or have ended
      return;
    }
    if (seen == not_started) {
      // Acquire-release: C0, pairs with claim_start.
      if (wait_.compare_exchange_weak(seen, dropping, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
        root().end_unstarted();
        return;
      }
      continue;
    }
    const auto state = seen & state_mask;
    if (state == completed || state == dropping) // the latter by stop_unstarted
      return;
    const auto pointer = seen & ~state_mask;
    const auto next = pointer | (state == preparing ? preparing_stop : cancelling);
    // Acquire: pairs with the release in commit; the suspension's fields are read. Release: the
    // coroutine that finds the mark sees the request.
    if (!wait_.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                     std::memory_order_acquire))
      continue;
    if (state == suspended)
      withdraw(*reinterpret_cast<suspension*>(pointer));
    return;
  }
}

void task_scope::withdraw(suspension& waiting) noexcept {
  // The coroutine cannot go on before this is through (C4), so that `waiting` stays.
  job& resume = *waiting.resume_;
  scheduler& home = *home_;
  if (waiting.withdraw_(waiting)) {
    waiting.withdraw_ = nullptr;
    // Nobody else knows of this wait any more; scheduling hands everything over.
    wait_.store(0, std::memory_order_relaxed);
    schedule(home, this_thread(), resume);
    return;
  }
  auto seen = word_of(waiting, cancelling);
  // Release: pairs with complete. Acquire on failure: pairs with its release.
  if (wait_.compare_exchange_strong(seen, word_of(waiting, suspended), std::memory_order_acq_rel,
                                    std::memory_order_acquire))
    return;
  wait_.store(0, std::memory_order_relaxed); // completed meanwhile
  schedule(home, this_thread(), resume);
}

void task_scope::throw_cancelled() const {
  throw task_cancelled(reason());
}

} // namespace weir::detail
