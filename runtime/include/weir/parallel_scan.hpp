// SPDX-License-Identifier: MIT
/// \file
/// `parallel_inclusive_scan`, `parallel_exclusive_scan`: prefix sums.
#pragma once

#include <weir/detail/scan.hpp>
#include <weir/fork_join.hpp>
#include <weir/grain.hpp>
#include <weir/runtime.hpp>

#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <utility>

namespace weir {

/// Writes to the i-th place from `to` on what `op` makes of the elements of [first, last) up to and
/// including the i-th one, and gives the end of what is written. `to` may be `first`; ranges that
/// overlap otherwise are undefined behaviour.
///
///     weir::parallel_inclusive_scan(a, a.begin()); // each element and all before it
///
/// `op` has to be associative; it need not be commutative. It takes and gives elements' values,
/// which are copied. How floating-point numbers are rounded differs from call to call.
///
/// On a worker or guest of a runtime; elsewhere throws `errc::not_on_worker`. Costs what the plain
/// loop does if nobody helps; parts that another worker takes are gone through twice. `size` is
/// that of a block, between 1 and 8,192 elements if it is left out; one value for each block is
/// allocated
/// (`std::bad_alloc`). Throws and stops as `parallel_for`; some results are written then.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S,
          std::random_access_iterator O, class Op = std::plus<>>
  requires detail::scans<Op, std::iter_value_t<I>, std::iter_reference_t<I>, O>
O parallel_inclusive_scan(I first, S last, O to, Op&& op = {}, grain size = {}) {
  return detail::scan_all<true, std::iter_value_t<I>>(first, detail::count_between(first, last), to,
                                                      std::nullopt, op, size);
}

/// As above, of a range.
template <detail::random_access_sized_range R, std::random_access_iterator O,
          class Op = std::plus<>>
  requires detail::scans<Op, std::ranges::range_value_t<R>, std::ranges::range_reference_t<R>, O>
O parallel_inclusive_scan(R&& range, O to, Op&& op = {}, grain size = {}) {
  return detail::scan_all<true, std::ranges::range_value_t<R>>(
      std::ranges::begin(range), static_cast<std::size_t>(std::ranges::size(range)), to,
      std::nullopt, op, size);
}

/// As above on any thread: one that is no worker of `on` takes part, see `fork_join`.
template <class... Args>
auto parallel_inclusive_scan(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  return parallel_inclusive_scan(std::forward<Args>(args)...);
}

/// Writes to the i-th place from `to` on what `op` makes of `init` and the elements of [first,
/// last) before the i-th one. Otherwise as `parallel_inclusive_scan`.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S,
          std::random_access_iterator O, class T, class Op = std::plus<>>
  requires detail::scans<Op, T, std::iter_reference_t<I>, O>
O parallel_exclusive_scan(I first, S last, O to, T init, Op&& op = {}, grain size = {}) {
  return detail::scan_all<false, T>(first, detail::count_between(first, last), to,
                                    std::optional<T>(std::move(init)), op, size);
}

/// As above, of a range.
template <detail::random_access_sized_range R, std::random_access_iterator O, class T,
          class Op = std::plus<>>
  requires detail::scans<Op, T, std::ranges::range_reference_t<R>, O>
O parallel_exclusive_scan(R&& range, O to, T init, Op&& op = {}, grain size = {}) {
  return detail::scan_all<false, T>(std::ranges::begin(range),
                                    static_cast<std::size_t>(std::ranges::size(range)), to,
                                    std::optional<T>(std::move(init)), op, size);
}

/// As above on any thread, see `fork_join`.
template <class... Args>
auto parallel_exclusive_scan(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  return parallel_exclusive_scan(std::forward<Args>(args)...);
}

} // namespace weir
