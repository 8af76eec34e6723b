// SPDX-License-Identifier: MIT
// OpenMP: its tasks, its loops with two schedules, and the parallel sort of GCC's standard library,
// which is built on it. The calling thread is one of the team.
#pragma once

#include "fork_face.hpp"
#include "openmp_library.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <omp.h>
// It uses what C++20 has deprecated, where Clang sees it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <parallel/algorithm>
#pragma GCC diagnostic pop

namespace bench {

/// The team of the parallel regions inside.
class openmp_team {
 public:
  explicit openmp_team(int threads) {
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
  }
  template <class F>
  auto run(F f) {
    return f();
  }
};

class openmp_tasks : public openmp_team {
 public:
  static inline const std::string name = openmp_library() + "-tasks";
  static constexpr long most_forks =
      5'000'000; // libgomp: up to a microsecond each with two threads
  using openmp_team::openmp_team;

  /// In a parallel region of which one thread begins.
  template <class F>
  auto run(F f) {
    std::optional<decltype(f())> result;
#pragma omp parallel default(shared)
#pragma omp single
    result = f();
    return *std::move(result);
  }

  template <class F, class G>
  static auto both(const F& f, const G& g) {
    std::pair<decltype(f()), decltype(g())> results;
#pragma omp task default(shared)
    results.first = f();
    results.second = g();
#pragma omp taskwait
    return results;
  }
  template <class F>
  static auto fold(std::size_t count, const F& f) {
    child_results<decltype(f(count))> results(count);
    for (std::size_t i = 0; i < count; ++i) {
#pragma omp task default(shared) firstprivate(i)
      results[i] = f(i);
    }
#pragma omp taskwait
    return results.sum();
  }
  /// A task for each item and stage, after that of the item's last stage and of the stage's last
  /// item.
  template <class Stream>
  static void pipeline(Stream& stream) {
    typename Stream::item in_flight[Stream::in_flight] = {};
    [[maybe_unused]] char stage_done[Stream::stages] = {};
    for (std::size_t i = 0; i < Stream::items; ++i) {
      auto* const at = &in_flight[i % Stream::in_flight];
      for (std::size_t s = 0; s < Stream::stages; ++s) {
#pragma omp task default(shared) firstprivate(i, s, at) depend(inout : at[0], stage_done[s])
        {
          *at = stream.stage(s, s == 0 ? stream.source(i) : *at);
          if (s + 1 == Stream::stages)
            stream.sink(*at);
        }
      }
    }
#pragma omp taskwait
  }
};

class openmp_static : public openmp_team {
 public:
  static inline const std::string name = openmp_library() + "-static";
  using openmp_team::openmp_team;

  template <class F>
  static void loop(std::size_t size, loop_hints, const F& f) {
#pragma omp parallel for schedule(static)
    for (std::size_t i = 0; i < size; ++i)
      f(i);
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    std::uint64_t total = 0;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (std::size_t i = 0; i < values.size(); ++i)
      total += f(values[i]);
    return total;
  }
};

class openmp_dynamic : public openmp_team {
 public:
  static inline const std::string name = openmp_library() + "-dynamic";
  using openmp_team::openmp_team;

  template <class F>
  static void loop(std::size_t size, loop_hints hints, const F& f) {
#pragma omp parallel for schedule(dynamic, hints.chunk)
    for (std::size_t i = 0; i < size; ++i)
      f(i);
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    std::uint64_t total = 0;
#pragma omp parallel for schedule(dynamic, 4096) reduction(+ : total)
    for (std::size_t i = 0; i < values.size(); ++i)
      total += f(values[i]);
    return total;
  }
};

class openmp_gnu : public openmp_team {
 public:
  static inline const std::string name = openmp_library() + "-gnu";
  using openmp_team::openmp_team;

  template <class I>
  static void sort(I first, I last) {
    __gnu_parallel::sort(first, last);
  }
};

} // namespace bench
