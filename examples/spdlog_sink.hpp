// SPDX-License-Identifier: MIT
/// \file
/// The log lines of weir's pools in spdlog: copy this file into your program.
#pragma once

#include <weir/pool/log.hpp>

#include <memory>
#include <string_view>
#include <utility>

#include <spdlog/logger.h>

/// spdlog's level of the same name.
constexpr spdlog::level::level_enum spdlog_level(weir::log_level level) noexcept {
  switch (level) {
  case weir::log_level::debug:
    return spdlog::level::debug;
  case weir::log_level::info:
    return spdlog::level::info;
  case weir::log_level::warning:
    return spdlog::level::warn;
  case weir::log_level::error:
    return spdlog::level::err;
  }
  return spdlog::level::off;
}

/// A sink for the options of pools: each line goes to `logger`, with its level. Levels that the
/// logger does not take at this moment are left out for good, so that their lines are never made.
/// The logger must be safe for several threads ("_mt").
inline weir::log_sink spdlog_sink(std::shared_ptr<spdlog::logger> logger) {
  auto least = weir::log_level::debug;
  while (least != weir::log_level::error && !logger->should_log(spdlog_level(least)))
    least = static_cast<weir::log_level>(static_cast<int>(least) + 1);
  return {[to = std::move(logger)](weir::log_level level, std::string_view, std::string_view line) {
            to->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
          },
          least};
}
