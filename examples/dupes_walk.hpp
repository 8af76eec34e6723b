// SPDX-License-Identifier: MIT
/// \file
/// Walks folders, one file at a time.
#pragma once

#include "dupes_findings.hpp"
#include "dupes_progress.hpp"

#include <weir/stop_token.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>
#include <vector>

struct stat;

namespace dupes {

/// Gives the regular files below some folders, in the order of the folders and then of the names.
///
/// Each inode comes once, by the first path that leads to it. Symbolic links are not followed,
/// except where one is given as a folder. What cannot be read goes to the findings.
/// Thread safety: one thread at a time.
class tree_walk {
 public:
  tree_walk(const std::vector<std::filesystem::path>& folders, findings& found, counters& count,
            weir::inplace_stop_token stop);

  /// \return the next file; nothing after the last one, or as soon as stop was requested.
  [[nodiscard]] std::optional<file> next();

  /// How many of the given folders could be opened so far.
  [[nodiscard]] std::size_t folders_opened() const noexcept { return folders_opened_; }

 private:
  struct entry {
    std::filesystem::path path;
    /// Which part of the whole walk this is, as far as can be known: the entries of a folder share
    /// what the folder had. That makes a progress bar without counting everything first.
    double share = 0;
    bool given = false;
  };
  using inode = std::pair<std::uint64_t, std::uint64_t>;

  [[nodiscard]] bool first_visit(const struct stat& status);
  void open_folder(const entry& folder);
  void passed(const entry& done);

  findings* found_;
  counters* count_;
  weir::inplace_stop_token stop_;
  /// What is still to be visited, the next one last.
  std::vector<entry> pending_;
  std::set<inode> visited_;
  double walked_ = 0;
  std::size_t folders_opened_ = 0;
};

} // namespace dupes
