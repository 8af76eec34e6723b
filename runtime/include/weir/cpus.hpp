// SPDX-License-Identifier: MIT
/// \file
/// How many CPUs this process may really use.
#pragma once

#include <weir/version.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace weir {

/// The answer of `usable_cpus`, with its reasons.
struct cpu_budget {
  /// CPUs worth starting workers for: affinity, cut to the quota rounded up. At least 1.
  std::size_t count = 1;
  /// CPUs in the calling thread's affinity mask, which new threads inherit.
  std::size_t affinity = 1;
  /// The smallest CPU quota of the process's cgroup and all its ancestors, in CPUs; none if
  /// unlimited.
  std::optional<double> quota;
  /// For logs, such as "2: affinity 8, quota 1.5 from /sys/fs/cgroup/app/cpu.max".
  std::string reason;
};

/// Reads the affinity mask and the cgroup v1 or v2 CPU quota, including every ancestor up to the
/// mount point. Files that are missing or malformed count as "no limit". Reads a handful of small
/// files; never throws except `std::bad_alloc`. Thread safety: any thread.
[[nodiscard]] WEIR_API cpu_budget usable_cpus();

/// As `usable_cpus()`, with `/proc` and `/sys` looked up below `root` and the affinity given.
[[nodiscard]] WEIR_API cpu_budget usable_cpus(const std::filesystem::path& root,
                                              std::size_t affinity);

} // namespace weir
