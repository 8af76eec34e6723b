// SPDX-License-Identifier: MIT
#include <weir/parallel_for.hpp>
#include <weir/parallel_transform.hpp>
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <forward_list>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/parallel.hpp>

TEST_CASE("parallel_for calls the body once for each integer", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::vector<int> counts(n);
      weir::parallel_for(0, n, [&](std::size_t i) { ++counts[i]; });
      faults.check(test::all_are(counts, 1));
      for (const std::size_t grain : {std::size_t{1}, std::size_t{7}, n + 1}) {
        weir::parallel_for(
            std::size_t{0}, n, [&](std::size_t i) { ++counts[i]; }, weir::grain(grain));
      }
      faults.check(test::all_are(counts, 4));
    }
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("parallel_for takes integers of any type and sign", "[parallel_for]") {
  weir::runtime rt{{.workers = 2}};
  std::array<std::atomic<int>, 256> seen{};
  weir::parallel_for(rt, std::int8_t{-128}, std::int8_t{127},
                     [&](int i) { ++seen[static_cast<std::size_t>(i + 128)]; });
  for (std::size_t i = 0; i < 256; ++i)
    CHECK(seen[i] == (i == 255 ? 0 : 1));
  std::atomic<int> calls{0};
  weir::parallel_for(rt, 5, 5, [&](int) { ++calls; });
  weir::parallel_for(rt, 5, -5, [&](int) { ++calls; });
  CHECK(calls == 0);
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  weir::parallel_for(rt, lowest, lowest + 3, [&](std::int64_t i) { calls += i < 0 ? 1 : 100; });
  CHECK(calls == 3);
  constexpr auto highest = std::numeric_limits<std::uint64_t>::max();
  weir::parallel_for(rt, highest - 3, highest, [&](std::uint64_t i) { calls += i != 0 ? 1 : 100; });
  CHECK(calls == 6);
}

TEST_CASE("parallel_for goes through iterators and ranges", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    std::deque<int> numbers(3000, 1);
    weir::parallel_for(numbers, [](int& each) { ++each; });
    weir::parallel_for(numbers.begin() + 1, numbers.end() - 1, [](int& each) { each *= 2; });
    faults.check(numbers.front() == 2 && numbers.back() == 2);
    faults.check(std::accumulate(numbers.begin(), numbers.end(), 0) == 4 * 2998 + 4);
    std::atomic<int> sum{0};
    weir::parallel_for(std::views::iota(0, 100), [&](int i) { sum += i; });
    weir::parallel_for(std::vector<int>(100, 1), [&](const int& i) { sum += i; });
    int plain[] = {1, 2, 3};
    weir::parallel_for(plain, [&](int i) { sum += i; });
    weir::parallel_for(std::end(plain), std::begin(plain), [&](int i) { sum += i; });
    faults.check(sum == 4950 + 100 + 6);
    std::vector<std::string> words(100, "a");
    weir::parallel_for(words, [](std::string& word) { word += 'b'; }, weir::grain(3));
    faults.check(std::ranges::count(words, "ab") == 100);
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("parallel_for_each goes through what cannot be indexed", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::list<int> list(n, 1);
      weir::parallel_for_each(list, [](int& each) { ++each; });
      std::forward_list<int> singly(n, 1);
      weir::parallel_for_each(singly.begin(), singly.end(), [](int& each) { ++each; });
      std::vector<int> indexed(n, 1);
      weir::parallel_for_each(indexed, [](int& each) { ++each; }, weir::grain(5));
      faults.check(std::ranges::count(list, 2) == static_cast<std::ptrdiff_t>(n));
      faults.check(std::ranges::count(singly, 2) == static_cast<std::ptrdiff_t>(n));
      faults.check(test::all_are(indexed, 2));
    }
  });
  CHECK(faults.count() == 0);
  weir::runtime rt{{.workers = 2}};
  const std::set<int> set{1, 2, 3};
  std::atomic<int> sum{0};
  weir::parallel_for_each(rt, set, [&](int each) { sum += each; });
  CHECK(sum == 6);
}

TEST_CASE("parallel_transform writes each result to its place", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::vector<int> in(n);
      std::iota(in.begin(), in.end(), 0);
      std::vector<std::unique_ptr<int>> out(n); // results may be move-only
      const auto end = weir::parallel_transform(in, out.begin(),
                                                [](int i) { return std::make_unique<int>(i + 1); });
      faults.check(end == out.end());
      for (std::size_t i = 0; i < n; ++i)
        faults.check(*out[i] == static_cast<int>(i) + 1);
      faults.check(weir::parallel_transform(
                       in.begin(), in.end(), in.begin(), [](int i) { return 2 * i; },
                       weir::grain(3)) == in.end());
      std::vector<long> sums(n);
      const auto add = [](int i, const std::unique_ptr<int>& j) { return long{i} + *j; };
      weir::parallel_transform(in, out, sums.begin(), add);
      for (std::size_t i = 0; i < n; ++i)
        faults.check(sums[i] == static_cast<long>(3 * i + 1));
      sums.assign(n, 0);
      faults.check(weir::parallel_transform(in.begin(), in.end(), out.begin(), sums.begin(), add) ==
                   sums.end());
      for (std::size_t i = 0; i < n; ++i)
        faults.check(sums[i] == static_cast<long>(3 * i + 1));
    }
  });
  CHECK(faults.count() == 0);
  weir::runtime rt{{.workers = 2}};
  std::vector<int> four(4, 4);
  const std::vector<int> two(2, 1);
  CHECK(weir::parallel_transform(rt, four, two, four.begin(), std::minus<>{}) == four.begin() + 2);
  CHECK(four == std::vector<int>{3, 3, 4, 4});
}

TEST_CASE("two bodies of a loop run on two workers", "[parallel_for]") {
  weir::runtime rt{{.workers = 2}};
  for (int round = 0; round < test::rounds(300); ++round) {
    std::atomic<int> here{0};
    const auto meet = [&](int) {
      ++here;
      test::eventually([&] { return here == 2; });
    };
    rt.submit([&] { weir::parallel_for(0, 2, meet); }).get();
    CHECK(here == 2);
  }
}

TEST_CASE("loops nest", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    std::vector<std::vector<int>> table(60, std::vector<int>(100));
    weir::parallel_for(table, [](std::vector<int>& row) {
      weir::parallel_for(row, [](int& each) {
        std::atomic<int> sum{0};
        weir::parallel_for(0, 5, [&](int i) { sum += i; });
        each += sum;
      });
    });
    for (const auto& row : table)
      faults.check(test::all_are(row, 10));
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("pieces of an explicit grain stay together", "[parallel_for]") {
  test::faults faults;
  test::everywhere([&] {
    constexpr std::size_t grain = 10;
    std::vector<std::thread::id> ran(1003);
    weir::parallel_for(
        std::size_t{0}, ran.size(), [&](std::size_t i) { ran[i] = std::this_thread::get_id(); },
        weir::grain(grain));
    for (std::size_t i = 0; i < ran.size(); ++i)
      faults.check(ran[i] == ran[i / grain * grain]);
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("pieces of a loop are small beside what is left, and worth a look between them",
          "[parallel_for]") {
  const weir::detail::pieces any{weir::grain()};
  constexpr auto no_limit = SIZE_MAX;
  CHECK(any.next(10'000'000) == 2048);
  CHECK(any.next(64'000) == 1000);
  CHECK(any.next(63) == 1);
  CHECK(any.next(64'000, 10, std::nullopt) == 10);
  // Half a nanosecond each.
  CHECK(any.next(10'000'000, no_limit, 8192) == 16'384);
  CHECK(any.next(100'000, no_limit, 8192) == 8192);
  CHECK(any.next(8'000, no_limit, 8192) == 1000);
  CHECK(any.next(7, no_limit, 8192) == 1);
  CHECK(any.next(8'000, 10, 8192) == 10);
  // Half a microsecond each.
  CHECK(any.next(10'000'000, no_limit, 14) == 28);
  CHECK(any.next(640, no_limit, 14) == 14);
  CHECK(any.next(64, no_limit, 14) == 8);
  // A second each.
  CHECK(any.next(10'000'000, no_limit, 0) == 1);

  const weir::detail::pieces chosen{weir::grain(10)};
  CHECK(chosen.next(10'000'000) == 10);
  CHECK(chosen.next(11, 1, std::nullopt) == 10);
}

TEST_CASE("what a loop's pieces have cost is noticed at each that is not tiny", "[parallel_for]") {
  const weir::detail::pieces any{weir::grain()};
  weir::detail::pace step(any);
  CHECK(!step.worth());
  const auto takes = [&](std::size_t count, std::uint64_t moments) {
    step.look(count, moments * weir::detail::sync::ticks_in_a_moment());
    return step.worth().value();
  };
  CHECK(takes(1, 800) == 0);
  CHECK(takes(1, 1) == 1); // not more at once: it may have been a glimpse
  CHECK(takes(100, 1) == 9);
  CHECK(takes(100, 100) == 8);
  CHECK(takes(100'000, 1) == 65);
  CHECK(takes(1'000'000, 1) == 521);
  CHECK(takes(1'000'000, 1) == 4169);
  CHECK(takes(1'000'000, 1) == 8192);
  CHECK(step.reads_at(2048));
  CHECK(!step.reads_at(2047));
  CHECK(takes(8192, 8192) == 8);
  CHECK(step.reads_at(1));
  CHECK(takes(1, 0) == 65); // a counter that stands still

  weir::detail::pace chosen{weir::detail::pieces(weir::grain(10))};
  CHECK(!chosen.reads_at(10));
}

TEST_CASE("a loop with a cheap beginning is divided where it is costly", "[parallel_for]") {
  // The 6 bodies of the end wait until two threads are there.
  weir::runtime rt{{.workers = 2}};
  for (int round = 0; round < test::rounds(20); ++round) {
    std::atomic<int> cheap{0};
    std::mutex mutex;
    std::set<std::thread::id> threads;
    const auto both = [&] {
      const std::scoped_lock lock(mutex);
      threads.insert(std::this_thread::get_id());
      return threads.size() >= 2;
    };
    rt.submit([&] {
        weir::parallel_for(0, 10'000, [&](int i) {
          if (i < 9'994)
            cheap.fetch_add(1, std::memory_order_relaxed);
          else if (!both())
            test::eventually(both);
        });
      }).get();
    CHECK(cheap == 9'994);
    CHECK(threads.size() >= 2); // one may stand in for who waits
  }
}

TEST_CASE("the first exception of a loop is thrown when all of it has ended", "[parallel_for]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<int> running{0};
      std::atomic<int> calls{0};
      CHECK_THROWS_AS(weir::parallel_for(rt, 0, 1000,
                                         [&](int i) {
                                           ++running;
                                           ++calls;
                                           if (i % 100 == 17) {
                                             --running;
                                             throw std::runtime_error("17");
                                           }
                                           --running;
                                         }),
                      std::runtime_error);
      CHECK(running == 0);
      CHECK(calls >= 1);
    }
    // Nothing is left of it.
    std::atomic<int> calls{0};
    weir::parallel_for(rt, 0, 100, [&](int) { ++calls; });
    CHECK(calls == 100);
  }
}

TEST_CASE("a loop whose task is asked to stop starts no further pieces", "[parallel_for]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(30); ++round) {
      std::atomic<int> calls{0};
      test::gate door;
      constexpr int n = 100'000'000;
      auto loop = rt.submit([&] {
        weir::parallel_for(0, n, [&](int) {
          ++calls;
          door.pass();
        });
      });
      test::eventually([&] { return calls != 0; });
      CHECK(loop.request_stop());
      door.open();
      CHECK_THROWS_AS(loop.get(), weir::task_cancelled);
      CHECK(calls < n / 2);
    }
  }
}

TEST_CASE("loops are refused where there is no runtime", "[parallel_for]") {
  int calls = 0;
  const auto body = [&](int) { ++calls; };
  CHECK(test::code_of([&] { weir::parallel_for(0, 0, body); }) == weir::errc::not_on_worker);
  CHECK(test::code_of([&] { weir::parallel_for(0, 10, body); }) == weir::errc::not_on_worker);
  std::vector<int> in(3);
  CHECK(test::code_of([&] { weir::parallel_transform(in, in.begin(), [](int i) { return i; }); }) ==
        weir::errc::not_on_worker);
  CHECK(test::code_of([&] { weir::parallel_for_each(std::list<int>{1}, body); }) ==
        weir::errc::not_on_worker);
  CHECK(calls == 0);
}

TEST_CASE("a grain of no elements is refused", "[parallel_for]") {
  CHECK(test::code_of([] { (void)weir::grain(0); }) == weir::errc::invalid_option);
  CHECK(weir::grain(1).elements() == 1);
}

TEST_CASE("a loop takes a body that cannot be copied", "[parallel_for]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> sum{0};
  weir::parallel_for(rt, 0, 10, [&, two = std::make_unique<int>(2)](int i) { sum += *two * i; });
  CHECK(sum == 90);
}
