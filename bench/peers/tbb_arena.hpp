// SPDX-License-Identifier: MIT
// oneTBB behind the benchmarks' common face (face.hpp): an arena of workers, into which outside
// threads enqueue; jobs start others in a task_group, which is the faster way there.
#pragma once

#include "face.hpp"

#include <cstddef>
#include <future>
#include <utility>

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

namespace bench {

class tbb_arena {
 public:
  static constexpr const char* name = "onetbb";

  /// No slot is reserved for the calling thread, which never works in the arena.
  explicit tbb_arena(std::size_t workers)
      : limit_(tbb::global_control::max_allowed_parallelism, workers + 1),
        arena_(static_cast<int>(workers), 0) {}
  tbb_arena(const tbb_arena&) = delete;
  tbb_arena& operator=(const tbb_arena&) = delete;
  ~tbb_arena() {
    arena_.execute([&] { group_.wait(); });
  }

  template <class F>
  void post(F f) {
    arena_.enqueue(std::move(f));
  }
  template <class F>
  void post_from_job(F f) {
    group_.run(std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    post([&] { result.set_value(f()); });
    return got.get();
  }

  template <class F>
  void fan_out(long rounds, long width, F f) {
    round_trip([=] {
      for (long round = 0; round < rounds; ++round) {
        tbb::task_group group;
        for (long i = 0; i < width; ++i)
          group.run(f);
        group.wait();
      }
      return 0;
    });
  }

  template <class Hold>
  void cancel_queued(long n, Hold& hold) {
    tbb::task_group group;
    for (long i = 0; i < n; ++i)
      arena_.enqueue(group.defer(empty_job()));
    hold.queued();
    group.cancel();
    hold.release();
    arena_.execute([&] { group.wait(); });
  }

  template <class F>
  void region(long n, const F& body) {
    round_trip([n, &body] {
      tbb::parallel_for(0L, n, body);
      return 0;
    });
  }

 private:
  tbb::global_control limit_;
  tbb::task_arena arena_;
  tbb::task_group group_;
};

} // namespace bench
