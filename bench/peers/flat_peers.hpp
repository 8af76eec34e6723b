// SPDX-License-Identifier: MIT
// All peers for questions about flat work. A new one is a file like the others, and a line in both
// lists here.
#pragma once

#include "face.hpp"
#include "serial_calls.hpp"

// Standalone Asio and Boost.Asio share names, so they cannot be in one program.
#ifdef BENCH_BOOST_ASIO_ALONE
#include "boost_asio_pool.hpp"
#else
#include "plain_threads.hpp"
#include "queue_pool.hpp"
#include "std_async.hpp"
#include "weir_forks.hpp"
#include "weir_runtime.hpp"
#ifdef BENCH_HAS_ASIO
#include "asio_pool.hpp"
#endif
#ifdef BENCH_HAS_BOOST_FIBER
#include "boost_fibers.hpp"
#endif
#ifdef BENCH_HAS_EIGEN
#include "eigen_pool.hpp"
#endif
#ifdef BENCH_HAS_TBB
#include "tbb_arena.hpp"
#endif
#ifdef _OPENMP
#include "openmp_tasks.hpp"
#endif
#endif

namespace bench {

/// Calls `add.template operator()<Peer>()` for each.
template <class Add>
void for_each_peer(Add add) {
#ifdef BENCH_BOOST_ASIO_ALONE
  add.template operator()<boost_asio_pool>();
#else
  add.template operator()<weir_runtime>();
  add.template operator()<weir_forks>();
  add.template operator()<mutex_pool>();
  add.template operator()<plain_threads>();
  add.template operator()<serial_calls>();
  add.template operator()<std_async>();
#ifdef BENCH_HAS_BLOCKING_QUEUE
  add.template operator()<moodycamel_pool>();
#endif
#ifdef BENCH_HAS_ASIO
  add.template operator()<asio_pool>();
#endif
#ifdef BENCH_HAS_BOOST_FIBER
  add.template operator()<boost_fibers>();
#endif
#ifdef BENCH_HAS_EIGEN
  add.template operator()<eigen_pool>();
#endif
#ifdef BENCH_HAS_TBB
  add.template operator()<tbb_arena>();
#endif
#ifdef _OPENMP
  add.template operator()<openmp_tasks>();
#endif
#endif
}

} // namespace bench
