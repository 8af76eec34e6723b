// SPDX-License-Identifier: MIT
#include <weir/detail/scheduler.hpp>
#include <weir/pool/detail/tracked_task.hpp>
#include <weir/sleep.hpp>

namespace weir::detail {

namespace {

constexpr std::string_view logger = "weir.pool";

} // namespace

tracked_task::tracked_task(std::shared_ptr<pool_engine> pool,
                           std::shared_ptr<const pool_settings> settings, task_wishes wishes)
    : pool_(std::move(pool)),
      deadline_(wishes.start_by ? std::make_unique<deadline>(*this, *wishes.start_by) : nullptr),
      callbacks_(wishes.end_callback || wishes.cancel_callback
                     ? std::make_unique<callbacks>(*this, std::move(settings), wishes)
                     : nullptr) {}

tracked_task::~tracked_task() = default;

// Starting in time.

void tracked_task::look_at_deadline() noexcept {
  if (deadline_ != nullptr && now_of(pool_->home()) > deadline_->at)
    (void)as_block().scope().stop_unstarted(stop_cause::not_started_in_time);
}

job* tracked_task::deadline::fire(timer& self, thread_state&) noexcept {
  return &static_cast<deadline&>(self);
}

void tracked_task::deadline::run_late(job& self, thread_state&) noexcept {
  tracked_task& task = *static_cast<deadline&>(self).owner;
  task_block& block = task.as_block();
  const auto pool = task.pool_; // a share may be the last one below
  if (task.table().deadline_reached(task))
    (void)block.scope().stop_unstarted(stop_cause::not_started_in_time);
  block.release();
}

// Ending.

callback_run::host tracked_task::callback_host() noexcept {
  const pool_settings& settings = *callbacks_->settings;
  return {settings.str, settings.log, logger, settings.callback_timeout, id_, as_block().scope()};
}

bool tracked_task::callable_ended(thread_state& thread) noexcept {
  how_ = how_it_ended();
  if (callbacks_ == nullptr) {
    const bool shared = table().changed(*this, task_table::change::gone);
    leave_slot(as_item(), how_);
    if (shared)
      as_block().release(); // the runtime's share is still there
    return true;
  }
  callbacks& own = *callbacks_;
  own.error = its_error();
  if (how_ == task_end::cancelled) {
    if (table().changed(*this, task_table::change::cancelled))
      as_block().release();
    own.run = &run_cancelled;
    if (!own.running.run(callback_host(), own.on_cancel, "cancel_callback", own, own.error, thread))
      return false;
  }
  return leave(thread, true);
}

void tracked_task::run_cancelled(job& self, thread_state& thread) noexcept {
  auto& own = static_cast<callbacks&>(self);
  tracked_task& task = *own.owner;
  if (!own.running.ended(task.callback_host(), "cancel_callback", own, own.error, thread))
    return;
  if (own.unstarted)
    task.run_end_callback(thread);
  else
    (void)task.leave(thread, false);
}

bool tracked_task::leave(thread_state& thread, bool by_completion) noexcept {
  callbacks& own = *callbacks_;
  pool_item& item = as_item();
  if (!own.on_end) {
    if (table().changed(*this, task_table::change::gone))
      as_block().release();
    if (own.error != its_error())
      replace_outcome(own.error);
    leave_slot(item, how_);
    if (!by_completion) {
      task_block& block = as_block();
      block.publish_later(thread);
      block.retire_later(thread);
    }
    return by_completion;
  }
  if (table().changed(*this, task_table::change::ended))
    as_block().release();
  // Before the slot is given back: closing waits for what this counts.
  pool_->help_began();
  pool_slot& slot = item.slot();
  leave_slot(item, how_);
  slot_is_free_ = true;
  free_slot(slot, thread);
  scheduler& home = pool_->home();
  if (by_completion && thread.home == &home) {
    // The slot goes on with this thread: the callback must not hold it up.
    own.run = &run_ending;
    schedule_last(home, thread, own);
  } else {
    run_end_callback(thread);
  }
  return false;
}

void tracked_task::run_ending(job& self, thread_state& thread) noexcept {
  static_cast<callbacks&>(self).owner->run_end_callback(thread);
}

void tracked_task::run_end_callback(thread_state& thread) noexcept {
  callbacks& own = *callbacks_;
  if (own.unstarted) {
    if (table().changed(*this, task_table::change::ended))
      as_block().release();
  }
  own.run = &run_ended;
  if (own.running.run(callback_host(), own.on_end, "end_callback", own, own.error, thread))
    finish(thread);
}

void tracked_task::run_ended(job& self, thread_state& thread) noexcept {
  auto& own = static_cast<callbacks&>(self);
  tracked_task& task = *own.owner;
  if (own.running.ended(task.callback_host(), "end_callback", own, own.error, thread))
    task.finish(thread);
}

void tracked_task::finish(thread_state& thread) noexcept {
  callbacks& own = *callbacks_;
  if (table().changed(*this, task_table::change::gone))
    as_block().release();
  if (own.error != its_error())
    replace_outcome(own.error);
  own.error = nullptr; // who takes the outcome is the exception's last owner
  task_block& block = as_block();
  const bool unstarted = own.unstarted;
  auto keep = pool_;
  block.publish_later(thread);
  keep->help_ended();
  keep.reset();
  if (unstarted) {
    block.release();
    thread.count_ended(); // last, see task_block::retire
  } else {
    block.retire_later(thread);
  }
}

bool tracked_task::cancelled_unstarted(thread_state& thread) noexcept {
  if (callbacks_ == nullptr) {
    if (table().changed(*this, task_table::change::gone))
      as_block().release(); // whoever ends it has a share
    detail::cancelled_unstarted(as_item(), thread);
    return true;
  }
  if (table().changed(*this, task_table::change::cancelled))
    as_block().release();
  callbacks& own = *callbacks_;
  own.unstarted = true;
  as_block().retain();
  pool_->help_began();
  detail::cancelled_unstarted(as_item(), thread);
  own.run = &run_unstarted;
  submit_accepted(pool_->home(), thread, own);
  return false;
}

void tracked_task::run_unstarted(job& self, thread_state& thread) noexcept {
  auto& own = static_cast<callbacks&>(self);
  tracked_task& task = *own.owner;
  own.run = &run_cancelled;
  if (own.running.run(task.callback_host(), own.on_cancel, "cancel_callback", own, own.error,
                      thread))
    task.run_end_callback(thread);
}

} // namespace weir::detail
