// SPDX-License-Identifier: MIT
/// \file
/// `parallel_sort`, `parallel_stable_sort`.
#pragma once

#include <weir/detail/merge_sort.hpp>
#include <weir/detail/parallel_range.hpp>
#include <weir/detail/quick_sort.hpp>
#include <weir/fork_join.hpp>
#include <weir/runtime.hpp>

#include <cstddef>
#include <functional>
#include <iterator>
#include <ranges>
#include <utility>

namespace weir {

/// Sorts [first, last): afterwards `less(b, a)` holds for no `a` that is before a `b`. Equal
/// elements may change places.
///
/// On a worker or guest of a runtime; elsewhere throws `errc::not_on_worker`. `less` may be called
/// on several threads at the same time; it is not copied. O(n log n) comparisons, whatever the
/// elements; O(n log k) if only k are different. In place, without allocation or lock.
///
/// If `less` throws, the other parts end, and the first exception is thrown; if stop is requested
/// of the running task, `task_cancelled`. The range has the same elements then, in some order: none
/// is lost. If moving throws, they are valid and otherwise unspecified.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class Less = std::less<>>
  requires std::sortable<I, Less>
void parallel_sort(I first, S last, Less less = {}) {
  detail::require_forks();
  detail::quick_sort<I, Less>(less).run(first, first + (last - first));
}

/// As above, of a range.
template <detail::random_access_sized_range R, class Less = std::less<>>
  requires std::sortable<std::ranges::iterator_t<R>, Less>
void parallel_sort(R&& range, Less less = {}) {
  const auto first = std::ranges::begin(range);
  parallel_sort(first, detail::moved(first, static_cast<std::size_t>(std::ranges::size(range))),
                std::move(less));
}

/// `parallel_sort` on any thread: one that is no worker of `on` takes part, see `fork_join`.
template <class... Args>
void parallel_sort(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  parallel_sort(std::forward<Args>(args)...);
}

/// Sorts [first, last) as `parallel_sort`, and equal elements keep their order. Allocates room for
/// as many elements; throws `std::bad_alloc`, and nothing has happened then.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class Less = std::less<>>
  requires std::sortable<I, Less>
void parallel_stable_sort(I first, S last, Less less = {}) {
  detail::require_forks();
  const std::size_t count = detail::count_between(first, last);
  if (count > 1)
    detail::merge_sort<I, Less>(first, count, less).run();
}

/// As above, of a range.
template <detail::random_access_sized_range R, class Less = std::less<>>
  requires std::sortable<std::ranges::iterator_t<R>, Less>
void parallel_stable_sort(R&& range, Less less = {}) {
  const auto first = std::ranges::begin(range);
  parallel_stable_sort(first,
                       detail::moved(first, static_cast<std::size_t>(std::ranges::size(range))),
                       std::move(less));
}

/// `parallel_stable_sort` on any thread, see `fork_join`.
template <class... Args>
void parallel_stable_sort(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  parallel_stable_sort(std::forward<Args>(args)...);
}

} // namespace weir
