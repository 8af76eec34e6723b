// SPDX-License-Identifier: MIT
/// \file
/// The join of those who wait for all of their children.
#pragma once

#include <weir/detail/child.hpp>

namespace weir::detail {

class WEIR_API all_join : public fixed_join {
 protected:
  explicit all_join(bool stops_others) noexcept : stops_others_(stops_others) {}
  ~all_join() override;

  /// What the end of `which` means for the others.
  void failed(child& which, child_end how) noexcept;
  /// The end of one that never was a child of this join.
  void ended_before(child& which) noexcept;

 private:
  bool child_ended(child& which, child_end how, thread_state& thread) noexcept override;

  const bool stops_others_;
};

} // namespace weir::detail
