// SPDX-License-Identifier: MIT
// sync::mutex excludes, whether those who wait for it are awake or asleep; numbers of threads.
#include "catch.hpp"

#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace {

using weir::detail::number_of;
using weir::detail::this_thread;
using weir::detail::sync::mutex;

void in_threads(int count, const auto& f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back(f);
  for (auto& t : threads)
    t.join();
}

} // namespace

TEST_CASE("a mutex lets one in at a time", "[sync]") {
  mutex m;
  long count = 0; // plain: what the mutex guards
  in_threads(3, [&] {
    for (int i = 0; i < 20'000; ++i) {
      const std::scoped_lock lock(m);
      ++count;
    }
  });
  CHECK(count == 60'000);
}

TEST_CASE("a mutex is waited for however long it is held", "[sync]") {
  mutex m;
  std::atomic<int> waiting{0};
  int got = 0;
  m.lock();
  std::thread other([&] {
    waiting = 1;
    const std::scoped_lock lock(m);
    ++got;
  });
  while (waiting == 0)
    std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(5)); // longer than anybody stays awake
  CHECK(got == 0);
  CHECK_FALSE(m.try_lock());
  m.unlock();
  other.join();
  CHECK(got == 1);
  REQUIRE(m.try_lock());
  m.unlock();
}

TEST_CASE("threads that live at the same time have different numbers", "[sync]") {
  std::mutex m;
  std::set<std::uint32_t> numbers;
  std::atomic<int> arrived{0};
  bool kept = true;
  in_threads(4, [&] {
    const auto first = number_of(this_thread());
    ++arrived;
    while (arrived < 4)
      std::this_thread::yield();
    const std::scoped_lock lock(m);
    numbers.insert(first);
    kept = kept && number_of(this_thread()) == first;
  });
  CHECK(numbers.size() == 4);
  CHECK(numbers.count(0) == 0);
  CHECK(kept);
}
