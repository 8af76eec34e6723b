// SPDX-License-Identifier: MIT
/// \file
/// Counters of the search, and a line on the terminal that shows them while it runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace dupes {

/// Written by the search, read by whoever wants to show them: each is right by itself, together
/// they are a moment's view.
struct counters {
  std::atomic<std::uint64_t> files_seen{0};
  std::atomic<std::uint64_t> candidates{0};
  std::atomic<std::uint64_t> bytes_read{0};
  /// An estimate of how much of the walk is done, 0 to 1.
  std::atomic<double> walked{0};
};

/// Shows a progress bar on standard error while it lives, if that is a terminal.
class progress_line {
 public:
  /// `count` must live longer.
  explicit progress_line(const counters& count);
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  /// Takes the bar away.
  ~progress_line() = default;

 private:
  std::jthread painter_;
};

} // namespace dupes
