// SPDX-License-Identifier: MIT
/// \file
/// `parallel_transform`: a range of results of a range of arguments.
#pragma once

#include <weir/detail/parallel_range.hpp>
#include <weir/fork_join.hpp>
#include <weir/grain.hpp>
#include <weir/runtime.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <ranges>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

template <class I, class O, class F>
void transform_all(const I& from, std::size_t count, const O& to, F& f, const pieces& sizes) {
  require_forks();
  run_part(
      [&from, &to, &f](std::size_t first, std::size_t size) {
        loop_callable<F> call = f;
        const I end = moved(from, first + size);
        O out = moved(to, first);
        for (I at = moved(from, first); at != end; ++at, ++out)
          *out = std::invoke(call, *at);
      },
      0, count, sizes);
}

template <class I, class J, class O, class F>
void transform_all(const I& from, const J& with, std::size_t count, const O& to, F& f,
                   const pieces& sizes) {
  require_forks();
  run_part(
      [&from, &with, &to, &f](std::size_t first, std::size_t size) {
        loop_callable<F> call = f;
        const I end = moved(from, first + size);
        J other = moved(with, first);
        O out = moved(to, first);
        for (I at = moved(from, first); at != end; ++at, ++other, ++out)
          *out = std::invoke(call, *at, *other);
      },
      0, count, sizes);
}

template <class F, class... Refs>
using transformed_t = std::invoke_result_t<std::remove_reference_t<F>&, Refs...>;

} // namespace detail

/// Writes `f(e)` for each element `e` of [first, last) to the range that begins at `to`, and gives
/// that range's end. `to` may be `first`; ranges that overlap otherwise are undefined behaviour.
///
/// Divides, throws, stops and costs as `parallel_for`. If it throws, some results are written and
/// others are not.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S,
          std::random_access_iterator O, class F>
  requires std::indirectly_writable<O, detail::transformed_t<F, std::iter_reference_t<I>>>
O parallel_transform(I first, S last, O to, F&& f, grain size = {}) {
  const std::size_t count = detail::count_between(first, last);
  detail::transform_all(first, count, to, f, detail::pieces(size));
  return detail::moved(to, count);
}

/// As above, of a range.
template <detail::random_access_sized_range R, std::random_access_iterator O, class F>
  requires std::indirectly_writable<O, detail::transformed_t<F, std::ranges::range_reference_t<R>>>
O parallel_transform(R&& range, O to, F&& f, grain size = {}) {
  const auto count = static_cast<std::size_t>(std::ranges::size(range));
  detail::transform_all(std::ranges::begin(range), count, to, f, detail::pieces(size));
  return detail::moved(to, count);
}

/// Writes `f(e, o)` for each element `e` of [first, last) and the `o` beside it in the range of the
/// same size that begins at `with`, as above.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S,
          std::random_access_iterator J, std::random_access_iterator O, class F>
  requires std::indirectly_writable<
      O, detail::transformed_t<F, std::iter_reference_t<I>, std::iter_reference_t<J>>>
O parallel_transform(I first, S last, J with, O to, F&& f, grain size = {}) {
  const std::size_t count = detail::count_between(first, last);
  detail::transform_all(first, with, count, to, f, detail::pieces(size));
  return detail::moved(to, count);
}

/// As above, of two ranges; the shorter one decides.
template <detail::random_access_sized_range R, detail::random_access_sized_range Q,
          std::random_access_iterator O, class F>
  requires std::indirectly_writable<O, detail::transformed_t<F, std::ranges::range_reference_t<R>,
                                                             std::ranges::range_reference_t<Q>>>
O parallel_transform(R&& range, Q&& with, O to, F&& f, grain size = {}) {
  const auto count = std::min(static_cast<std::size_t>(std::ranges::size(range)),
                              static_cast<std::size_t>(std::ranges::size(with)));
  detail::transform_all(std::ranges::begin(range), std::ranges::begin(with), count, to, f,
                        detail::pieces(size));
  return detail::moved(to, count);
}

/// `parallel_transform` on any thread: one that is no worker of `on` takes part, see `fork_join`.
template <class... Args>
auto parallel_transform(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  return parallel_transform(std::forward<Args>(args)...);
}

} // namespace weir
