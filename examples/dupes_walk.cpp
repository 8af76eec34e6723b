// SPDX-License-Identifier: MIT
// The walk keeps its own stack instead of a recursive_directory_iterator, which would end at the
// first folder that cannot be read.
#include "dupes_walk.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <ranges>
#include <string>
#include <system_error>

#include <sys/stat.h>

namespace dupes {

namespace {

std::string reason_of(int error_number) {
  return std::generic_category().message(error_number);
}

} // namespace

tree_walk::tree_walk(const std::vector<std::filesystem::path>& folders, findings& found,
                     counters& count, weir::inplace_stop_token stop)
    : found_(&found), count_(&count), stop_(stop) {
  const double share = 1.0 / static_cast<double>(folders.size());
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder)
    pending_.push_back({*folder, share, true});
}

std::optional<file> tree_walk::next() {
  while (!pending_.empty() && !stop_.stop_requested()) {
    const entry current = std::move(pending_.back());
    pending_.pop_back();
    struct stat status{};
    // std::filesystem does not tell a file's inode.
    if ((current.given ? ::stat : ::lstat)(current.path.c_str(), &status) != 0) {
      found_->add_unreadable(current.path, reason_of(errno));
    } else if (S_ISDIR(status.st_mode)) {
      if (first_visit(status) || current.given) {
        open_folder(current);
        continue;
      }
    } else if (current.given) {
      found_->add_unreadable(current.path, reason_of(ENOTDIR));
    } else if (S_ISREG(status.st_mode) && first_visit(status)) {
      passed(current);
      count_->files_seen.fetch_add(1, std::memory_order_relaxed);
      return file{current.path, static_cast<std::uint64_t>(status.st_size)};
    }
    passed(current);
  }
  return std::nullopt;
}

bool tree_walk::first_visit(const struct stat& status) {
  return visited_.emplace(status.st_dev, status.st_ino).second;
}

void tree_walk::open_folder(const entry& folder) {
  std::error_code error;
  std::filesystem::directory_iterator at(folder.path, error);
  if (!error && folder.given)
    ++folders_opened_;
  const auto first = static_cast<std::ptrdiff_t>(pending_.size());
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error))
    pending_.push_back({at->path(), 0, false});
  if (error)
    found_->add_unreadable(folder.path, error.message());

  const auto entries = std::ranges::subrange(pending_.begin() + first, pending_.end());
  std::ranges::sort(entries, std::ranges::greater(), &entry::path);
  for (entry& e : entries)
    e.share = folder.share / static_cast<double>(entries.size());
  if (entries.empty())
    passed(folder);
}

void tree_walk::passed(const entry& done) {
  walked_ += done.share;
  count_->walked.store(walked_, std::memory_order_relaxed);
}

} // namespace dupes
