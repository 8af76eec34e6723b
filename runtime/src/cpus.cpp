// SPDX-License-Identifier: MIT
// Which cgroup: /proc/self/cgroup has lines "hierarchy:controllers:path"; v2 is hierarchy 0 with no
// controllers. Where it is mounted: /proc/self/mountinfo (man 5 proc). The mount shows the
// hierarchy from its own root downwards, so that root is cut from the path. In a container the path
// may point outside of what is mounted; then the mount point itself is the best that can be read.
#include <weir/cpus.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <locale>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include <sched.h>

namespace weir {

namespace {

namespace fs = std::filesystem;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos)
      return parts;
    text.remove_prefix(end + 1);
  }
}

bool lists(std::string_view names, std::string_view wanted) {
  const auto parts = split(names, ',');
  return std::find(parts.begin(), parts.end(), wanted) != parts.end();
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct mount {
  std::string root;
  std::string point;
};

/// A hierarchy that may limit this process.
struct hierarchy {
  bool v2 = false;
  std::string group;
  std::optional<mount> where;
};

std::vector<hierarchy> groups_of_this_process(const fs::path& root) {
  std::vector<hierarchy> found;
  std::ifstream stream(root / "proc/self/cgroup");
  for (std::string line; std::getline(stream, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const bool v2 = line.compare(0, first, "0") == 0 && controllers.empty();
    if (v2 || lists(controllers, "cpu"))
      found.push_back({v2, line.substr(second + 1), std::nullopt});
  }
  return found;
}

/// Whether `group` is at or below the root that `m` shows.
bool shows(const mount& m, const std::string& group) {
  return m.root == "/" || (group.compare(0, m.root.size(), m.root) == 0 &&
                           (group.size() == m.root.size() || group[m.root.size()] == '/'));
}

/// The part of `group` below the root that `m` shows; empty if it is not below.
std::string relative_group(const mount& m, const std::string& group) {
  if (m.root == "/" || !shows(m, group))
    return m.root == "/" ? group : std::string();
  return group.substr(m.root.size());
}

void find_mounts(const fs::path& root, std::vector<hierarchy>& hierarchies) {
  std::ifstream stream(root / "proc/self/mountinfo");
  for (std::string line; std::getline(stream, line);) {
    // id parent major:minor root mount-point options... - type source super-options
    const auto dash = line.find(" - ");
    if (dash == std::string::npos)
      continue;
    const auto before = split(std::string_view(line).substr(0, dash), ' ');
    const auto after = split(std::string_view(line).substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3)
      continue;
    for (auto& h : hierarchies) {
      const bool matches =
          h.v2 ? after[0] == "cgroup2" : after[0] == "cgroup" && lists(after[2], "cpu");
      // A hierarchy may be mounted several times, each showing another part of it: the one that
      // shows this process's group is wanted, the first one if none does.
      if (!matches || (h.where && shows(*h.where, h.group)))
        continue;
      mount candidate{unescaped(before[3]), unescaped(before[4])};
      if (!h.where || shows(candidate, h.group))
        h.where = std::move(candidate);
    }
  }
}

std::optional<double> quota_of(std::int64_t quota, std::int64_t period) {
  if (quota <= 0 || period <= 0)
    return std::nullopt;
  return static_cast<double>(quota) / static_cast<double>(period);
}

/// \return the quota in CPUs and the file that sets it.
std::optional<double> read_quota(const fs::path& folder, bool v2, fs::path& file) {
  if (v2) {
    file = folder / "cpu.max"; // "max 100000" or "150000 100000"
    const std::string line = first_line(file);
    const auto parts = split(line, ' ');
    const auto quota = number(parts[0]);
    const auto period = parts.size() > 1 ? number(parts[1]) : std::optional<std::int64_t>(100'000);
    return quota && period ? quota_of(*quota, *period) : std::nullopt;
  }
  file = folder / "cpu.cfs_quota_us"; // -1: no limit
  const auto quota = number(first_line(file));
  const auto period = number(first_line(folder / "cpu.cfs_period_us"));
  return quota && period ? quota_of(*quota, *period) : std::nullopt;
}

} // namespace

cpu_budget usable_cpus(const fs::path& root, std::size_t affinity) {
  cpu_budget budget;
  budget.affinity = std::max<std::size_t>(affinity, 1);
  budget.count = budget.affinity;
  std::string source;

  auto hierarchies = groups_of_this_process(root);
  find_mounts(root, hierarchies);
  for (const auto& h : hierarchies) {
    if (!h.where)
      continue;
    const fs::path top = fs::path(h.where->point).relative_path();
    fs::path group = fs::path(relative_group(*h.where, h.group)).relative_path();
    for (;;) {
      // A path may climb out of a cgroup namespace ("/../other"); nothing above can be read.
      const bool climbs = std::find(group.begin(), group.end(), "..") != group.end();
      fs::path file;
      if (!climbs) {
        const auto quota = read_quota(root / top / group, h.v2, file);
        if (quota && (!budget.quota || *quota < *budget.quota)) {
          budget.quota = quota;
          source = (fs::path("/") / top / group / file.filename()).lexically_normal().string();
        }
      }
      if (group.empty())
        break;
      group = group.parent_path();
    }
  }

  std::ostringstream reason;
  reason.imbue(std::locale::classic());
  if (budget.quota) {
    const double cut = std::ceil(*budget.quota);
    if (cut < static_cast<double>(budget.count))
      budget.count = std::max<std::size_t>(static_cast<std::size_t>(cut), 1);
  }
  reason << budget.count << ": affinity " << budget.affinity << ", ";
  if (budget.quota)
    reason << "quota " << *budget.quota << " from " << source;
  else
    reason << "no quota";
  budget.reason = reason.str();
  return budget;
}

cpu_budget usable_cpus() {
  // The mask may be larger than cpu_set_t on big machines: the kernel answers EINVAL until it fits.
  for (std::size_t cpus = 1024; cpus <= 1024 * 1024; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr)
      break;
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(size, set);
    const bool known = sched_getaffinity(0, size, set) == 0;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (known)
      return usable_cpus("/", static_cast<std::size_t>(count));
  }
  return usable_cpus("/", 1);
}

} // namespace weir
