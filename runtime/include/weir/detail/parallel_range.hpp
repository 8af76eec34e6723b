// SPDX-License-Identifier: MIT
/// \file
/// How the parallel algorithms go through a range: front to back in pieces, and half of what is
/// left is forked when somebody wants it.
///
/// After Tzannes et al., "Lazy binary-splitting" (2010): before each piece the thread looks whether
/// it has anything that thieves could take. Only if not, it forks the back half of what is left. So
/// a range is divided as often as somebody takes a part, and about log2(size) times if nobody does,
/// whatever the bodies cost.
#pragma once

#include <weir/detail/fork_loop.hpp>
#include <weir/detail/sync.hpp>
#include <weir/fork_join.hpp>
#include <weir/grain.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// The sizes of pieces.
class pieces {
 public:
  explicit pieces(grain chosen) noexcept {
    if (chosen.elements() != 0)
      least_ = most_ = chosen.elements();
  }

  /// Whether `left` elements may be divided.
  [[nodiscard]] bool divisible(std::size_t left) const noexcept { return left > least_; }
  /// How many elements are gone through next, if `left` are divisible. Few beside what is left, so
  /// that costly bodies do not hold up the others; enough for an inner loop.
  [[nodiscard]] std::size_t next(std::size_t left) const noexcept {
    return std::clamp(left / 64, least_, most_);
  }
  /// As above, but no more than `limit`, unless that divides what belongs together, and only as
  /// many as `worth` a look at who wants some if that is known: not much more than these, and not
  /// much less.
  [[nodiscard]] std::size_t next(std::size_t left, std::size_t limit,
                                 const std::optional<std::size_t>& worth) const noexcept {
    if (!worth)
      return std::clamp(std::min(left / 64, limit), least_, most_);
    const auto wanted = std::clamp(left / 64, std::min(left / 8, *worth), 2 * *worth);
    return std::max(least_, std::min(wanted, limit));
  }
  /// Whether the size was given.
  [[nodiscard]] bool given() const noexcept { return least_ == most_; }
  /// Of how many the front half is: whole pieces if their size is given.
  [[nodiscard]] std::size_t half(std::size_t left) const noexcept {
    return ((left - 1) / least_ / 2 + 1) * least_;
  }

 private:
  std::size_t least_ = 1;
  std::size_t most_ = 2048;
};

/// How many elements are gone through in some microseconds, if they cost what the last ones have.
/// The clock is left alone at pieces that are so short that reading it would count.
class pace {
 public:
  explicit pace(const pieces& sizes) noexcept : reads_from_(sizes.given() ? SIZE_MAX : 0) {}

  /// 0: one takes longer. Nothing as long as that is unknown.
  [[nodiscard]] const std::optional<std::size_t>& worth() const noexcept { return worth_; }
  /// Before and after each piece.
  void piece_begins(std::size_t count) noexcept {
    if (reads_at(count))
      began_ = sync::ticks();
  }
  void piece_ended(std::size_t count) noexcept {
    if (reads_at(count))
      look(count, sync::ticks() - began_);
  }
  [[nodiscard]] bool reads_at(std::size_t count) const noexcept { return count >= reads_from_; }
  /// `count` elements took so many ticks.
  void look(std::size_t count, std::uint64_t took) noexcept {
    const auto found = 8 * sync::ticks_in_a_moment() * count / std::max<std::uint64_t>(took, 1);
    // Not much more at once: what follows a glimpse of cheap ones may cost.
    const auto limit = worth_ ? std::min(8 * *worth_ + 1, most) : most;
    worth_ = static_cast<std::size_t>(std::min<std::uint64_t>(found, limit));
    reads_from_ = *worth_ < most / 4 ? 0 : most / 4;
  }

 private:
  static constexpr std::size_t most = 8192;

  std::size_t reads_from_;
  std::optional<std::size_t> worth_;
  std::uint64_t began_ = 0;
};

template <class Run>
class range_loop final : public fork_loop {
 public:
  range_loop(const Run& run, const pieces& sizes) noexcept : run_(run), sizes_(sizes) {}
  using fork_loop::run;

 private:
  loop_piece run_piece(fork_stack& forks, loop_piece piece, loop_watch* watch) noexcept override {
    const std::size_t begin = piece.first;
    pace bodies(sizes_);
    try {
      while (piece.size() != 0) {
        std::size_t count = piece.size();
        if (sizes_.divisible(count)) {
          if (forks.hungry()) [[unlikely]] {
            if (cut_off(forks, piece, piece.first + sizes_.half(count)))
              continue;
          }
          count = sizes_.next(count, watch == nullptr ? SIZE_MAX : watch->most(), bodies.worth());
        }
        const std::size_t first = piece.first;
        piece.first += count;
        bodies.piece_begins(count);
        run_(first, count);
        bodies.piece_ended(count);
        if (watch != nullptr && watch->due(count))
          break;
      }
    } catch (...) {
      failed(begin);
      piece.first = piece.last;
    }
    return piece;
  }

  const Run& run_;
  const pieces& sizes_;
};

/// Calls `run(first, count)` for parts of [first, last).
template <class Run>
void run_part(const Run& run, std::size_t first, std::size_t last, const pieces& sizes) {
  if (sizes.divisible(last - first))
    range_loop<Run>(run, sizes).run({first, last});
  else if (first != last)
    run(first, last - first);
}

/// An integer as the iterator of a range of integers.
template <std::integral I>
struct index_cursor {
  I value;

  I operator*() const noexcept { return value; }
  I operator[](std::size_t offset) const noexcept { return moved(offset).value; }
  index_cursor& operator++() noexcept {
    ++value;
    return *this;
  }
  [[nodiscard]] index_cursor moved(std::size_t by) const noexcept {
    return {static_cast<I>(static_cast<std::make_unsigned_t<I>>(value) +
                           static_cast<std::make_unsigned_t<I>>(by))};
  }
  friend bool operator==(index_cursor, index_cursor) noexcept = default;
};

template <class I>
[[nodiscard]] index_cursor<I> moved(index_cursor<I> from, std::size_t by) noexcept {
  return from.moved(by);
}
template <std::random_access_iterator I>
[[nodiscard]] I moved(const I& from, std::size_t by) {
  return from + static_cast<std::iter_difference_t<I>>(by);
}

template <class C>
using cursor_value_t = decltype(*std::declval<const C&>());

template <class I>
concept index_type = std::integral<I> && !std::same_as<std::remove_cv_t<I>, bool>;

/// How many integers are in [first, last).
template <std::integral I>
[[nodiscard]] std::size_t count_between(I first, I last) noexcept {
  using bits = std::make_unsigned_t<I>;
  return first < last ? static_cast<bits>(static_cast<bits>(last) - static_cast<bits>(first)) : 0;
}
template <std::random_access_iterator I, std::sized_sentinel_for<I> S>
[[nodiscard]] std::size_t count_between(const I& first, const S& last) {
  const auto count = last - first;
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

template <class R>
concept random_access_sized_range =
    std::ranges::random_access_range<R> && std::ranges::sized_range<R>;

template <class F>
inline constexpr bool is_copied_into_loops = false;
template <class F>
  requires std::is_object_v<F>
inline constexpr bool is_copied_into_loops<F> =
    std::is_trivially_copyable_v<F> && std::is_copy_constructible_v<F> && sizeof(F) <= 64;

/// What an inner loop calls: a copy if nobody can tell it from the original, because the compiler
/// keeps the copy's members in registers whatever the loop writes to.
template <class F>
using loop_callable = std::conditional_t<is_copied_into_loops<F>, F, F&>;

/// Calls `body` with each element of [from, from + count).
template <class C, class F>
void for_all(const C& from, std::size_t count, F& body, const pieces& sizes) {
  static_assert(
      !gives_task<F&, decltype(*from)>,
      "the body of a parallel loop is a function; a coroutine would only be made here and "
      "not run: fork tasks by co_await when_all(range of tasks), or a task group");
  require_forks();
  run_part(
      [&from, &body](std::size_t first, std::size_t size) {
        loop_callable<F> call = body;
        const C end = moved(from, first + size);
        for (C at = moved(from, first); at != end; ++at)
          std::invoke(call, *at);
      },
      0, count, sizes);
}

} // namespace weir::detail
