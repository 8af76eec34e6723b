// SPDX-License-Identifier: MIT
/// \file
/// The search itself: walks the folders and has files of the same size checked by a pool.
#pragma once

#include "dupes_findings.hpp"
#include "dupes_progress.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <filesystem>
#include <vector>

namespace dupes {

/// What the walk and all checks share. Must outlive the pool's tasks.
struct scan_context {
  findings& found;
  counters& count;
  weir::inplace_stop_token stop;
  bool include_empty = false;
};

/// Fills `context.found` and ends when all checks have ended; closes `pool`.
/// \return how many of the folders could be opened.
[[nodiscard]] weir::task<std::size_t> scan(weir::fixed_pool<weir::fifo>& pool,
                                           std::vector<std::filesystem::path> folders,
                                           scan_context& context);

} // namespace dupes
