// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <weir/blocking.hpp>

namespace weir::detail {

blocking_section::blocking_section() noexcept : worker_(this_thread().self) {
  if (worker_ != nullptr)
    worker_->enter_blocking();
}

blocking_section::~blocking_section() {
  if (worker_ != nullptr)
    worker_->leave_blocking();
}

} // namespace weir::detail
