// SPDX-License-Identifier: MIT
/// \file
/// `grain`: how finely a parallel algorithm divides its range.
#pragma once

#include <weir/error.hpp>

#include <cstddef>

namespace weir {

/// Option of the parallel algorithms: how many elements belong together.
///
/// Without it an algorithm goes through its range in pieces that get smaller towards the end, from
/// 2,048 elements to one, and divides only if a worker has time for a part. Loops and transforms
/// make pieces that last some microseconds, if elements cost what the last ones have: at most 1/64
/// of what is left where elements are costly, at most 1/8 where they are cheap. So a grain is
/// needed only if neighbours should stay together whatever their number, or to fix the leaves of a
/// deterministic reduction.
class grain {
 public:
  /// The algorithm chooses.
  constexpr grain() noexcept {}
  /// \param elements as many run in one piece, on one thread, one after the other; 1 or more. The
  /// last piece of a range may be smaller. Throws `errc::invalid_option` for 0.
  constexpr explicit grain(std::size_t elements) : elements_(elements) {
    if (elements == 0)
      detail::throw_error(errc::invalid_option,
                          "a grain is 0 elements; it has to be 1 or more, or left out to let the "
                          "algorithm choose");
  }

  /// 0: the algorithm chooses.
  [[nodiscard]] constexpr std::size_t elements() const noexcept { return elements_; }

 private:
  std::size_t elements_ = 0;
};

} // namespace weir
