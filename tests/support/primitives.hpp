// SPDX-License-Identifier: MIT
// What the tests of the primitives share.
#pragma once

#include <weir/runtime.hpp>

#include <exception>
#include <system_error>
#include <utility>

namespace test {

inline weir::runtime_options with_workers(std::size_t count) {
  weir::runtime_options options;
  options.workers = count;
  return options;
}

/// On a runtime with one worker: everything that was submitted by this thread before has run until
/// it waits or has ended.
inline void settle(weir::runtime& rt) {
  rt.submit([] {}).get();
}

/// How an awaited thing ended.
enum class ending { value, cancelled, error };

template <class T>
ending ending_of(weir::handle<T>& handle) {
  try {
    (void)handle.get();
    return ending::value;
  } catch (const weir::task_cancelled&) {
    return ending::cancelled;
  } catch (const std::exception&) {
    return ending::error;
  }
}

template <>
inline ending ending_of(weir::handle<void>& handle) {
  try {
    handle.get();
    return ending::value;
  } catch (const weir::task_cancelled&) {
    return ending::cancelled;
  } catch (const std::exception&) {
    return ending::error;
  }
}

/// Stops the calling thread for a few instructions, differently many in each round, so that two
/// sides of a race meet at different points.
inline void stagger(int round) {
  for (int i = 0; i < (round % 64) * 8; ++i)
    weir::detail::sync::relax();
}

} // namespace test
