// SPDX-License-Identifier: MIT
#include <weir/pool/detail/pool_call.hpp>

#include <mutex>
#include <utility>

namespace weir::detail {

argument_wait::~argument_wait() = default;

void argument_wait::begin(scheduler& home, task<> waits) {
  submission_entry entry(home);
  auto* const block = new spawned_block<void>(home, std::move(waits));
  handle<void> before;
  bool interrupted = false;
  stop_reason reason;
  {
    const std::scoped_lock lock(mutex_);
    before = std::exchange(waits_, handle<void>(block));
    interrupted = interrupted_;
    reason = reason_;
  }
  // Afterwards the next argument may be waited for, and the source be gone.
  try {
    if (interrupted)
      (void)block->scope().request_stop(reason);
    else
      entry.submit(*block);
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    (void)waits_.give_up();
    block->discard_unsubmitted();
    throw;
  }
}

void argument_wait::interrupt(const stop_reason& reason) noexcept {
  handle<void> waits;
  {
    const std::scoped_lock lock(mutex_);
    interrupted_ = true;
    reason_ = reason;
    waits = std::move(waits_);
  }
  if (waits.valid())
    (void)waits.request_stop(reason);
}

argument_promise::argument_promise(task_pool_core& core, pool_group& group)
    : core_(core.shared_from_this()), group_(&group) {}

argument_promise::argument_promise(argument_promise&& other) noexcept
    : how(other.how), made(other.made), slot(other.slot), error(std::move(other.error)),
      core_(std::move(other.core_)), group_(other.group_) {}

argument_promise::~argument_promise() {
  if (core_ != nullptr)
    core_->prepared(*group_, how, made, slot, error);
}

} // namespace weir::detail
