// SPDX-License-Identifier: MIT
#include <weir/clock.hpp>
#include <weir/detail/sync.hpp>

namespace weir {

clock::~clock() = default;

clock::time_point clock::now() const noexcept {
  return detail::sync::now();
}

const clock& clock::steady() noexcept {
  static const clock& instance = *new clock;
  return instance;
}

} // namespace weir
