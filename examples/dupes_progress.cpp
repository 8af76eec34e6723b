// SPDX-License-Identifier: MIT
// Draws the progress bar, ten times a second at the most.
#include "dupes_progress.hpp"

#include "dupes_text.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <stop_token>
#include <string>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dupes {

namespace {

constexpr std::chrono::milliseconds interval{100};
constexpr std::size_t bar_width = 24;
constexpr const char* erase_line = "\r\x1b[K";

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return 80;
  return size.ws_col;
}

std::string drawn(const counters& count) {
  const double walked = std::clamp(count.walked.load(std::memory_order_relaxed), 0.0, 1.0);
  const auto full = static_cast<std::size_t>(walked * bar_width);
  auto line =
      fmt::format("[{:#>{}}{:.>{}}] {:3.0f}% {} files, {} candidates, {} read", "", full, "",
                  bar_width - full, walked * 100, count.files_seen.load(std::memory_order_relaxed),
                  count.candidates.load(std::memory_order_relaxed),
                  human_size(count.bytes_read.load(std::memory_order_relaxed)));
  // A wrapped line could not be erased.
  line.resize(std::min(line.size(), terminal_width() - 1));
  return line;
}

void paint(const std::stop_token& ended, const counters& count) {
  std::mutex mutex;
  std::condition_variable_any pause;
  std::unique_lock lock(mutex);
  while (!ended.stop_requested()) {
    const auto text = erase_line + drawn(count);
    std::fputs(text.c_str(), stderr);
    pause.wait_for(lock, ended, interval, [] { return false; });
  }
  std::fputs(erase_line, stderr);
}

} // namespace

progress_line::progress_line(const counters& count) {
  if (::isatty(STDERR_FILENO) != 0)
    painter_ = std::jthread([&count](const std::stop_token& ended) { paint(ended, count); });
}

} // namespace dupes
