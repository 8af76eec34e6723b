// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <weir/blocking.hpp>
#include <weir/detail/fork_stack.hpp>

namespace weir::detail {

blocking_section::blocking_section() noexcept : worker_(this_thread().self) {
  this_forks->publish_all(); // of a guest too
  if (worker_ != nullptr)
    worker_->enter_blocking();
}

blocking_section::~blocking_section() {
  if (worker_ != nullptr)
    worker_->leave_blocking();
}

} // namespace weir::detail
