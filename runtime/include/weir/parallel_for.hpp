// SPDX-License-Identifier: MIT
/// \file
/// `parallel_for`, `parallel_for_each`: a loop whose iterations may run beside each other.
#pragma once

#include <weir/detail/parallel_range.hpp>
#include <weir/fork_join.hpp>
#include <weir/grain.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

/// Calls `body(i)` for each integer of [first, last) and returns when all calls have ended:
///
///     weir::parallel_for(0, n, [&](int i) { a[i] = a[i] * x + y; });
///
/// The integers are of the common type of `first` and `last`. Calls may run in any order and at the
/// same time; what `body` returns is dropped. `body` is called where it is, or, if it is trivially
/// copyable and at most 64 bytes, as a copy for each piece of the range.
///
/// On a worker or guest of a runtime, also inside other forks; elsewhere throws
/// `errc::not_on_worker`. The calling thread goes through the range from the front; when a worker
/// has time, it takes the back half of what is left. So no number of pieces has to be guessed, and
/// a loop that nobody helps with costs about what the plain loop does. `size` says how many
/// elements at the least belong together. A worker that has taken a part looks between its calls,
/// about every 50 microseconds, whether something else waits for a worker, and lets that go first:
/// so tasks may run on its thread between two calls.
///
/// If a call throws, the rest of its piece is left out, all other pieces end, and the exception is
/// thrown; of several the first one, and the others are counted in
/// `runtime_stats::suppressed_exceptions`. If stop is requested of the running task, pieces that
/// have not started do not, and `task_cancelled` is thrown. No allocation, no lock.
template <detail::index_type I, detail::index_type J, class F>
  requires std::invocable<std::remove_reference_t<F>&, std::common_type_t<I, J>>
void parallel_for(I first, J last, F&& body, grain size = {}) {
  using index = std::common_type_t<I, J>;
  const auto from = static_cast<index>(first);
  detail::for_all(detail::index_cursor<index>{from},
                  detail::count_between(from, static_cast<index>(last)), body,
                  detail::pieces(size));
}

/// Calls `body` with each element of [first, last), as above.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class F>
  requires std::invocable<std::remove_reference_t<F>&, std::iter_reference_t<I>>
void parallel_for(I first, S last, F&& body, grain size = {}) {
  detail::for_all(first, detail::count_between(first, last), body, detail::pieces(size));
}

/// Calls `body` with each element of `range`, as above.
template <detail::random_access_sized_range R, class F>
  requires std::invocable<std::remove_reference_t<F>&, std::ranges::range_reference_t<R>>
void parallel_for(R&& range, F&& body, grain size = {}) {
  detail::for_all(std::ranges::begin(range), static_cast<std::size_t>(std::ranges::size(range)),
                  body, detail::pieces(size));
}

/// `parallel_for` on any thread: one that is no worker of `on` takes part, see `fork_join`.
template <class... Args>
void parallel_for(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  parallel_for(std::forward<Args>(args)...);
}

/// `parallel_for` over any range that can be gone through twice. If its elements cannot be indexed,
/// their iterators are collected first; throws also `std::bad_alloc` then.
template <std::forward_iterator I, std::sentinel_for<I> S, class F>
  requires std::invocable<std::remove_reference_t<F>&, std::iter_reference_t<I>>
void parallel_for_each(I first, S last, F&& body, grain size = {}) {
  if constexpr (std::random_access_iterator<I> && std::sized_sentinel_for<S, I>) {
    parallel_for(std::move(first), std::move(last), body, size);
  } else {
    std::vector<I> all;
    if constexpr (std::sized_sentinel_for<S, I>)
      all.reserve(static_cast<std::size_t>(last - first));
    for (; first != last; ++first)
      all.push_back(first);
    parallel_for(all, [&body](const I& at) { std::invoke(body, *at); }, size);
  }
}

/// As above.
template <std::ranges::forward_range R, class F>
  requires std::invocable<std::remove_reference_t<F>&, std::ranges::range_reference_t<R>>
void parallel_for_each(R&& range, F&& body, grain size = {}) {
  if constexpr (detail::random_access_sized_range<R>)
    parallel_for(range, body, size);
  else
    parallel_for_each(std::ranges::begin(range), std::ranges::end(range), body, size);
}

/// As above on any thread, see `fork_join`.
template <class... Args>
void parallel_for_each(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  parallel_for_each(std::forward<Args>(args)...);
}

} // namespace weir
