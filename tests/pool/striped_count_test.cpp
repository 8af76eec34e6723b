// SPDX-License-Identifier: MIT
// A count in stripes: nothing is lost, and what was counted before a sum began is in it.
#include <weir/pool/detail/striped_count.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <catch.hpp>

using weir::detail::number_of;
using weir::detail::striped_count;
using weir::detail::this_thread;

TEST_CASE("threads that live have different numbers, and those of others are given again",
          "[pool]") {
  std::set<std::uint32_t> first;
  std::mutex mutex;
  std::atomic<std::size_t> numbered{0};
  const auto number_at_once = [&](std::set<std::uint32_t>& numbers, std::size_t threads) {
    numbered = 0;
    std::vector<std::thread> all;
    for (std::size_t i = 0; i < threads; ++i) {
      all.emplace_back([&] {
        const auto mine = number_of(this_thread());
        {
          const std::scoped_lock lock(mutex);
          numbers.insert(mine);
        }
        ++numbered;
        while (numbered != threads)
          std::this_thread::yield();
        if (number_of(this_thread()) != mine)
          numbers.clear();
      });
    }
    for (auto& thread : all)
      thread.join();
  };
  number_at_once(first, 90);
  CHECK(first.size() == 90);
  CHECK(first.count(0) == 0);
  for (int round = 0; round < 3; ++round) {
    std::set<std::uint32_t> again;
    number_at_once(again, 90);
    CHECK(again == first);
  }
}

TEST_CASE("a striped count gives a thread the number of its own additions", "[pool]") {
  striped_count count;
  CHECK(count.sum() == 0);
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(count.add(this_thread()) == i);
  CHECK(count.sum() == 5);
  count.take_back(this_thread());
  CHECK(count.sum() == 4);
  CHECK(count.add(this_thread()) == 4);
}

TEST_CASE("a striped count sums what more threads than stripes have added", "[pool]") {
  constexpr std::uint64_t threads = 12;
  constexpr std::uint64_t each = 3'000;
  striped_count count;
  std::atomic<std::uint64_t> surely{0}; // follows the count
  std::atomic<bool> over{false};
  std::uint64_t too_small = 0;
  std::thread reader([&] {
    while (!over) {
      const auto least = surely.load();
      too_small += count.sum() < least ? 1 : 0;
    }
  });
  std::vector<std::thread> adders;
  for (std::uint64_t n = 0; n < threads; ++n) {
    adders.emplace_back([&] {
      for (std::uint64_t i = 0; i < each; ++i) {
        (void)count.add(this_thread());
        ++surely;
      }
    });
  }
  for (auto& t : adders)
    t.join();
  over = true;
  reader.join();
  CHECK(count.sum() == threads * each);
  CHECK(too_small == 0);
}
