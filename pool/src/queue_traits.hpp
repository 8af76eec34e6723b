// SPDX-License-Identifier: MIT
#pragma once

#include "concurrent_queue.hpp"

#include <cstddef>
#include <new>

namespace weir::detail {

/// Allocation through `operator new`, so that programs (and tests) that replace it see everything.
struct queue_traits : moodycamel::ConcurrentQueueDefaultTraits {
  static void*(malloc)(std::size_t size) { return ::operator new(size, std::nothrow); }
  static void(free)(void* memory) { ::operator delete(memory); }
};

} // namespace weir::detail
