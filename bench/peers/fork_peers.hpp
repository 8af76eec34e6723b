// SPDX-License-Identifier: MIT
// Where a fork-join problem runs: each peer has a number of threads and runs one callable on them.
#pragma once

#include <weir/weir.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

#ifdef BENCH_HAS_TBB
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

namespace bench {

/// The calling thread alone, without any library.
struct serial_peer {
  explicit serial_peer(int) {}
  template <class F>
  auto run(F f) {
    return f();
  }
};

/// A runtime whose workers do everything; the calling thread sleeps meanwhile.
class weir_workers {
 public:
  explicit weir_workers(int workers) : runtime_({.workers = static_cast<std::size_t>(workers)}) {}
  template <class F>
  auto run(F f) {
    return runtime_.submit(std::move(f)).get();
  }

 private:
  weir::runtime runtime_;
};

/// A runtime and the calling thread, which takes part. A runtime has one worker at least: one
/// thread alone is that worker.
class weir_peer {
 public:
  explicit weir_peer(int threads)
      : takes_part_(threads > 1),
        runtime_({.workers = static_cast<std::size_t>(std::max(1, threads - 1))}) {}
  template <class F>
  auto run(F f) {
    if (takes_part_)
      return weir::with_fork_scope(runtime_, [&f](weir::fork_scope&) { return f(); });
    return runtime_.submit(std::move(f)).get();
  }

 private:
  bool takes_part_;
  weir::runtime runtime_;
};

#ifdef BENCH_HAS_TBB
/// An arena, of which the calling thread is one.
class tbb_peer {
 public:
  explicit tbb_peer(int workers)
      : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers)),
        arena_(workers) {}
  template <class F>
  auto run(F f) {
    return arena_.execute(std::move(f));
  }

 private:
  tbb::global_control limit_;
  tbb::task_arena arena_;
};
#endif

#ifdef _OPENMP
/// The team of the parallel regions inside, of which the calling thread is one.
class openmp_peer {
 public:
  explicit openmp_peer(int workers) {
    omp_set_dynamic(0);
    omp_set_num_threads(workers);
  }
  template <class F>
  auto run(F f) {
    return f();
  }
};
#endif

} // namespace bench
