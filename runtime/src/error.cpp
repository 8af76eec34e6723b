// SPDX-License-Identifier: MIT
#include <weir/error.hpp>

namespace weir {

namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weir"; }

  // The enumerator's name: it stands behind the sentence of `error::what()`.
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
    case errc::invalid_option:
      return "invalid_option";
    case errc::empty_callable:
      return "empty_callable";
    case errc::stopped:
      return "stopped";
    case errc::pool_closed:
      return "pool_closed";
    case errc::would_deadlock:
      return "would_deadlock";
    case errc::no_state:
      return "no_state";
    case errc::already_awaited:
      return "already_awaited";
    case errc::thread_start_failed:
      return "thread_start_failed";
    case errc::queue_full:
      return "queue_full";
    case errc::queue_closed:
      return "queue_closed";
    case errc::not_locked:
      return "not_locked";
    case errc::limit_exceeded:
      return "limit_exceeded";
    case errc::timed_out:
      return "timed_out";
    case errc::forked:
      return "forked";
    case errc::not_on_worker:
      return "not_on_worker";
    case errc::pool_locked:
      return "pool_locked";
    case errc::pool_unlocked:
      return "pool_unlocked";
    case errc::pool_paused:
      return "pool_paused";
    case errc::already_cancelled:
      return "already_cancelled";
    case errc::already_ended:
      return "already_ended";
    case errc::task_not_found:
      return "task_not_found";
    case errc::group_not_found:
      return "group_not_found";
    case errc::group_exists:
      return "group_exists";
    case errc::callback_failed:
      return "callback_failed";
    }
    return "unknown";
  }
};

} // namespace

const std::error_category& error_category() noexcept {
  // Never destroyed: errors may be looked at while static objects die.
  static const category& instance = *new category;
  return instance;
}

error::~error() = default;
task_cancelled::~task_cancelled() = default;

namespace detail {

void throw_error(errc code, const char* what) {
  throw error(code, what);
}

void throw_forked() {
  throw_error(errc::forked, "this process was forked from the one that made the runtime, whose "
                            "workers are not in it; make a runtime of its own after fork()");
}

} // namespace detail

} // namespace weir
