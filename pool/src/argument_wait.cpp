// SPDX-License-Identifier: MIT
#include <weir/pool/detail/async_source.hpp>

#include <mutex>
#include <utility>

namespace weir::detail {

argument_wait::~argument_wait() = default;

void argument_wait::begin(scheduler& home, task<> waits) noexcept {
  try {
    begin_or_throw(home, waits);
  } catch (const error&) { // the runtime has ended
  } catch (...) {
    failed = std::current_exception();
  }
}

void argument_wait::begin_or_throw(scheduler& home, task<>& waits) {
  submission_entry entry(home);
  auto* const block = new spawned_block<void>(home, std::move(waits));
  handle<void> before;
  bool given_up = false;
  {
    const std::scoped_lock lock(mutex_);
    given_up = interrupted_;
    if (!given_up)
      before = std::exchange(waits_, handle<void>(block));
  }
  if (given_up) {
    block->discard_unsubmitted(); // the coroutine's promise tells; the source may be gone then
    return;
  }
  try {
    entry.submit(
        *block); // the next argument may be waited for, and the source gone, when it returns
  } catch (...) {
    try {
      throw;
    } catch (const error&) {
    } catch (...) {
      failed = std::current_exception();
    }
    {
      const std::scoped_lock lock(mutex_);
      (void)waits_.give_up();
    }
    block->discard_unsubmitted();
  }
}

void argument_wait::interrupt(const stop_reason& reason) noexcept {
  handle<void> waits;
  {
    const std::scoped_lock lock(mutex_);
    interrupted_ = true;
    waits = std::move(waits_);
  }
  if (waits.valid())
    (void)waits.request_stop(reason);
}

argument_promise::argument_promise(task_pool_core& core, pool_group& group,
                                   const argument_wait& wait) noexcept
    : core_(core.shared_from_this()), group_(&group), wait_(&wait) {}

argument_promise::argument_promise(argument_promise&& other) noexcept
    : how(other.how), made(other.made), slot(other.slot), error(std::move(other.error)),
      core_(std::move(other.core_)), group_(other.group_), wait_(other.wait_), tells_(true) {
  other.tells_ = false;
}

argument_promise::~argument_promise() {
  if (!tells_)
    return;
  if (how == task_source::step::interrupted && wait_->failed != nullptr) {
    how = task_source::step::exhausted;
    error = wait_->failed;
  }
  core_->prepared(*group_, how, made, slot, error);
}

} // namespace weir::detail
