// SPDX-License-Identifier: MIT
// A million tasks asleep at once: what they cost in memory, that nobody runs meanwhile, and that
// all of them can be stopped.
#include <weir/weir.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <catch.hpp>
#include <support/support.hpp>
#include <unistd.h>

namespace {

long resident_bytes() {
  std::ifstream file("/proc/self/statm");
  long size = 0;
  long resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// How often the workers have gone to sleep.
long sleeps_of_workers() {
  long sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(thread.path() / "comm") >> name;
    if (name.rfind("weir-", 0) != 0)
      continue; // a sanitizer has threads of its own
    std::ifstream status(thread.path() / "status");
    for (std::string word; status >> word;) {
      long count = 0;
      if (word == "voluntary_ctxt_switches:" && status >> count)
        sum += count;
    }
  }
  return sum;
}

weir::task<> sleeps(std::chrono::nanoseconds duration) {
  co_await weir::sleep_for(duration);
}

} // namespace

TEST_CASE("a million sleepers cost at most 400 bytes each, and no CPU", "[sleep]") {
  using namespace std::chrono_literals;
  const long count = test::rounds(1'000'000);
  weir::runtime rt{{.workers = 2}};
  rt.block_on(sleeps(1ns));
  const long before = resident_bytes();
  for (long i = 0; i < count; ++i) {
    // Dropping the handle lets the task go on.
    const auto dropped = rt.spawn(sleeps(1h + std::chrono::nanoseconds(i * 7919 % 1'000'000'000)));
  }
  test::eventually([&] { return rt.stats().total.run >= static_cast<std::uint64_t>(count); });
  const long each = (resident_bytes() - before) / count;
  CAPTURE(each);
  if (!test::sanitized)
    CHECK(each <= 400);
  // The workers fall asleep, and then stay so.
  long seen = -1;
  test::eventually([&] {
    std::this_thread::sleep_for(100ms);
    const long last = std::exchange(seen, sleeps_of_workers());
    return last == seen;
  });
  CHECK(rt.stats().accepted - rt.stats().ended == static_cast<std::uint64_t>(count));
  rt.stop();
  CHECK(rt.stats().accepted == rt.stats().ended);
}
