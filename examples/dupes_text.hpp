// SPDX-License-Identifier: MIT
/// \file
/// How sizes and paths look in text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace dupes {

/// \return for example "512 B", "1.4 MB": powers of 1000.
[[nodiscard]] std::string human_size(std::uint64_t bytes);

/// \return the path in one line: control characters as `\n` or `\x1b`, a backslash as two.
[[nodiscard]] std::string printable(const std::filesystem::path& path);

} // namespace dupes
