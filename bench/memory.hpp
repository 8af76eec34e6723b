// SPDX-License-Identifier: MIT
// How much memory this process has.
#pragma once

#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>

namespace bench {

/// Whether runs report the peak of the process's memory. Of use if the process runs one of them.
inline bool reports_memory = false;

/// A size that /proc/self/status gives, in bytes, or 0.
inline std::size_t size_in_status(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == name) {
      std::size_t kilobytes = 0;
      status >> kilobytes;
      return kilobytes * 1024;
    }
  }
  return 0;
}

inline std::size_t resident_memory() {
  return size_in_status("VmRSS:");
}

/// The largest resident set that this process has had. Not from getrusage(), which also remembers
/// the process that this one was before exec.
inline std::size_t peak_memory() {
  return size_in_status("VmHWM:");
}

} // namespace bench
