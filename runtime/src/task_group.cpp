// SPDX-License-Identifier: MIT
#include <weir/task_group.hpp>

#include <memory>
#include <mutex>

namespace weir {

using detail::child_end;
using detail::group_child;

detail::group_child::~group_child() = default;
task_group::~task_group() = default;

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
  const std::scoped_lock lock(mutex_);
  return size_;
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
  bool keep = false;
  {
    const std::scoped_lock lock(mutex_);
    --size_;
    if (c.link_ != nullptr)
      unlink(c);
    keep = c.being_stopped_;
    c.ended_ = true;
  }
  if (!keep)
    delete &c;
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
