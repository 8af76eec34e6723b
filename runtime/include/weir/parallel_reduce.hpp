// SPDX-License-Identifier: MIT
/// \file
/// `parallel_reduce`, `parallel_transform_reduce`: one value of a range.
#pragma once

#include <weir/detail/parallel_range.hpp>
#include <weir/fork_join.hpp>
#include <weir/grain.hpp>
#include <weir/runtime.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir {

/// First argument of `parallel_reduce` and `parallel_transform_reduce`: the same elements give the
/// same bits, however many workers take part.
struct deterministic_t {
  explicit deterministic_t() = default;
};
inline constexpr deterministic_t deterministic{};

namespace detail {

/// Elements in a leaf of a deterministic reduction if no grain is given.
inline constexpr std::size_t deterministic_leaf = 1024;

/// Whether a leaf combines eight elements at a time. Clang does better with integers by itself, GCC
/// does not: 3.2 and 2.2 ms, 4.2 and 5.6 ms for 10^7 squares.
#if defined(__clang__)
template <class T>
inline constexpr bool folds_by_eight = std::is_floating_point_v<T>;
#else
template <class T>
inline constexpr bool folds_by_eight = std::is_arithmetic_v<T>;
#endif

/// `op` combines what `transform` makes of the elements from `from` on.
template <class T, class C, class Op, class Transform>
class reduction {
 public:
  reduction(const C& from, Op& op, Transform& transform, const pieces& sizes) noexcept
      : from_(from), op_(op), transform_(transform), sizes_(sizes) {}

  T combine(T&& a, T&& b) const {
    return static_cast<T>(std::invoke(op_, std::move(a), std::move(b)));
  }

  /// Of [first, last), which is not empty. Divides on demand.
  [[gnu::noinline]] T run(std::size_t first, std::size_t last) const {
    if (sizes_.divisible(last - first) && this_forks->hungry()) {
      const std::size_t middle = first + sizes_.half(last - first);
      return fork([&] { return run(first, middle); }, [&] { return run(middle, last); });
    }
    return go_on(static_cast<T>(std::invoke(transform_, *moved(from_, first))), first + 1, last);
  }

  /// The same always in the same tree.
  [[gnu::noinline]] T run_fixed(std::size_t first, std::size_t last) const {
    if (!sizes_.divisible(last - first))
      return fold(static_cast<T>(std::invoke(transform_, *moved(from_, first))), first + 1,
                  last - first - 1);
    const std::size_t middle = first + sizes_.half(last - first);
    return fork([&] { return run_fixed(first, middle); }, [&] { return run_fixed(middle, last); });
  }

 private:
  template <class F, class G>
  T fork(F&& f, G&& g) const {
    auto both = weir::fork_join(std::forward<F>(f), std::forward<G>(g));
    return combine(std::get<0>(std::move(both)), std::get<1>(std::move(both)));
  }

  /// `sum` is of what comes before `first`.
  T go_on(T sum, std::size_t first, std::size_t last) const {
    const fork_stack& forks = *this_forks;
    for (std::size_t left = last - first; left != 0; left = last - first) {
      if (!sizes_.divisible(left))
        return fold(std::move(sum), first, left);
      if (forks.hungry()) [[unlikely]] {
        const std::size_t middle = first + sizes_.half(left);
        return fork([&] { return go_on(std::move(sum), first, middle); },
                    [&] { return run(middle, last); });
      }
      const std::size_t count = sizes_.next(left);
      sum = fold(std::move(sum), first, count);
      first += count;
    }
    return sum;
  }

  T fold(T sum, std::size_t first, std::size_t count) const {
    loop_callable<Op> op = op_;
    loop_callable<Transform> transform = transform_;
    C at = moved(from_, first);
    if constexpr (folds_by_eight<T>) {
      // Eight at a time, in order still: only one of their combinations waits for the one before.
      const auto both = [&op](T a, T b) { return static_cast<T>(std::invoke(op, a, b)); };
      for (; count >= 8; count -= 8) {
        T part[8];
        for (T& each : part) {
          each = static_cast<T>(std::invoke(transform, *at));
          ++at;
        }
        sum = both(sum, both(both(both(part[0], part[1]), both(part[2], part[3])),
                             both(both(part[4], part[5]), both(part[6], part[7]))));
      }
    }
    for (const C end = moved(at, count); at != end; ++at)
      sum = static_cast<T>(std::invoke(op, std::move(sum), std::invoke(transform, *at)));
    return sum;
  }

  const C& from_;
  Op& op_;
  Transform& transform_;
  const pieces& sizes_;
};

template <bool Fixed, class T, class C, class Op, class Transform>
T reduce_all(const C& from, std::size_t count, T&& init, Op& op, Transform& transform, grain size) {
  require_forks();
  if (count == 0)
    return std::move(init);
  if (Fixed && size.elements() == 0)
    size = grain(deterministic_leaf);
  const pieces sizes(size);
  const reduction<T, C, Op, Transform> all(from, op, transform, sizes);
  return all.combine(std::move(init), Fixed ? all.run_fixed(0, count) : all.run(0, count));
}

template <class Op, class T, class V>
concept reduces =
    std::movable<T> && std::constructible_from<T, V> &&
    std::invocable<std::remove_reference_t<Op>&, T, T> &&
    std::invocable<std::remove_reference_t<Op>&, T, V> &&
    std::constructible_from<T, std::invoke_result_t<std::remove_reference_t<Op>&, T, T>> &&
    std::constructible_from<T, std::invoke_result_t<std::remove_reference_t<Op>&, T, V>>;

template <class Op, class Transform, class T, class V>
concept transform_reduces =
    std::invocable<std::remove_reference_t<Transform>&, V> &&
    reduces<Op, T, std::invoke_result_t<std::remove_reference_t<Transform>&, V>>;

} // namespace detail

/// Combines `init` and the elements of [first, last) with `op`, as if one after the other from the
/// left:
///
///     const double sum = weir::parallel_reduce(a.begin(), a.end(), 0.0);
///     const auto best = weir::parallel_reduce(a, a[0], [](auto x, auto y) { return x < y ? y : x;
///     });
///
/// `op` has to be associative; it need not be commutative, and there need not be a neutral element.
/// It takes and gives what `T` is made of; move-only types are fine. Where the range is divided,
/// and with it how floating-point numbers are rounded, differs from call to call; see
/// `deterministic`.
///
/// Divides, throws, stops and costs as `parallel_for`; `op` and the like are copied as its body.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class T,
          class Op = std::plus<>>
  requires detail::reduces<Op, T, std::iter_reference_t<I>>
[[nodiscard]] T parallel_reduce(I first, S last, T init, Op&& op = {}, grain size = {}) {
  std::identity same;
  return detail::reduce_all<false>(first, detail::count_between(first, last), std::move(init), op,
                                   same, size);
}

/// As above, of a range.
template <detail::random_access_sized_range R, class T, class Op = std::plus<>>
  requires detail::reduces<Op, T, std::ranges::range_reference_t<R>>
[[nodiscard]] T parallel_reduce(R&& range, T init, Op&& op = {}, grain size = {}) {
  std::identity same;
  return detail::reduce_all<false>(std::ranges::begin(range),
                                   static_cast<std::size_t>(std::ranges::size(range)),
                                   std::move(init), op, same, size);
}

/// As above with the same bits for any number of workers: the range is divided into leaves of
/// `size`, or 1,024, elements, and the leaves are combined in a tree that depends on their number
/// only: the front half, rounded up, with the rest. Costs a fork for each leaf.
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class T,
          class Op = std::plus<>>
  requires detail::reduces<Op, T, std::iter_reference_t<I>>
[[nodiscard]] T parallel_reduce(deterministic_t, I first, S last, T init, Op&& op = {},
                                grain size = {}) {
  std::identity same;
  return detail::reduce_all<true>(first, detail::count_between(first, last), std::move(init), op,
                                  same, size);
}

/// As above, of a range.
template <detail::random_access_sized_range R, class T, class Op = std::plus<>>
  requires detail::reduces<Op, T, std::ranges::range_reference_t<R>>
[[nodiscard]] T parallel_reduce(deterministic_t, R&& range, T init, Op&& op = {}, grain size = {}) {
  std::identity same;
  return detail::reduce_all<true>(std::ranges::begin(range),
                                  static_cast<std::size_t>(std::ranges::size(range)),
                                  std::move(init), op, same, size);
}

/// `parallel_reduce` on any thread: one that is no worker of `on` takes part, see `fork_join`.
template <class... Args>
[[nodiscard]] auto parallel_reduce(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  return parallel_reduce(std::forward<Args>(args)...);
}

/// `parallel_reduce` of `transform(i)` for each integer of [first, last).
template <detail::index_type I, detail::index_type J, class T, class Op, class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::common_type_t<I, J>>
[[nodiscard]] T parallel_transform_reduce(I first, J last, T init, Op&& op, Transform&& transform,
                                          grain size = {}) {
  using index = std::common_type_t<I, J>;
  const auto from = static_cast<index>(first);
  return detail::reduce_all<false>(detail::index_cursor<index>{from},
                                   detail::count_between(from, static_cast<index>(last)),
                                   std::move(init), op, transform, size);
}

/// `parallel_reduce` of `transform(e)` for each element of [first, last).
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class T, class Op,
          class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::iter_reference_t<I>>
[[nodiscard]] T parallel_transform_reduce(I first, S last, T init, Op&& op, Transform&& transform,
                                          grain size = {}) {
  return detail::reduce_all<false>(first, detail::count_between(first, last), std::move(init), op,
                                   transform, size);
}

/// As above, of a range.
template <detail::random_access_sized_range R, class T, class Op, class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::ranges::range_reference_t<R>>
[[nodiscard]] T parallel_transform_reduce(R&& range, T init, Op&& op, Transform&& transform,
                                          grain size = {}) {
  return detail::reduce_all<false>(std::ranges::begin(range),
                                   static_cast<std::size_t>(std::ranges::size(range)),
                                   std::move(init), op, transform, size);
}

/// The deterministic ones of these three.
template <detail::index_type I, detail::index_type J, class T, class Op, class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::common_type_t<I, J>>
[[nodiscard]] T parallel_transform_reduce(deterministic_t, I first, J last, T init, Op&& op,
                                          Transform&& transform, grain size = {}) {
  using index = std::common_type_t<I, J>;
  const auto from = static_cast<index>(first);
  return detail::reduce_all<true>(detail::index_cursor<index>{from},
                                  detail::count_between(from, static_cast<index>(last)),
                                  std::move(init), op, transform, size);
}
template <std::random_access_iterator I, std::sized_sentinel_for<I> S, class T, class Op,
          class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::iter_reference_t<I>>
[[nodiscard]] T parallel_transform_reduce(deterministic_t, I first, S last, T init, Op&& op,
                                          Transform&& transform, grain size = {}) {
  return detail::reduce_all<true>(first, detail::count_between(first, last), std::move(init), op,
                                  transform, size);
}
template <detail::random_access_sized_range R, class T, class Op, class Transform>
  requires detail::transform_reduces<Op, Transform, T, std::ranges::range_reference_t<R>>
[[nodiscard]] T parallel_transform_reduce(deterministic_t, R&& range, T init, Op&& op,
                                          Transform&& transform, grain size = {}) {
  return detail::reduce_all<true>(std::ranges::begin(range),
                                  static_cast<std::size_t>(std::ranges::size(range)),
                                  std::move(init), op, transform, size);
}

/// `parallel_transform_reduce` on any thread, see `fork_join`.
template <class... Args>
[[nodiscard]] auto parallel_transform_reduce(runtime& on, Args&&... args) {
  const detail::fork_guest here(on.scheduler());
  return parallel_transform_reduce(std::forward<Args>(args)...);
}

} // namespace weir
