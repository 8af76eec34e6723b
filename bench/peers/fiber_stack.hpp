// SPDX-License-Identifier: MIT
// The stacks of Boost.Fiber's fibers, so that their memory stays in the process: giving it back and
// getting it again takes fifty times as long as a fork of fib16.
#pragma once

#include <boost/fiber/fixedsize_stack.hpp>
#include <malloc.h>

namespace bench {

/// For the whole program, before the first fiber.
inline void keep_fiber_stacks() {
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

/// Half of the usual size: malloc takes the usual one from the kernel and gives it back each time.
inline boost::fibers::fixedsize_stack fiber_stack() {
  return boost::fibers::fixedsize_stack(64 * 1024);
}

} // namespace bench
