// SPDX-License-Identifier: MIT
// All peers for problems of fork and join. A new one is a file like the others, and a line here.
#pragma once

#include "fork_async.hpp"
#include "fork_face.hpp"
#include "fork_weir.hpp"

#ifdef BENCH_HAS_TBB
#include "fork_stdpar.hpp"
#include "fork_tbb.hpp"
#endif
#ifdef _OPENMP
#include "fork_openmp.hpp"
#endif
#ifdef BENCH_HAS_BOOST_FIBER
#include "fork_fibers.hpp"
#endif
#ifdef BENCH_HAS_EIGEN
#include "fork_eigen.hpp"
#endif

namespace bench {

/// Calls `use.template operator()<Peer>()` for each.
template <class Use>
void for_each_fork_peer(Use use) {
  use.template operator()<weir_functions>();
  use.template operator()<std_async>();
#ifdef BENCH_HAS_TBB
  use.template operator()<onetbb>();
  use.template operator()<std_par>();
#endif
#ifdef _OPENMP
  use.template operator()<openmp_tasks>();
  use.template operator()<openmp_static>();
  use.template operator()<openmp_dynamic>();
  use.template operator()<openmp_gnu>();
#endif
#ifdef BENCH_HAS_BOOST_FIBER
  use.template operator()<fork_fibers>();
#endif
#ifdef BENCH_HAS_EIGEN
  use.template operator()<eigen_device>();
#endif
}

} // namespace bench
