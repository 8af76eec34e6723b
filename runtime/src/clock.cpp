// SPDX-License-Identifier: MIT
#include <weir/clock.hpp>
#include <weir/detail/sync.hpp>

namespace weir {

clock_source::~clock_source() = default;

clock_source::time_point clock_source::now() const noexcept {
  return detail::sync::now();
}

const clock_source& clock_source::steady() noexcept {
  static const clock_source& instance = *new clock_source;
  return instance;
}

} // namespace weir
