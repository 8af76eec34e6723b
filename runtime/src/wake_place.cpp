// SPDX-License-Identifier: MIT
#include "wake_place.hpp"

#include <cstring>
#include <fstream>
#include <istream>
#include <string>
#include <string_view>
#include <utility>

namespace weir::detail {

namespace {

// Fails where there are more CPUs than the mask has room for; then nothing is placed.
bool read_mask(pid_t thread, cpu_set_t& mask) noexcept {
  return sched_getaffinity(thread, sizeof mask, &mask) == 0;
}

bool contains(const cpu_set_t& mask, int cpu) noexcept {
  return CPU_ISSET(static_cast<std::size_t>(cpu), &mask);
}

/// \return `mask` without `cpu`.
cpu_set_t without(cpu_set_t mask, int cpu) noexcept {
  CPU_CLR(static_cast<std::size_t>(cpu), &mask);
  return mask;
}

} // namespace

bool may_place_wakes(std::istream& status) {
  // "Seccomp:", a tab, and 0 without a filter (man 5 proc); a kernel that knows none has no such
  // line.
  constexpr std::string_view key = "Seccomp:";
  bool readable = false;
  for (std::string line; std::getline(status, line); readable = true) {
    if (line.starts_with(key))
      return line.ends_with("\t0");
  }
  return readable;
}

bool may_place_wakes() {
  std::ifstream status("/proc/self/status");
  return may_place_wakes(status);
}

void wake_place::prepare(placed_wakes& placed) noexcept {
  wakers_cpu_ = sched_getcpu();
  if (wakers_cpu_ < 0 || !placed.take() || !read_mask(thread_, before_) ||
      !contains(before_, wakers_cpu_))
    return;
  const cpu_set_t others = without(before_, wakers_cpu_);
  // Fails if there are none.
  placed_ = sched_setaffinity(thread_, sizeof others, &others) == 0;
}

void wake_place::arrive(placed_wakes& placed) noexcept {
  const int avoided = std::exchange(wakers_cpu_, unknown);
  if (avoided == unknown)
    return;
  if (!std::exchange(placed_, false)) {
    if (sched_getcpu() == avoided)
      placed.begin(); // P1
    return;
  }
  // P2
  cpu_set_t now;
  const cpu_set_t others = without(before_, avoided);
  if (!read_mask(0, now) || !CPU_EQUAL(&now, &others))
    return;
  cpu_set_t all;
  std::memset(&all, 0xff, sizeof all);
  if (sched_setaffinity(0, sizeof all, &all) == 0 && read_mask(0, now) && CPU_EQUAL(&now, &before_))
    return;
  sched_setaffinity(0, sizeof before_, &before_);
}

} // namespace weir::detail
