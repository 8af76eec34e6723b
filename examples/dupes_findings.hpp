// SPDX-License-Identifier: MIT
/// \file
/// What the search has found so far: the files grouped by content, and what could not be read.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace dupes {

/// A regular file and its size when the walk came by.
struct file {
  std::filesystem::path path;
  std::uint64_t size = 0;
};

/// A 128-bit hash.
struct digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend auto operator<=>(const digest&, const digest&) = default;
};

/// What two files must share before it is worth comparing their bytes.
struct content_key {
  std::uint64_t size = 0;
  digest hash;

  friend bool operator==(const content_key&, const content_key&) = default;
};

/// At least two files with the same bytes.
struct duplicate_group {
  content_key key;
  std::vector<std::filesystem::path> paths;

  [[nodiscard]] std::uint64_t wasted() const noexcept { return key.size * (paths.size() - 1); }
};

/// Collects results from many tasks. Thread safety: every member may be called from any thread.
///
/// Files with the same key form classes of equal bytes. One class is the rule; more than one means
/// that different contents have the same hash.
class findings {
 public:
  /// \return the first file of the key's class number `nth`, to compare `candidate` with. If there
  /// is no such class, `candidate` becomes the first file of a new one and nothing is returned.
  [[nodiscard]] std::optional<file> class_or_new(const content_key& key, std::size_t nth,
                                                 const file& candidate);
  /// Adds a file that equals the first of the key's class number `nth`.
  void join_class(const content_key& key, std::size_t nth, const file& member);

  void add_unreadable(const std::filesystem::path& path, const std::string& reason);

  /// \return all classes with more than one file; most wasted bytes first, then by path.
  [[nodiscard]] std::vector<duplicate_group> groups() const;
  /// \return each path that could not be read, with the first reason.
  [[nodiscard]] std::map<std::filesystem::path, std::string> unreadable() const;

 private:
  struct key_hash {
    std::size_t operator()(const content_key& key) const noexcept {
      return static_cast<std::size_t>(key.hash.low ^ key.size);
    }
  };
  using paths = std::vector<std::filesystem::path>;

  mutable std::mutex mutex_;
  std::unordered_map<content_key, std::vector<paths>, key_hash> classes_;
  std::map<std::filesystem::path, std::string> unreadable_;
};

} // namespace dupes
