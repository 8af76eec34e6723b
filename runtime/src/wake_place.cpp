// SPDX-License-Identifier: MIT
#include "wake_place.hpp"

#include <cstring>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

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

void wake_place::bind() noexcept {
  thread_ = static_cast<pid_t>(syscall(SYS_gettid));
}

void wake_place::prepare(placed_wakes& placed) noexcept {
  if (!placed.allowed())
    return; // nor does the sleeper look then
  const int here = sched_getcpu();
  if (here < 0)
    return;
  if (!placed.take()) {
    wakers_cpu_ = here; // P1
    return;
  }
  if (!read_mask(thread_, before_) || !contains(before_, here))
    return;
  const cpu_set_t others = without(before_, here);
  // Fails if there are none; whoever must run here says nothing about the kernel.
  placed_ = sched_setaffinity(thread_, sizeof others, &others) == 0;
  if (placed_)
    wakers_cpu_ = here;
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
