// SPDX-License-Identifier: MIT
// Formats the report.
#include "dupes_report.hpp"

#include "dupes_text.hpp"

#include <atomic>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dupes {

namespace {

/// The usual spelling, as `xxh128sum` prints it.
std::string hex(const digest& hash) {
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

} // namespace

report::report(const findings& found, const counters& count)
    : groups(found.groups()), unreadable(found.unreadable()),
      files_seen(count.files_seen.load(std::memory_order_relaxed)),
      candidates(count.candidates.load(std::memory_order_relaxed)),
      bytes_read(count.bytes_read.load(std::memory_order_relaxed)) {}

std::uint64_t report::wasted() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& group : groups)
    sum += group.wasted();
  return sum;
}

std::string to_text(const report& r) {
  std::string text;
  const auto out = std::back_inserter(text);
  for (const auto& group : r.groups) {
    fmt::format_to(out, "{} files of {}, {} wasted, xxh128 {}\n", group.paths.size(),
                   human_size(group.key.size), human_size(group.wasted()), hex(group.key.hash));
    for (const auto& path : group.paths)
      fmt::format_to(out, "  {}\n", printable(path));
    text += '\n';
  }
  if (!r.unreadable.empty())
    fmt::format_to(out, "Unreadable: {}\n", r.unreadable.size());
  for (const auto& [path, reason] : r.unreadable)
    fmt::format_to(out, "  {}: {}\n", printable(path), reason);
  return text;
}

std::string to_json(const report& r) {
  using nlohmann::ordered_json;
  ordered_json groups = ordered_json::array();
  for (const auto& group : r.groups) {
    ordered_json paths = ordered_json::array();
    for (const auto& path : group.paths)
      paths.push_back(path.native());
    groups.push_back(
        {{"size", group.key.size}, {"hash", hex(group.key.hash)}, {"paths", std::move(paths)}});
  }
  ordered_json unreadable = ordered_json::array();
  for (const auto& [path, reason] : r.unreadable)
    unreadable.push_back({{"path", path.native()}, {"reason", reason}});
  const ordered_json all = {
      {"groups", std::move(groups)},
      {"totals",
       {{"files_seen", r.files_seen},
        {"candidates", r.candidates},
        {"bytes_read", r.bytes_read},
        {"duplicate_groups", r.groups.size()},
        {"wasted_bytes", r.wasted()}}},
      {"unreadable", std::move(unreadable)},
      {"interrupted", r.interrupted},
      {"elapsed_seconds", r.elapsed.count()},
  };
  return all.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

std::string summary(const report& r) {
  return fmt::format(
      "{}{} files seen, {} candidates, {} read in {:.2f} s: {} groups of duplicates, "
      "{} wasted, {} unreadable\n",
      r.interrupted ? "Interrupted: " : "", r.files_seen, r.candidates, human_size(r.bytes_read),
      r.elapsed.count(), r.groups.size(), human_size(r.wasted()), r.unreadable.size());
}

} // namespace dupes
