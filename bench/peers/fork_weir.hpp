// SPDX-License-Identifier: MIT
// weir's forks: functions, and what runs its coroutines.
#pragma once

#include "fork_face.hpp"

#include <weir/weir.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

namespace bench {

/// A runtime and the calling thread, which takes part. A runtime has one worker at least: one
/// thread alone is that worker.
class weir_functions {
 public:
  static constexpr const char* name = "weir-functions";

  explicit weir_functions(int threads)
      : takes_part_(threads > 1),
        runtime_({.workers = static_cast<std::size_t>(std::max(1, threads - 1))}) {}
  template <class F>
  auto run(F f) {
    if (takes_part_)
      return weir::with_fork_scope(runtime_, [&f](weir::fork_scope&) { return f(); });
    return runtime_.submit(std::move(f)).get();
  }

  template <class F, class G>
  static auto both(F&& f, G&& g) {
    return weir::fork_join(std::forward<F>(f), std::forward<G>(g));
  }
  template <class F>
  static auto fold(std::size_t count, const F& f) {
    return part(f, 0, count);
  }
  template <std::size_t Count, class F>
  static auto fold_fixed(const F& f) {
    return fixed_part<0, Count>(f);
  }
  template <class F>
  static void loop(std::size_t size, loop_hints, const F& f) {
    weir::parallel_for(std::size_t{0}, size, f);
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    return weir::parallel_transform_reduce(values, std::uint64_t{0}, std::plus<>(), f);
  }
  template <class I>
  static void sort(I first, I last) {
    weir::parallel_sort(first, last);
  }

 private:
  /// Children by halves, so that one of them stands for as many as it can.
  template <class F>
  static auto part(const F& f, std::size_t first, std::size_t count) -> decltype(f(first)) {
    if (count == 1)
      return f(first);
    const std::size_t half = count / 2;
    auto [total, others] =
        weir::fork_join([&f, first, half] { return part(f, first, half); },
                        [&f, first, half, count] { return part(f, first + half, count - half); });
    total += others;
    return total;
  }
  template <std::size_t First, std::size_t Count, class F>
  static auto fixed_part(const F& f) -> decltype(f(First)) {
    if constexpr (Count == 1) {
      return f(First);
    } else {
      constexpr std::size_t half = Count / 2;
      auto [total, others] =
          weir::fork_join([&f] { return fixed_part<First, half>(f); },
                          [&f] { return fixed_part<First + half, Count - half>(f); });
      total += others;
      return total;
    }
  }

  bool takes_part_;
  weir::runtime runtime_;
};

/// A runtime whose workers do everything; the calling thread sleeps meanwhile. A problem has its
/// own coroutines, see `coroutines()` in those.
class weir_coroutines {
 public:
  static constexpr const char* name = "weir-coroutines";

  explicit weir_coroutines(int workers)
      : runtime_({.workers = static_cast<std::size_t>(workers)}) {}
  template <class F>
  auto run(F f) {
    return runtime_.submit(std::move(f)).get();
  }

 private:
  weir::runtime runtime_;
};

} // namespace bench
