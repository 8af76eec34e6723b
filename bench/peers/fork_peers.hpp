// SPDX-License-Identifier: MIT
// Where a fork-join problem runs: each peer has a number of threads and runs one callable on them.
#pragma once

#include <weir/weir.hpp>

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

/// A runtime; the calling thread sleeps meanwhile, so that as many threads work as the others have.
class weir_peer {
 public:
  explicit weir_peer(int workers) : runtime_({.workers = static_cast<std::size_t>(workers)}) {}
  template <class F>
  auto run(F f) {
    return runtime_.submit(std::move(f)).get();
  }

 private:
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
