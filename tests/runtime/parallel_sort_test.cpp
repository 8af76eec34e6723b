// SPDX-License-Identifier: MIT
#include <weir/parallel_sort.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/parallel.hpp>

namespace {

/// Inputs that have been hard for sorts.
std::vector<int> input(int pattern, std::size_t size) {
  std::vector<int> made(size);
  const int n = static_cast<int>(size);
  std::mt19937 random(static_cast<unsigned>(n));
  for (int i = 0; i < n; ++i) {
    int& each = made[static_cast<std::size_t>(i)];
    switch (pattern) {
    case 0:
      each = static_cast<int>(random());
      break;
    case 1:
      each = i;
      break;
    case 2:
      each = n - i;
      break;
    case 3:
      each = 5;
      break;
    case 4:
      each = static_cast<int>(random() % 4);
      break;
    case 5:
      each = i < n / 2 ? i : n - i;
      break;
    case 6:
      each = i == n / 3 ? -1 : i;
      break;
    case 7:
      each = i % 37 * 1000 + i / 37;
      break;
    case 8:
      each = i % 2 == 0 ? i : n - i;
      break;
    default:
      each = i < n - n / 100 - 1 ? i : static_cast<int>(random() % 1000);
    }
  }
  return made;
}
constexpr int patterns = 10;

/// An element that is moved by what may throw, as far as the compiler knows.
class heavy {
 public:
  explicit heavy(int value) : value_(std::make_shared<int>(value)) {}
  heavy(const heavy&) = delete;
  heavy& operator=(const heavy&) = delete;
  heavy(heavy&& other) noexcept(false) : value_(std::move(other.value_)) {}
  heavy& operator=(heavy&& other) noexcept(false) {
    value_ = std::move(other.value_);
    return *this;
  }
  ~heavy() = default;
  [[nodiscard]] int value() const { return value_ == nullptr ? -1 : *value_; }

 private:
  std::shared_ptr<int> value_;
};

int value_of(int each) {
  return each;
}
int value_of(const std::unique_ptr<int>& each) {
  return each == nullptr ? -1 : *each;
}
int value_of(const heavy& each) {
  return each.value();
}

template <class T>
T make(int value) {
  if constexpr (std::is_same_v<T, std::unique_ptr<int>>)
    return std::make_unique<int>(value);
  else
    return T(value);
}

template <class Range>
std::vector<int> values_of(const Range& range) {
  std::vector<int> values;
  for (const auto& each : range)
    values.push_back(value_of(each));
  return values;
}

constexpr auto by_value = [](const auto& a, const auto& b) { return value_of(a) < value_of(b); };

template <class T>
void sort_of(test::faults& faults) {
  test::everywhere([&] {
    for (int pattern = 0; pattern < patterns; ++pattern) {
      for (const std::size_t size : {0UL, 1UL, 2UL, 3UL, 23UL, 24UL, 25UL, 129UL, 600UL, 3000UL}) {
        const auto in = input(pattern, size);
        auto wanted = in;
        std::sort(wanted.begin(), wanted.end());
        std::deque<T> sorted;
        std::vector<T> stable;
        for (const int each : in) {
          sorted.push_back(make<T>(each));
          stable.push_back(make<T>(each));
        }
        weir::parallel_sort(sorted, by_value);
        faults.check(values_of(sorted) == wanted);
        weir::parallel_stable_sort(stable, by_value);
        faults.check(values_of(stable) == wanted);
      }
    }
  });
}

} // namespace

TEST_CASE("parallel_sort sorts integers", "[parallel_sort]") {
  test::faults faults;
  sort_of<int>(faults);
  CHECK(faults.count() == 0);
}

TEST_CASE("parallel_sort sorts what can only be moved", "[parallel_sort]") {
  test::faults faults;
  sort_of<std::unique_ptr<int>>(faults);
  CHECK(faults.count() == 0);
}

TEST_CASE("parallel_sort sorts what is moved by what may throw", "[parallel_sort]") {
  test::faults faults;
  sort_of<heavy>(faults);
  CHECK(faults.count() == 0);
}

TEST_CASE("large ranges are sorted", "[parallel_sort]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int pattern = 0; pattern < patterns; ++pattern) {
      const auto in = input(pattern, static_cast<std::size_t>(test::rounds(100'000)));
      auto wanted = in;
      std::sort(wanted.begin(), wanted.end());
      auto sorted = in;
      weir::parallel_sort(rt, sorted);
      CHECK(sorted == wanted);
      sorted = in;
      weir::parallel_stable_sort(rt, sorted.begin(), sorted.end());
      CHECK(sorted == wanted);
      std::reverse(wanted.begin(), wanted.end());
      rt.submit([&] { weir::parallel_sort(sorted.begin(), sorted.end(), std::greater<>{}); }).get();
      CHECK(sorted == wanted);
    }
  }
}

TEST_CASE("parallel_stable_sort keeps the order of equal elements", "[parallel_sort]") {
  test::faults faults;
  test::everywhere([&] {
    for (const auto size : test::sizes) {
      for (const int keys : {1, 2, 50}) {
        std::vector<std::pair<int, std::size_t>> elements(size);
        std::mt19937 random(7);
        for (std::size_t i = 0; i < size; ++i)
          elements[i] = {static_cast<int>(random() % static_cast<unsigned>(keys)), i};
        auto named = elements;
        weir::parallel_stable_sort(elements,
                                   [](const auto& a, const auto& b) { return a.first < b.first; });
        faults.check(std::ranges::is_sorted(elements));
        faults.check(elements.size() == size);
        std::sort(named.begin(), named.end());
        faults.check(elements == named);
      }
    }
  });
  CHECK(faults.count() == 0);
}

TEST_CASE("sorting takes no quadratic time", "[parallel_sort]") {
  // McIlroy's adversary decides on the values while they are compared.
  constexpr int n = 20'000;
  std::vector<int> value(n, n);
  int solid = 0;
  int candidate = 0;
  std::int64_t comparisons = 0;
  const auto less = [&](int a, int b) {
    ++comparisons;
    auto& x = value[static_cast<std::size_t>(a)];
    auto& y = value[static_cast<std::size_t>(b)];
    if (x == n && y == n)
      (a == candidate ? x : y) = solid++;
    if (x == n)
      candidate = a;
    else if (y == n)
      candidate = b;
    return x < y;
  };
  weir::runtime rt{{.workers = 1}};
  rt.submit([&] {
      std::vector<int> elements(n);
      std::iota(elements.begin(), elements.end(), 0);
      weir::parallel_sort(elements, std::ref(less));
    }).get();
  CHECK(comparisons < 100 * n); // n log2 n = 14 n
}

TEMPLATE_TEST_CASE("no element is lost if a comparison throws", "[parallel_sort]", int,
                   std::unique_ptr<int>, heavy) {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (const std::size_t size : {30UL, 500UL, 5000UL}) {
      const auto in = input(0, size);
      auto wanted = in;
      std::sort(wanted.begin(), wanted.end());
      for (int round = 0; round < test::rounds(30); ++round) {
        for (const bool stable : {false, true}) {
          std::vector<TestType> elements;
          for (const int each : in)
            elements.push_back(make<TestType>(each));
          std::atomic<int> left{1 + round * round * static_cast<int>(size) / 100};
          const auto fails = [&](const TestType& a, const TestType& b) {
            if (left-- == 0)
              throw std::runtime_error("compared enough");
            return value_of(a) < value_of(b);
          };
          bool thrown = false;
          try {
            if (stable)
              weir::parallel_stable_sort(rt, elements, fails);
            else
              weir::parallel_sort(rt, elements, fails);
          } catch (const std::runtime_error&) {
            thrown = true;
          }
          auto values = values_of(elements);
          CHECK(thrown == (left < 0));
          if (thrown)
            std::sort(values.begin(), values.end());
          CHECK(values == wanted);
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("no element is lost if a sort is cancelled", "[parallel_sort]", int,
                   std::unique_ptr<int>) {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const auto in = input(0, 5000);
    auto wanted = in;
    std::sort(wanted.begin(), wanted.end());
    for (int round = 0; round < test::rounds(30); ++round) {
      for (const bool stable : {false, true}) {
        std::vector<TestType> elements;
        for (const int each : in)
          elements.push_back(make<TestType>(each));
        std::atomic<int> compared{0};
        test::gate door;
        const int stop_at = round * 1000;
        const auto less = [&](const TestType& a, const TestType& b) {
          if (compared++ == stop_at)
            door.pass();
          return value_of(a) < value_of(b);
        };
        auto sort = rt.submit([&] {
          if (stable)
            weir::parallel_stable_sort(elements, less);
          else
            weir::parallel_sort(elements, less);
        });
        test::eventually([&] { return compared > stop_at; });
        (void)sort.request_stop();
        door.open();
        bool cancelled = false;
        try {
          sort.get();
        } catch (const weir::task_cancelled&) {
          cancelled = true;
        }
        auto values = values_of(elements);
        if (cancelled)
          std::sort(values.begin(), values.end());
        CHECK(values == wanted);
        if (round == 0)
          CHECK(cancelled);
      }
    }
  }
}

TEST_CASE("sorts are refused where there is no runtime", "[parallel_sort]") {
  std::vector<int> in{2, 1};
  CHECK(test::code_of([&] { weir::parallel_sort(in); }) == weir::errc::not_on_worker);
  CHECK(test::code_of([&] { weir::parallel_stable_sort(in); }) == weir::errc::not_on_worker);
  CHECK(in == std::vector<int>{2, 1});
}
