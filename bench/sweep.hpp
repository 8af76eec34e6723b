// SPDX-License-Identifier: MIT
// With how many workers problems are run.
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <sched.h>

namespace bench {

/// CPUs that this process may use.
inline int cpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

class sweep {
 public:
  /// 1, 2 and so on by powers of two up to the CPUs. 2 also if there is one CPU.
  sweep() {
    for (int n = 1; n <= std::max(2, cpus()); n *= 2)
      counts_.push_back(n);
    beyond_ = {counts_.back() * 2};
  }
  /// These for all problems.
  explicit sweep(std::vector<int> counts) : counts_(std::move(counts)) {}

  /// Counts such as "1,2,8"; nothing if they are not from 1 to 1024 each.
  static std::optional<sweep> of_text(std::string_view text) {
    std::vector<int> counts;
    while (true) {
      int count = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
      if (error != std::errc() || count < 1 || count > 1024)
        return std::nullopt;
      counts.push_back(count);
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
      if (text.empty())
        return sweep(std::move(counts));
      if (text.front() != ',')
        return std::nullopt;
      text.remove_prefix(1);
    }
  }

  /// \param beyond_cpus whether more workers than CPUs are of interest: then also twice as many.
  [[nodiscard]] std::vector<int> of(bool beyond_cpus) const {
    std::vector<int> all = counts_;
    if (beyond_cpus)
      all.insert(all.end(), beyond_.begin(), beyond_.end());
    return all;
  }

 private:
  std::vector<int> counts_;
  std::vector<int> beyond_;
};

} // namespace bench
