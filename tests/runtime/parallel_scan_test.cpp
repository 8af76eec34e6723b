// SPDX-License-Identifier: MIT
#include <weir/parallel_scan.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/parallel.hpp>

TEST_CASE("scans give what the serial ones give", "[parallel_scan]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::deque<std::int64_t> in(n);
      std::iota(in.begin(), in.end(), 3);
      std::vector<std::int64_t> wanted(n);
      std::vector<std::int64_t> out(n);
      std::inclusive_scan(in.begin(), in.end(), wanted.begin());
      faults.check(weir::parallel_inclusive_scan(in, out.begin()) == out.end());
      faults.check(out == wanted);
      out.assign(n, 0);
      (void)weir::parallel_inclusive_scan(in.begin(), in.end(), out.begin(), std::plus<>{},
                                          weir::grain(16));
      faults.check(out == wanted);
      std::exclusive_scan(in.begin(), in.end(), wanted.begin(), std::int64_t{5});
      faults.check(weir::parallel_exclusive_scan(in.begin(), in.end(), out.begin(),
                                                 std::int64_t{5}) == out.end());
      faults.check(out == wanted);
      out.assign(in.begin(), in.end());
      (void)weir::parallel_exclusive_scan(out, out.begin(), std::int64_t{5}, std::plus<>{},
                                          weir::grain(7));
      faults.check(out == wanted);
      (void)weir::parallel_inclusive_scan(
          in, in.begin(), [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
      faults.check(n == 0 || in.back() == static_cast<std::int64_t>(n + 2));
    }
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("scans keep the order of what does not commute", "[parallel_scan]") {
  test::faults faults;
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(50); ++round) {
      std::vector<std::string> in(300);
      for (std::size_t i = 0; i < in.size(); ++i)
        in[i] = static_cast<char>('a' + i % 26);
      std::vector<std::string> out(in.size());
      (void)weir::parallel_exclusive_scan(rt, in, out.begin(), std::string(">"));
      (void)weir::parallel_inclusive_scan(rt, in, in.begin());
      std::string all;
      for (std::size_t i = 0; i < in.size(); ++i) {
        faults.check(out[i] == ">" + all);
        all += static_cast<char>('a' + i % 26);
        faults.check(in[i] == all);
      }
    }
  }
  CHECK(faults.count() == 0);
}

TEST_CASE("large scans, with whoever has time", "[parallel_scan]") {
  std::vector<std::uint32_t> in(300'000);
  for (std::size_t i = 0; i < in.size(); ++i)
    in[i] = static_cast<std::uint32_t>(i * i);
  std::vector<std::uint32_t> wanted(in.size());
  std::inclusive_scan(in.begin(), in.end(), wanted.begin());
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(30); ++round) {
      std::vector<std::uint32_t> out(in.size());
      const auto scan = [&] {
        (void)weir::parallel_inclusive_scan(in, out.begin(), std::plus<>{}, weir::grain(1000));
      };
      rt.submit(scan).get();
      CHECK(out == wanted);
    }
  }
}

TEST_CASE("a scan without help looks at each element once", "[parallel_scan]") {
  weir::runtime rt{{.workers = 1}};
  int calls = 0;
  const std::vector<int> in(10'000, 1);
  std::vector<int> out(in.size());
  rt.submit([&] {
      (void)weir::parallel_inclusive_scan(in, out.begin(), [&](int a, int b) {
        ++calls;
        return a + b;
      });
    }).get();
  CHECK(calls == 9'999);
  CHECK(out.back() == 10'000);
}

TEST_CASE("the first exception of a scan is thrown when all of it has ended", "[parallel_scan]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> running{0};
    const std::vector<int> in(2000, 1);
    std::vector<int> out(in.size());
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<int> left{round * 37};
      const auto fails = [&](int a, int b) {
        ++running;
        const bool bad = left-- == 0;
        --running;
        if (bad)
          throw std::runtime_error("added enough");
        return a + b;
      };
      CHECK_THROWS_AS(weir::parallel_inclusive_scan(rt, in, out.begin(), fails),
                      std::runtime_error);
      CHECK(running == 0);
    }
  }
}

TEST_CASE("a scan whose task is asked to stop starts no further blocks", "[parallel_scan]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const std::vector<int> in(1'000'000, 1);
    std::vector<int> out(in.size());
    for (int round = 0; round < test::rounds(10); ++round) {
      std::atomic<int> calls{0};
      test::gate door;
      auto scan = rt.submit([&] {
        (void)weir::parallel_inclusive_scan(in, out.begin(), [&](int a, int b) {
          ++calls;
          door.pass();
          return a + b;
        });
      });
      test::eventually([&] { return calls != 0; });
      CHECK(scan.request_stop());
      door.open();
      CHECK_THROWS_AS(scan.get(), weir::task_cancelled);
      CHECK(calls < 500'000);
    }
  }
}

TEST_CASE("scans are refused where there is no runtime", "[parallel_scan]") {
  std::vector<int> in(3);
  CHECK(test::code_of([&] { (void)weir::parallel_inclusive_scan(in, in.begin()); }) ==
        weir::errc::not_on_worker);
  CHECK(test::code_of([&] { (void)weir::parallel_exclusive_scan(in, in.begin(), 1); }) ==
        weir::errc::not_on_worker);
}
