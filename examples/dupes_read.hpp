// SPDX-License-Identifier: MIT
/// \file
/// Reads files block by block: hashing and comparing.
#pragma once

#include "dupes_findings.hpp"
#include "dupes_progress.hpp"

#include <weir/stop_token.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace dupes {

/// A file could not be read; `what()` is the reason, without the path.
class read_failure : public std::runtime_error {
 public:
  read_failure(std::filesystem::path path, const std::string& reason)
      : std::runtime_error(reason), path_(std::move(path)) {}

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// An open file. Blocks the calling thread while it reads.
class file_reader {
 public:
  /// Throws `read_failure`.
  file_reader(const file& opened, counters& count, weir::inplace_stop_token stop);
  file_reader(const file_reader&) = delete;
  file_reader& operator=(const file_reader&) = delete;
  ~file_reader();

  /// \return the next block, which is valid until the next call. All blocks of files of the same
  /// size have the same length; an empty one is the end.
  /// Throws `read_failure`, also if the file is not of the expected size any more, and
  /// `weir::task_cancelled` once stop has been requested.
  [[nodiscard]] std::span<const std::byte> next_block();

 private:
  const file* file_;
  counters* count_;
  weir::inplace_stop_token stop_;
  std::size_t block_size_;
  std::unique_ptr<std::byte[]> block_;
  std::uint64_t total_ = 0;
  int descriptor_;
};

/// \return the XXH3 hash of the rest of the file. Throws as `file_reader::next_block`.
[[nodiscard]] digest hash_content(file_reader& reader);

/// Compares byte by byte, reading from one file at a time. Throws as `file_reader::next_block`.
[[nodiscard]] bool same_content(file_reader& a, file_reader& b);

} // namespace dupes
