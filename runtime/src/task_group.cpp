// SPDX-License-Identifier: MIT
#include "scheduler.hpp"
#include "worker.hpp"

#include <weir/task_group.hpp>

#include <memory>
#include <mutex>
#include <utility>

namespace weir {

using detail::child_end;
using detail::group_child;

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

} // namespace

detail::group_child::~group_child() = default;

task_group::~task_group() {
  destroy(first_);
}

bool task_group::open(detail::promise_base& parent) noexcept {
  return prepare(parent.scope(), parent);
}

void task_group::run(detail::child& body) noexcept {
  body_ = &body;
  body.attach(*this, scope(), scope().context());
  enter(body_share);
  (void)commit(); // nobody can complete it yet, so that it stays suspended
  detail::child::start(body, detail::this_thread());
}

void task_group::start(group_child* fresh) {
  std::unique_ptr<group_child> owned(fresh);
  require_open();
  owned->require_startable();
  owned->attach(*this, scope(), detail::current_context(detail::this_thread()));
  detail::child* ended = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (!stopped_) {
      if (body_ended_)
        enter(1);
      // Relaxed, as all of these two: the mutex orders them, and else they are hints.
      started_.store(started_.load(relaxed) + 1, relaxed);
      listed_.store(listed_.load(relaxed) + 1, relaxed);
      fresh->next = first_;
      if (looks_at_ == &first_)
        looks_at_ = &fresh->next;
      first_ = owned.release();
      if (waiting_blocks() >= some_wait)
        ended = collect_ended(few);
    }
  }
  if (owned == nullptr)
    detail::schedule_fork(scope().home(), detail::this_thread(), *fresh);
  destroy(ended);
}

void task_group::require_open() const {
  if (body_ == nullptr)
    detail::throw_error(errc::no_state, "a task group can be used only once its body runs: let the "
                                        "body be a coroutine, which starts with the group");
}

bool task_group::request_stop(const stop_reason& reason) {
  require_open();
  return stop_children(reason);
}

bool task_group::stop_children(const stop_reason& reason) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (stopped_)
      return false;
    stopped_ = true;
  }
  // From here on nothing is entered, and what is there stays: the group lives as long as the caller
  // is one of it or withdraws it (J2, J3).
  (void)body_->scope().request_stop(reason);
  for (detail::child* c = first_; c != nullptr; c = c->next) {
    if (!static_cast<group_child*>(c)->ended_.load(relaxed)) // a hint: not needed of those
      (void)c->scope().request_stop(reason);
  }
  return true;
}

bool task_group::stop_requested() const noexcept {
  const std::scoped_lock lock(mutex_);
  return stopped_;
}

std::size_t task_group::size() const noexcept {
  if (body_ == nullptr)
    return 0;
  const detail::crew& workers = scope().home().workers();
  // Looked at in this order nobody is counted as ended twice, or before it has been started. Again,
  // but not for ever, if some were handed in meanwhile, which may not have been seen at either
  // place.
  for (int attempt = 1;; ++attempt) {
    // Acquire, as the one below: pairs with hand_in. Who has seen those as handed in sees that they
    // are not on the worker any more; who has seen them gone sees them as handed in below.
    const auto handed_in = ended_.load(std::memory_order_acquire);
    auto ended = handed_in;
    for (std::size_t i = 0; i < workers.slots(); ++i)
      ended += workers.at(i).group_ends().count_of(*this);
    const bool same = ended_.load(std::memory_order_acquire) == handed_in;
    if (same || attempt == 4) {
      const std::scoped_lock lock(mutex_);
      return static_cast<std::size_t>(started_.load(relaxed) - ended);
    }
  }
}

std::uint64_t task_group::waiting_blocks() const noexcept {
  const auto live = started_.load(relaxed) - ended_.load(relaxed);
  const auto listed = listed_.load(relaxed);
  return listed > live ? listed - live : 0;
}

void task_group::collect_if_many() noexcept {
  const auto waiting = waiting_blocks();
  if (waiting < many_wait || waiting < listed_.load(relaxed) / 2)
    return;
  detail::child* ended = nullptr;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock && !stopped_)
      ended = collect_ended(more);
  }
  destroy(ended);
}

detail::child* task_group::collect_ended(std::uint64_t looked_at) noexcept {
  detail::child* unused = nullptr;
  auto listed = listed_.load(relaxed);
  for (; looked_at != 0 && listed != 0; --looked_at) {
    if (*looks_at_ == nullptr)
      looks_at_ = &first_;
    auto& c = static_cast<group_child&>(**looks_at_);
    // Acquire: pairs with child_ended, which is done with it.
    if (c.ended_.load(std::memory_order_acquire)) {
      *looks_at_ = c.next;
      c.next = std::exchange(unused, &c);
      --listed;
    } else {
      looks_at_ = &c.next;
    }
  }
  listed_.store(listed, relaxed);
  return unused;
}

void task_group::destroy(detail::child* ended) noexcept {
  while (ended != nullptr)
    delete std::exchange(ended, ended->next);
}

bool task_group::child_ended(detail::child& which, child_end how,
                             detail::thread_state& thread) noexcept {
  const bool is_body = &which == body_;
  const bool failed = how == child_end::failed || (is_body && how == child_end::cancelled);
  if (failed && record_failure(which, how) && stops_others_)
    (void)stop_children(reason_or(stop_cause::sibling_failed));
  if (is_body) {
    body_ended();
    return true;
  }
  auto& c = static_cast<group_child&>(which);
  if (how == child_end::failed)
    (void)c.take_error(); // if it was not the first
  (void)detail::context_ref::adopt(std::exchange(c.scope().context(), nullptr));
  // Release: pairs with collect_ended. From here on `c` may be gone.
  c.ended_.store(true, std::memory_order_release);
  // A coroutine may have moved to another runtime.
  if (thread.home != &scope().home()) {
    ended_.fetch_add(1, std::memory_order_release); // as in hand_in
    return true;
  }
  detail::ended_children& here = thread.self->group_ends();
  // At once if few others are left, so that the parent goes on next.
  const auto count = here.add(*this, thread);
  if (count == many_ended || pending() <= count + few_left)
    here.hand_in(thread);
  return false;
}

void task_group::body_ended() noexcept {
  std::uint64_t started = 0;
  {
    const std::scoped_lock lock(mutex_);
    body_ended_ = true;
    started = started_.load(relaxed);
  }
  retract_entry(body_share - 1 - started);
}

bool task_group::forward_stop(detail::suspension& self) noexcept {
  auto& group = static_cast<task_group&>(self);
  (void)group.stop_children(group.scope().reason());
  return false;
}

void task_group::check_ended() {
  check_failures();
  scope().check_stop();
}

std::uint32_t detail::ended_children::add(task_group& group, thread_state& thread) noexcept {
  if (group_.load(relaxed) != &group) { // own writing, as count_ below
    hand_in(thread);
    // Release: pairs with count_of, which then sees no older group's count.
    group_.store(&group, std::memory_order_release);
  }
  const auto count = count_.load(relaxed) + 1;
  count_.store(count, std::memory_order_release); // the same
  return count;
}

void detail::ended_children::hand_in_all(thread_state& thread) noexcept {
  task_group& group = *group_.load(relaxed); // own writing, as the others
  const auto count = count_.load(relaxed);
  const auto version = version_.load(relaxed);
  version_.store(version + 1, relaxed); // ordered by what follows
  // Release: pairs with task_group::size, which then sees that they are moving, or gone from here.
  group.ended_.fetch_add(count, std::memory_order_release);
  // Release: pairs with count_of; whoever sees them gone sees them handed in, and the odd version.
  count_.store(0, std::memory_order_release);
  group_.store(nullptr, std::memory_order_release);
  version_.store(version + 2, std::memory_order_release);
  group.collect_if_many();
  group.leave(thread, count);
}

std::uint32_t detail::ended_children::count_of(const task_group& group) const noexcept {
  // Acquire, the first three: pair with add and hand_in. The two belong together if the version is
  // the same before and after.
  const auto version = version_.load(std::memory_order_acquire);
  const bool here = group_.load(std::memory_order_acquire) == &group;
  const auto count = count_.load(std::memory_order_acquire);
  return here && version % 2 == 0 && version_.load(relaxed) == version ? count : 0;
}

bool detail::ended_children::goes_on_with(const job& next) const noexcept {
  return child::is_unstarted(packet::target_of(next), *group_.load(relaxed));
}

} // namespace weir
