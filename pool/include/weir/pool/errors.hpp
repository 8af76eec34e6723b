// SPDX-License-Identifier: MIT
/// \file
/// What pools throw.
///
///     weir::error
///     `- pool_error
///        |- pool_is_closed, pool_is_locked, pool_is_full, pool_still_unlocked
///        |- invalid_pool_option
///        |- task_ended: already_cancelled, already_ended
///        |- invalid_task_id: task_not_found
///        |- invalid_group_name: task_group_not_found, task_group_already_exists
///        `- task_pool_error: not_available
///
/// Each has an `errc` as well, so that one handler for `weir::error` serves pools and runtime.
/// Unlike that of other errors, `what()` is exactly the sentence, without the code's name behind
/// it: programs that come from Python compare these texts.
#pragma once

#include <weir/error.hpp>
#include <weir/version.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir {

/// The number of a task in its pool, from 0, in the order in which a `task_pool` started or another
/// pool accepted them.
using task_id = std::uint64_t;

/// Every refusal of a pool.
class WEIR_API pool_error : public error {
 public:
  pool_error(errc code, const std::string& text);
  ~pool_error() override;
  [[nodiscard]] const char* what() const noexcept override;

 private:
  // Shared, because exceptions must copy without throwing.
  std::shared_ptr<const std::string> text_;
};

/// The pool has been closed.
class WEIR_API pool_is_closed : public pool_error {
 public:
  pool_is_closed() : pool_error(errc::pool_closed, "You must use another pool") {}
  ~pool_is_closed() override;
};

/// The pool is locked: what it has accepted runs, new tasks are refused until `unlock()`.
class WEIR_API pool_is_locked : public pool_error {
 public:
  pool_is_locked() : pool_error(errc::pool_locked, "Cannot start new tasks") {}
  ~pool_is_locked() override;
};

/// As many groups wait as the pool's `max_waiting_groups` allows, or others wait for their place.
class WEIR_API pool_is_full : public pool_error {
 public:
  pool_is_full() : pool_error(errc::queue_full, "Too many groups wait for room in this pool") {}
  ~pool_is_full() override;
};

/// `gather()` of a pool that may still get new tasks: `lock()` it before.
class WEIR_API pool_still_unlocked : public pool_error {
 public:
  pool_still_unlocked()
      : pool_error(errc::pool_unlocked, "Pool must be locked, before tasks can be gathered") {}
  ~pool_still_unlocked() override;
};

/// An option is out of range; the text says which.
class WEIR_API invalid_pool_option : public pool_error {
 public:
  explicit invalid_pool_option(const std::string& text) : pool_error(errc::invalid_option, text) {}
  ~invalid_pool_option() override;
};

/// There is nothing left to cancel.
class WEIR_API task_ended : public pool_error {
 public:
  ~task_ended() override;

 protected:
  using pool_error::pool_error;
};

/// Stop was requested of the task before, or it handles its cancellation.
class WEIR_API already_cancelled : public task_ended {
 public:
  explicit already_cancelled(std::string_view task_name);
  ~already_cancelled() override;
};

class WEIR_API already_ended : public task_ended {
 public:
  explicit already_ended(std::string_view task_name);
  ~already_ended() override;
};

/// A number that stands for no task.
class WEIR_API invalid_task_id : public pool_error {
 public:
  ~invalid_task_id() override;

 protected:
  using pool_error::pool_error;
};

/// No such task was started, or it has ended and was forgotten since (`flush`).
class WEIR_API task_not_found : public invalid_task_id {
 public:
  task_not_found(task_id id, std::string_view pool);
  ~task_not_found() override;
};

/// A name that stands for no group, or for one too many.
class WEIR_API invalid_group_name : public pool_error {
 public:
  ~invalid_group_name() override;

 protected:
  using pool_error::pool_error;
};

class WEIR_API task_group_not_found : public invalid_group_name {
 public:
  explicit task_group_not_found(std::string_view name);
  ~task_group_not_found() override;
};

class WEIR_API task_group_already_exists : public invalid_group_name {
 public:
  explicit task_group_already_exists(std::string_view name);
  ~task_group_already_exists() override;
};

/// What the pools throw that take one task at a time: `fixed_pool`, `autoscale_pool`.
class WEIR_API task_pool_error : public pool_error {
 public:
  ~task_pool_error() override;

 protected:
  using pool_error::pool_error;
};

/// The pool takes no task now: it is paused (`errc::pool_paused`) or its queue is full
/// (`errc::queue_full`).
class WEIR_API not_available : public task_pool_error {
 public:
  [[nodiscard]] static not_available paused() { return {errc::pool_paused, "task pool is paused"}; }
  [[nodiscard]] static not_available full() {
    return {errc::queue_full, "task pool can not put task any more"};
  }
  ~not_available() override;

 private:
  using task_pool_error::task_pool_error;
};

} // namespace weir
