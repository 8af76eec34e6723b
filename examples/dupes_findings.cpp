// SPDX-License-Identifier: MIT
// Keeps the results of the search under one lock, which is held for a few instructions only.
#include "dupes_findings.hpp"

#include <algorithm>
#include <utility>

namespace dupes {

std::optional<file> findings::class_or_new(const content_key& key, std::size_t nth,
                                           const file& candidate) {
  const std::scoped_lock lock(mutex_);
  auto& classes = classes_[key];
  if (nth < classes.size())
    return file{classes[nth].front(), key.size};
  classes.push_back({candidate.path});
  return std::nullopt;
}

void findings::join_class(const content_key& key, std::size_t nth, const file& member) {
  const std::scoped_lock lock(mutex_);
  classes_[key][nth].push_back(member.path);
}

void findings::add_unreadable(const std::filesystem::path& path, const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  unreadable_.emplace(path, reason);
}

std::vector<duplicate_group> findings::groups() const {
  std::vector<duplicate_group> result;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [key, classes] : classes_)
      for (const auto& members : classes)
        if (members.size() > 1)
          result.push_back({key, members});
  }
  // By bytes, as other tools sort them: paths compare themselves name by name.
  for (auto& group : result)
    std::ranges::sort(group.paths, {}, [](const auto& path) -> auto& { return path.native(); });
  std::ranges::sort(result, [](const duplicate_group& a, const duplicate_group& b) {
    return a.wasted() != b.wasted() ? a.wasted() > b.wasted() : a.paths.front() < b.paths.front();
  });
  return result;
}

std::map<std::filesystem::path, std::string> findings::unreadable() const {
  const std::scoped_lock lock(mutex_);
  return unreadable_;
}

} // namespace dupes
