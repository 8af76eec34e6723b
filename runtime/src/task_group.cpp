// SPDX-License-Identifier: MIT
#include <weir/task_group.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

namespace weir {

using detail::child_end;
using detail::group_child;

detail::group_child::~group_child() = default;

task_group::~task_group() {
  // Acquire: pairs with child_ended, as in collect_ended. Nobody else is left.
  auto* ended =
      reinterpret_cast<group_child*>(ended_.load(std::memory_order_acquire) & ~many_ended);
  destroy(ended);
}

bool task_group::open(detail::promise_base& parent) noexcept {
  return prepare(parent.scope(), parent);
}

void task_group::run(detail::child& body) noexcept {
  body_ = &body;
  body.attach(*this, scope(), scope().context());
  enter(1);
  (void)commit(); // nobody can complete it yet, so that it stays suspended
  detail::child::start(body, detail::this_thread());
}

void task_group::start(group_child* fresh) {
  std::unique_ptr<group_child> owned(fresh);
  require_open();
  owned->require_startable();
  owned->attach(*this, scope(), detail::current_context(detail::this_thread()));
  {
    const std::scoped_lock lock(mutex_);
    if (!stopped_) {
      enter(1);
      ++size_;
      fresh->next_ = first_;
      fresh->link_ = &first_;
      if (first_ != nullptr)
        first_->link_ = &fresh->next_;
      first_ = owned.release();
    }
  }
  if (owned == nullptr)
    detail::schedule_fork(scope().home(), detail::this_thread(), *fresh);
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
  // From here on nothing is entered. The children live until they have been dealt with here, and
  // the group as long as the caller is one of it or withdraws it (J2, J3).
  (void)body_->scope().request_stop(reason);
  std::unique_lock lock(mutex_);
  while (group_child* const c = first_) {
    unlink(*c);
    c->being_stopped_ = true;
    lock.unlock();
    (void)c->scope().request_stop(reason);
    lock.lock();
    c->being_stopped_ = false;
    if (c->ended_) {
      lock.unlock();
      delete c;
      lock.lock();
    }
  }
  return true;
}

bool task_group::stop_requested() const noexcept {
  const std::scoped_lock lock(mutex_);
  return stopped_;
}

std::size_t task_group::size() const noexcept {
  std::size_t left = 0;
  group_child* ended = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    ended = collect_ended();
    left = size_;
  }
  destroy(ended);
  return left;
}

group_child* task_group::collect_ended() const noexcept {
  // Acquire: pairs with child_ended; what the children have left is seen.
  const auto word = ended_.exchange(0, std::memory_order_acquire);
  group_child* unused = nullptr;
  for (auto* at = reinterpret_cast<group_child*>(word & ~many_ended); at != nullptr;) {
    group_child& c = *std::exchange(at, at->next_ended_);
    --size_;
    if (c.link_ != nullptr)
      unlink(c);
    if (c.being_stopped_)
      c.ended_ = true; // whoever stops it destroys it
    else
      c.next_ended_ = std::exchange(unused, &c);
  }
  return unused;
}

void task_group::destroy(group_child* ended) noexcept {
  while (ended != nullptr)
    delete std::exchange(ended, ended->next_ended_);
}

void task_group::unlink(group_child& c) noexcept {
  *c.link_ = c.next_;
  if (c.next_ != nullptr)
    c.next_->link_ = c.link_;
  c.link_ = nullptr;
}

void task_group::child_ended(detail::child& which, child_end how, detail::thread_state&) noexcept {
  const bool is_body = &which == body_;
  const bool failed = how == child_end::failed || (is_body && how == child_end::cancelled);
  if (failed && record_failure(which, how) && stops_others_)
    (void)stop_children(reason_or(stop_cause::sibling_failed));
  if (is_body)
    return;
  auto& c = static_cast<group_child&>(which);
  if (how == child_end::failed)
    (void)c.take_error(); // if it was not the first
  auto seen = ended_.load(std::memory_order_relaxed);
  std::uintptr_t number = 0;
  do {
    c.next_ended_ = reinterpret_cast<group_child*>(seen & ~many_ended);
    number = std::min((seen & many_ended) + 1, many_ended);
    // Release: pairs with collect_ended and the destructor. From here on `c` may be gone.
  } while (!ended_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&c) | number,
                                         std::memory_order_release, std::memory_order_relaxed));
  if (number != many_ended)
    return;
  group_child* ended = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    ended = collect_ended();
  }
  destroy(ended);
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

} // namespace weir
