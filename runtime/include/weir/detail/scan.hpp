// SPDX-License-Identifier: MIT
/// \file
/// Prefix sums, of blocks of a fixed size.
///
/// The calling thread goes through the blocks from the front, knows the sum of all before, and
/// writes results at once. A thief that takes the back half does not know it: it adds up its blocks
/// only, and when the front has been written, so have been their beginnings, and the blocks of the
/// back are written beside each other. So nobody's help costs nothing, and help costs a second look
/// at what was helped with.
#pragma once

#include <weir/detail/parallel_range.hpp>
#include <weir/detail/sync.hpp>
#include <weir/fork_join.hpp>
#include <weir/parallel_reduce.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace weir::detail {

/// `Inclusive`: a result includes the element at its place.
template <bool Inclusive, class T, class I, class O, class Op>
class scan {
 public:
  scan(const I& from, std::size_t count, const O& to, Op& op, grain size)
      : from_(from), to_(to), op_(op), count_(count),
        block_(size.elements() != 0 ? size.elements()
                                    : std::clamp<std::size_t>(count / 256, 1, largest_block)),
        sums_((count - 1) / block_ + 1) {}

  /// \param before what all elements come after; none only if `Inclusive`.
  void run(std::optional<T> before) { (void)known(0, sums_.size(), std::move(before)); }

 private:
  static constexpr std::size_t largest_block = 8192;
  using sum = std::optional<T>;

  [[nodiscard]] std::size_t begin_of(std::size_t block) const noexcept { return block * block_; }
  [[nodiscard]] std::size_t end_of(std::size_t block) const noexcept {
    return std::min(count_ - begin_of(block), block_) + begin_of(block);
  }
  T combine(const T& a, const T& b) { return static_cast<T>(std::invoke(op_, a, b)); }

  /// Writes blocks [first, last). \return the sum of all up to `last`.
  [[gnu::noinline]] sum known(std::size_t first, std::size_t last, sum before) {
    const fork_stack& forks = *this_forks;
    for (; first != last; ++first) {
      if (last - first > 1 && forks.hungry()) [[unlikely]]
        return divide(first, last, std::move(before));
      write(first, before);
    }
    return before;
  }

  sum divide(std::size_t first, std::size_t last, sum before) {
    const std::size_t middle = first + (last - first + 1) / 2;
    sync::atomic<bool> front_written{false};
    bool back_written = false;
    sum after;
    weir::fork_join(
        [&] {
          before = known(first, middle, std::move(before));
          front_written.store(true, std::memory_order_release); // pairs with the load below
        },
        [&] {
          // Acquire: pairs with the store above; `before` is seen. So it is on the same thread.
          if (front_written.load(std::memory_order_acquire)) {
            after = known(middle, last, std::move(before));
            back_written = true;
          } else {
            add_up(middle, last);
          }
        });
    if (back_written)
      return after;
    for (std::size_t i = middle; i != last; ++i) {
      after = combine(*before, *sums_[i]);
      sums_[i] = std::exchange(before, std::move(after));
    }
    run_part(
        [this](std::size_t block, std::size_t count) {
          for (; count != 0; --count, ++block)
            write(block, sums_[block]);
        },
        middle, last, pieces({}));
    return before;
  }

  void add_up(std::size_t first, std::size_t last) {
    std::identity same;
    const pieces whole(grain{block_});
    const reduction<T, I, Op, std::identity> all(from_, op_, same, whole);
    run_part(
        [&](std::size_t block, std::size_t count) {
          for (; count != 0; --count, ++block)
            sums_[block] = all.run(begin_of(block), end_of(block));
        },
        first, last, pieces({}));
  }

  /// Writes a block's results. \param before changes from what is before to what is before the next
  /// one.
  void write(std::size_t block, sum& before) {
    loop_callable<Op> op = op_;
    std::size_t count = end_of(block) - begin_of(block);
    I at = moved(from_, begin_of(block));
    O out = moved(to_, begin_of(block));
    if (!before) {
      before.emplace(*at);
      *out = *before;
      ++at;
      ++out;
      --count;
    }
    T all = std::move(*before);
    for (; count != 0; --count, ++at, ++out) {
      if constexpr (Inclusive) {
        all = static_cast<T>(std::invoke(op, std::move(all), *at));
        *out = all;
      } else {
        T next = static_cast<T>(std::invoke(op, std::as_const(all), *at));
        *out = std::move(all);
        all = std::move(next);
      }
    }
    *before = std::move(all);
  }

  const I& from_;
  const O& to_;
  Op& op_;
  const std::size_t count_;
  const std::size_t block_;
  // Of a block; then of all blocks before it.
  std::vector<sum> sums_;
};

template <bool Inclusive, class T, class I, class O, class Op>
O scan_all(const I& from, std::size_t count, const O& to, std::optional<T> init, Op& op,
           grain size) {
  require_forks();
  if (count != 0)
    scan<Inclusive, T, I, O, Op>(from, count, to, op, size).run(std::move(init));
  return moved(to, count);
}

template <class Op, class T, class V, class O>
concept scans = std::copyable<T> && reduces<Op, T, V> && reduces<Op, T, const T&> &&
                std::invocable<std::remove_reference_t<Op>&, const T&, const T&> &&
                std::indirectly_writable<O, T&>;

} // namespace weir::detail
