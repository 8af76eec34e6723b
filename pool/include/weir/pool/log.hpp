// SPDX-License-Identifier: MIT
/// \file
/// `log_sink`: where pools write what they do.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weir {

enum class log_level : std::uint8_t { debug, info, warning, error };

/// "DEBUG", "INFO", "WARNING" or "ERROR".
[[nodiscard]] constexpr std::string_view to_string(log_level level) noexcept {
  constexpr std::string_view names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
  return names[static_cast<std::size_t>(level)];
}

/// Takes the log lines of pools: level, the logger's name ("weir.task_pool", "weir.pool"), the line
/// without an end of line. The views are good for the call only.
///
/// It is called on whatever thread does what the line tells of, by several at once, never under a
/// lock of the pool, so that it may call the pool; the lines of one task come one after the other
/// in their order. What it throws is dropped. Nothing is formatted for a sink that is empty or does
/// not take the level. Copies share nothing: pools keep their own.
class log_sink {
 public:
  using function_type = std::function<void(log_level, std::string_view, std::string_view)>;

  /// Nobody listens.
  log_sink() noexcept {}

  /// \param least lower levels are not written.
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, log_sink> &&
             std::constructible_from<function_type, F>)
  log_sink(F&& write, log_level least = log_level::debug) // NOLINT: a callable is a sink
      : write_(std::forward<F>(write)), least_(least) {}

  /// Whether a line of this level would be written.
  [[nodiscard]] bool takes(log_level level) const noexcept { return level >= least_ && write_; }

  /// Writes one line made of texts and whole numbers, if somebody listens.
  template <class... Parts>
  void operator()(log_level level, std::string_view logger, const Parts&... parts) const noexcept {
    if (!takes(level))
      return;
    try {
      std::string line;
      (append(line, parts), ...);
      write_(level, logger, line);
    } catch (...) { // a line that cannot be written is no reason for a task to fail
    }
  }

 private:
  template <class Part>
  static void append(std::string& line, const Part& part) {
    if constexpr (std::integral<Part>)
      line += std::to_string(part);
    else
      line += std::string_view(part);
  }

  function_type write_;
  log_level least_ = log_level::debug;
};

} // namespace weir
