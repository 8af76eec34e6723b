// SPDX-License-Identifier: MIT
// Where parallel algorithms are called in tests.
#pragma once

#include <weir/fork_join.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include <support/support.hpp>

namespace test {

/// Calls `f()` on a worker, on a guest and inside a fork of runtimes of all sizes. It must not
/// CHECK.
template <class F>
void everywhere(F&& f) {
  for (const auto workers : worker_counts) {
    weir::runtime rt{{.workers = workers}};
    rt.submit([&] { f(); }).get();
    weir::with_fork_scope(rt, [&](weir::fork_scope&) { f(); });
    weir::parallel_invoke(rt, [&] { f(); }, [&] { f(); });
  }
}

/// Sizes at which something may go wrong.
inline constexpr std::size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 1025, 40'001};

/// Whether each has been counted so often.
inline bool all_are(const std::vector<int>& counts, int wanted) {
  return std::ranges::all_of(counts, [wanted](int count) { return count == wanted; });
}

/// What several threads have found wrong.
class faults {
 public:
  void check(bool good) noexcept {
    if (!good)
      ++count_;
  }
  [[nodiscard]] int count() const noexcept { return count_; }

 private:
  std::atomic<int> count_{0};
};

} // namespace test
