// SPDX-License-Identifier: MIT
#include <weir/parallel_reduce.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/parallel.hpp>

namespace {

std::vector<double> fractions(std::size_t n) {
  std::vector<double> made(n);
  for (std::size_t i = 0; i < n; ++i)
    made[i] = 1.0 / static_cast<double>(i + 3);
  return made;
}

} // namespace

TEST_CASE("parallel_reduce gives what the serial loop gives", "[parallel_reduce]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      std::vector<std::int64_t> in(n);
      std::iota(in.begin(), in.end(), 1);
      const auto sum = static_cast<std::int64_t>(n * (n + 1) / 2);
      faults.check(weir::parallel_reduce(in, std::int64_t{5}) == sum + 5);
      faults.check(weir::parallel_reduce(in.begin(), in.end(), std::int64_t{0}, std::plus<>{},
                                         weir::grain(10)) == sum);
      const auto larger = [](std::int64_t a, std::int64_t b) { return std::max(a, b); };
      faults.check(weir::parallel_reduce(in, std::int64_t{0}, larger) ==
                   static_cast<std::int64_t>(n));
      faults.check(weir::parallel_reduce(weir::deterministic, in, std::int64_t{0}) == sum);
      faults.check(weir::parallel_transform_reduce(in, 0.0, std::plus<>{}, [](std::int64_t i) {
                     return static_cast<double>(i) / 2;
                   }) == static_cast<double>(sum) / 2);
      faults.check(weir::parallel_transform_reduce(
                       1, n + 1, std::int64_t{0}, std::plus<>{},
                       [](std::size_t i) { return static_cast<std::int64_t>(i); }) == sum);
    }
  });
  CHECK(faults.count() == 0);
}

namespace {

int doubled(int x) {
  return 2 * x;
}

} // namespace

TEST_CASE("a plain function may be the transform", "[parallel_reduce]") {
  weir::runtime rt{{.workers = 2}};
  const std::vector<int> ones(1000, 1);
  CHECK(weir::parallel_transform_reduce(rt, ones.begin(), ones.end(), 0, std::plus<>(), doubled) ==
        2000);
}

TEST_CASE("parallel_reduce keeps the order of what does not commute", "[parallel_reduce]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto n : test::sizes) {
      if (n > 2000)
        continue;
      std::deque<char> letters(n);
      for (std::size_t i = 0; i < n; ++i)
        letters[i] = static_cast<char>('a' + i % 26);
      const std::string wanted = ">" + std::string(letters.begin(), letters.end());
      const auto to_string = [](char c) { return std::string(1, c); };
      faults.check(weir::parallel_transform_reduce(letters, std::string(">"), std::plus<>{},
                                                   to_string) == wanted);
      faults.check(weir::parallel_transform_reduce(weir::deterministic, letters.begin(),
                                                   letters.end(), std::string(">"), std::plus<>{},
                                                   to_string, weir::grain(4)) == wanted);
      // Affine maps: each a pair of factors, packed in an arithmetic type.
      std::vector<std::uint64_t> maps(n);
      for (std::size_t i = 0; i < n; ++i)
        maps[i] = (2 * i + 1) << 32 | (i * 7 + 3);
      const auto then = [](std::uint64_t f, std::uint64_t g) {
        const auto fa = static_cast<std::uint32_t>(f >> 32);
        const auto fb = static_cast<std::uint32_t>(f);
        const auto ga = static_cast<std::uint32_t>(g >> 32);
        const auto gb = static_cast<std::uint32_t>(g);
        return std::uint64_t{fa * ga} << 32 | (fb * ga + gb);
      };
      const std::uint64_t neutral = std::uint64_t{1} << 32;
      faults.check(weir::parallel_reduce(maps, neutral, then) ==
                   std::accumulate(maps.begin(), maps.end(), neutral, then));
    }
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("parallel_reduce moves what cannot be copied", "[parallel_reduce]") {
  test::faults faults;
  test::everywhere([&] {
    const auto add = [](std::unique_ptr<int> a, std::unique_ptr<int> b) {
      *a += *b;
      return a;
    };
    const auto make = [](int i) { return std::make_unique<int>(i); };
    faults.check(*weir::parallel_transform_reduce(0, 2000, make(7), add, make) == 1'999'000 + 7);
    faults.check(*weir::parallel_transform_reduce(weir::deterministic, 0, 2000, make(7), add, make,
                                                  weir::grain(10)) == 1'999'000 + 7);
    faults.check(*weir::parallel_transform_reduce(0, 0, make(7), add, make) == 7);
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("a deterministic sum has the same bits on any number of workers", "[parallel_reduce]") {
  for (const std::size_t n : {5UL, 1024UL, 1025UL, 100'003UL}) {
    const auto in = fractions(n);
    std::set<std::uint64_t> bits;
    std::set<std::uint64_t> bits_of_squares;
    for (const auto workers : {1, 2, 3, 16}) {
      weir::runtime rt{{.workers = static_cast<std::size_t>(workers)}};
      for (int i = 0; i < test::rounds(20); ++i) {
        bits.insert(
            std::bit_cast<std::uint64_t>(weir::parallel_reduce(rt, weir::deterministic, in, 0.0)));
        bits.insert(std::bit_cast<std::uint64_t>(
            rt.submit([&] {
                return weir::parallel_reduce(weir::deterministic, in.begin(), in.end(), 0.0);
              }).get()));
        bits_of_squares.insert(std::bit_cast<std::uint64_t>(weir::parallel_transform_reduce(
            rt, weir::deterministic, 0, n, 0.0, std::plus<>{},
            [&](std::size_t k) { return in[k] * in[k]; }, weir::grain(100))));
      }
    }
    CHECK(bits.size() == 1);
    CHECK(bits_of_squares.size() == 1);
  }
}

TEST_CASE("the leaves of a deterministic sum are those that are documented", "[parallel_reduce]") {
  weir::runtime rt{{.workers = 2}};
  // Each leaf in parentheses, each combination in brackets.
  const auto shape = [&](int n, std::size_t leaf) {
    const auto op = [](std::string a, const std::string& b) {
      return a.back() == ']' || b.size() > 1 ? "[" + a + b + "]" : a + b;
    };
    return weir::parallel_transform_reduce(
        rt, weir::deterministic, 0, n, std::string("0"), op,
        [](int i) { return std::string(1, static_cast<char>('a' + i)); }, weir::grain(leaf));
  };
  CHECK(shape(3, 3) == "[0abc]");
  CHECK(shape(6, 3) == "[0[abcdef]]");
  CHECK(shape(8, 2) == "[0[[abcd][efgh]]]");
  CHECK(shape(10, 2) == "[0[[[abcd]ef][ghij]]]");
}

TEST_CASE("the first exception of a reduction is thrown when all of it has ended",
          "[parallel_reduce]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> running{0};
    const auto fails = [&](int i) {
      ++running;
      const bool bad = i % 300 == 299;
      --running;
      if (bad)
        throw std::runtime_error("299");
      return std::vector<int>{i};
    };
    const auto join = [](std::vector<int> a, const std::vector<int>& b) {
      a.insert(a.end(), b.begin(), b.end());
      return a;
    };
    for (int round = 0; round < test::rounds(50); ++round) {
      CHECK_THROWS_AS(weir::parallel_transform_reduce(rt, 0, 1000, std::vector<int>{}, join, fails),
                      std::runtime_error);
      CHECK_THROWS_AS(weir::parallel_transform_reduce(rt, weir::deterministic, 0, 1000,
                                                      std::vector<int>{}, join, fails,
                                                      weir::grain(16)),
                      std::runtime_error);
      CHECK(running == 0);
    }
  }
}

TEST_CASE("a reduction whose task is asked to stop starts no further pieces", "[parallel_reduce]") {
  for (const auto workers : test::worker_counts) {
    for (const bool fixed : {false, true}) {
      weir::runtime rt{{.workers = workers}};
      for (int round = 0; round < test::rounds(20); ++round) {
        std::atomic<int> calls{0};
        test::gate door;
        constexpr int n = 100'000'000;
        const auto one = [&](int) {
          ++calls;
          door.pass();
          return 1;
        };
        auto loop = rt.submit([&] {
          return fixed ? weir::parallel_transform_reduce(weir::deterministic, 0, n, 0,
                                                         std::plus<>{}, one)
                       : weir::parallel_transform_reduce(0, n, 0, std::plus<>{}, one);
        });
        test::eventually([&] { return calls != 0; });
        CHECK(loop.request_stop());
        door.open();
        CHECK_THROWS_AS(loop.get(), weir::task_cancelled);
        CHECK(calls < n / 2);
      }
    }
  }
}

TEST_CASE("reductions are refused where there is no runtime", "[parallel_reduce]") {
  const std::vector<int> in(3);
  CHECK(test::code_of([&] { (void)weir::parallel_reduce(in, 0); }) == weir::errc::not_on_worker);
  CHECK(test::code_of([&] { (void)weir::parallel_reduce(weir::deterministic, in, 0); }) ==
        weir::errc::not_on_worker);
}
