// SPDX-License-Identifier: MIT
// What several tests need.
#pragma once

#include <weir/error.hpp>

#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>

namespace test {

/// Concurrency tests run on each of these numbers of workers.
inline constexpr std::size_t worker_counts[] = {1, 2, 16};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

/// Fewer rounds where each costs ten times as much.
constexpr int rounds(int plain) {
  return sanitized ? (plain + 9) / 10 : plain;
}

/// Waits for what another thread will do; the runner's timeout is the judge if it never does.
template <class Predicate>
void eventually(Predicate&& holds) {
  while (!holds())
    std::this_thread::yield();
}

/// The code of the `weir::error` that `f` throws; none if it throws nothing.
template <class F>
std::error_code code_of(F&& f) {
  try {
    f();
  } catch (const weir::error& e) {
    return e.code();
  }
  return {};
}

/// A door that tasks wait at, blocking their worker, until the test opens it.
class gate {
 public:
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  void pass() const { open_.wait(false); }

 private:
  std::atomic<bool> open_{false};
};

} // namespace test
