// SPDX-License-Identifier: MIT
/// \file
/// What the program says at the end, as text or JSON.
#pragma once

#include "dupes_findings.hpp"
#include "dupes_progress.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dupes {

struct report {
  report(const findings& found, const counters& count);

  [[nodiscard]] std::uint64_t wasted() const noexcept;

  std::vector<duplicate_group> groups;
  std::map<std::filesystem::path, std::string> unreadable;
  std::uint64_t files_seen;
  std::uint64_t candidates;
  std::uint64_t bytes_read;
  std::chrono::duration<double> elapsed{};
  bool interrupted = false;
};

/// The groups, then what could not be read.
[[nodiscard]] std::string to_text(const report& r);

/// All of it. Bytes of a path that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string to_json(const report& r);

/// The totals in one line.
[[nodiscard]] std::string summary(const report& r);

} // namespace dupes
