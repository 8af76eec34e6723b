// SPDX-License-Identifier: MIT
// oneTBB: its algorithms with their own partitioners, in an arena of which the calling thread is
// one.
#pragma once

#include "fork_face.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/parallel_reduce.h>
#include <tbb/parallel_sort.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

namespace bench {

/// So many threads of oneTBB, of which the calling one is one.
class tbb_threads {
 public:
  explicit tbb_threads(int threads)
      : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads)),
        arena_(threads) {}
  template <class F>
  auto run(F f) {
    return arena_.execute(std::move(f));
  }

 private:
  tbb::global_control limit_;
  tbb::task_arena arena_;
};

class onetbb : public tbb_threads {
 public:
  static constexpr const char* name = "onetbb";
  using tbb_threads::tbb_threads;

  template <class F, class G>
  static auto both(const F& f, const G& g) {
    std::pair<decltype(f()), decltype(g())> results;
    tbb::parallel_invoke([&] { results.first = f(); }, [&] { results.second = g(); });
    return results;
  }
  template <class F>
  static auto fold(std::size_t count, const F& f) {
    child_results<decltype(f(count))> results(count);
    tbb::task_group children;
    for (std::size_t i = 0; i < count; ++i)
      children.run([&f, i, &result = results[i]] { result = f(i); });
    children.wait();
    return results.sum();
  }
  template <std::size_t Count, class F>
  static auto fold_fixed(const F& f) {
    child_results<decltype(f(Count))> results(Count);
    invoke(f, results, std::make_index_sequence<Count>());
    return results.sum();
  }
  template <class F>
  static void loop(std::size_t size, loop_hints, const F& f) {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, size),
                      [&f](const tbb::blocked_range<std::size_t>& part) {
                        for (std::size_t i = part.begin(), end = part.end(); i != end; ++i)
                          f(i);
                      });
  }
  template <class F>
  static std::uint64_t sum(std::span<const std::uint32_t> values, F f) {
    using range = tbb::blocked_range<const std::uint32_t*>;
    return tbb::parallel_reduce(
        range(values.data(), values.data() + values.size()), std::uint64_t{0},
        [f](const range& part, std::uint64_t total) {
          for (const std::uint32_t x : part)
            total += f(x);
          return total;
        },
        std::plus<>());
  }
  template <class I>
  static void sort(I first, I last) {
    tbb::parallel_sort(first, last);
  }
  template <class Stream>
  static void pipeline(Stream& stream) {
    using item = typename Stream::item;
    constexpr auto in_order = tbb::filter_mode::serial_in_order;
    std::size_t next = 0;
    auto stages = tbb::make_filter<void, item>(in_order, [&](tbb::flow_control& control) {
      if (next == Stream::items) {
        control.stop();
        return item{};
      }
      return stream.stage(0, stream.source(next++));
    });
    for (std::size_t s = 1; s < Stream::stages; ++s)
      stages &= tbb::make_filter<item, item>(in_order,
                                             [&stream, s](item x) { return stream.stage(s, x); });
    tbb::parallel_pipeline(
        Stream::in_flight,
        stages & tbb::make_filter<item, void>(in_order, [&stream](item x) { stream.sink(x); }));
  }

 private:
  template <class F, class Results, std::size_t... I>
  static void invoke(const F& f, Results& results, std::index_sequence<I...>) {
    tbb::parallel_invoke([&f, &result = results[I]] { result = f(I); }...);
  }
};

} // namespace bench
