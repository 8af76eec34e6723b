// SPDX-License-Identifier: MIT
// Random trees of forks of every kind, while everything else happens too: each leaf runs once, each
// exception is delivered or counted once, and everything ends.
#include <weir/fork_join.hpp>
#include <weir/weir.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

struct leaf_failed : std::runtime_error {
  leaf_failed() : std::runtime_error("leaf") {}
};

/// What happens in a tree.
struct plan {
  weir::runtime* rt = nullptr;
  /// Where some nodes are guests; null: nowhere.
  weir::runtime* other = nullptr;
  bool throws = false;
  bool blocks = false;
  bool posts = false;
};

struct tally {
  std::uint64_t leaves = 0;
  std::uint64_t sum = 0;
  std::uint64_t thrown = 0;
  friend bool operator==(const tally&, const tally&) = default;
};

struct counts {
  std::atomic<std::uint64_t> leaves{0};
  std::atomic<std::uint64_t> sum{0};
  std::atomic<std::uint64_t> thrown{0};
  std::atomic<std::uint64_t> posted{0};
  std::atomic<std::uint64_t> arrived{0};
  [[nodiscard]] tally read() const { return {leaves, sum, thrown}; }
};

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
std::uint64_t mix(std::uint64_t seed) {
  seed += 0x9e3779b97f4a7c15;
  seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
  seed = (seed ^ (seed >> 27)) * 0x94d049bb133111eb;
  return seed ^ (seed >> 31);
}

std::uint64_t child(std::uint64_t seed, std::size_t number) {
  return mix(seed + number + 1);
}

bool is_leaf(std::uint64_t seed, int depth) {
  return depth == 0 || seed % 16 == 0;
}
std::size_t width(std::uint64_t seed) {
  return 1 + (seed >> 8) % 5;
}
bool fails(const plan& p, std::uint64_t seed) {
  return p.throws && (seed >> 16) % 40 == 0;
}

/// What the whole tree comes to.
void expect(const plan& p, std::uint64_t seed, int depth, tally& all) {
  if (is_leaf(seed, depth)) {
    ++all.leaves;
    all.sum += seed;
    all.thrown += fails(p, seed);
    return;
  }
  for (std::size_t i = 0; i < width(seed); ++i)
    expect(p, child(seed, i), depth - 1, all);
}

class tree {
 public:
  tree(const plan& p, counts& all) noexcept : plan_(p), all_(all) {}

  void grow(std::uint64_t seed, int depth) const {
    if (is_leaf(seed, depth)) {
      leaf(seed);
      return;
    }
    const std::size_t count = width(seed);
    switch ((seed >> 24) % 6) {
    case 0:
    case 1:
      halves(seed, depth, 0, count);
      break;
    case 2:
      first_and_rest(seed, depth, count);
      break;
    case 3:
      weir::with_fork_scope([&](weir::fork_scope& scope) {
        for (std::size_t i = 0; i < count; ++i)
          scope.fork([=, this] { grow(child(seed, i), depth - 1); });
      });
      break;
    case 4:
      weir::with_fork_scope([&](weir::fork_scope& scope) { chain(scope, seed, depth, 0, count); });
      break;
    default:
      if (plan_.other != nullptr) {
        weir::runtime& where = (seed >> 32) % 2 == 0 ? *plan_.rt : *plan_.other;
        weir::fork_join(
            where, [&] { halves(seed, depth, 0, count / 2); },
            [&] { halves(seed, depth, count / 2, count); });
      } else {
        halves(seed, depth, 0, count);
      }
    }
  }

 private:
  void leaf(std::uint64_t seed) const {
    ++all_.leaves;
    all_.sum += seed;
    test::stagger(static_cast<int>((seed >> 40) % 16));
    if (plan_.blocks && (seed >> 44) % 64 == 0)
      weir::blocking([] { std::this_thread::yield(); });
    if (plan_.posts && (seed >> 48) % 16 == 0) {
      ++all_.posted;
      plan_.rt->post([this] { ++all_.arrived; });
    }
    if (fails(plan_, seed)) {
      ++all_.thrown;
      throw leaf_failed();
    }
  }

  void halves(std::uint64_t seed, int depth, std::size_t first, std::size_t last) const {
    if (first == last)
      return;
    if (last - first == 1) {
      grow(child(seed, first), depth - 1);
      return;
    }
    const std::size_t middle = first + (last - first) / 2;
    weir::fork_join([&] { halves(seed, depth, first, middle); },
                    [&] { halves(seed, depth, middle, last); });
  }

  void first_and_rest(std::uint64_t seed, int depth, std::size_t count) const {
    const auto one = [&](std::size_t i) {
      return [this, seed, depth, i] { grow(child(seed, i), depth - 1); };
    };
    switch (count) {
    case 1:
      one(0)();
      break;
    case 2:
      weir::parallel_invoke(one(0), one(1));
      break;
    default:
      weir::parallel_invoke(one(0), one(1), [&] { halves(seed, depth, 2, count); });
    }
  }

  /// Each child forks the next one in the same scope.
  void chain(weir::fork_scope& scope, std::uint64_t seed, int depth, std::size_t i,
             std::size_t count) const {
    if (i == count)
      return;
    scope.fork([=, this, &scope] {
      chain(scope, seed, depth, i + 1, count);
      grow(child(seed, i), depth - 1);
    });
  }

  const plan& plan_;
  counts& all_;
};

weir::task<> grow_with_yields(const tree& t, std::uint64_t seed, int depth) {
  co_await weir::yield();
  t.grow(seed, depth);
  co_await weir::yield();
}

/// Changes the number of workers all the time.
class resizer {
 public:
  explicit resizer(weir::runtime& rt)
      : thread_([this, &rt] {
          for (std::size_t i = 0; !over_; ++i) {
            rt.resize(1 + i % 3);
            std::this_thread::yield();
          }
        }) {}
  ~resizer() {
    over_ = true;
    thread_.join();
  }
  resizer(const resizer&) = delete;
  resizer& operator=(const resizer&) = delete;

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

weir::runtime_options options_for(std::size_t workers, std::uint64_t seed) {
  weir::runtime_options options;
  options.workers = workers;
  options.max_workers = std::max<std::size_t>(workers, 3);
  if (seed % 3 == 0)
    options.spin = 0ns;
  return options;
}

/// Some trees at once, from tasks, coroutines and guests.
/// \return how many things went wrong.
int round_of_trees(std::size_t workers, std::uint64_t seed) {
  weir::runtime rt{options_for(workers, seed >> 8)};
  weir::runtime other{options_for(1 + seed % 2, seed >> 16)};
  const plan p{.rt = &rt,
               .other = (seed >> 24) % 2 == 0 ? &other : nullptr,
               .throws = (seed >> 32) % 2 == 0,
               .blocks = (seed >> 33) % 4 == 0,
               .posts = (seed >> 35) % 2 == 0};
  const bool resizes = (seed >> 40) % 4 == 0;
  constexpr int depth = 5;
  counts all;
  const tree t(p, all);
  tally expected;
  std::uint64_t delivered = 0;
  std::atomic<std::uint64_t> delivered_to_guests{0};
  {
    std::vector<weir::handle<void>> handles;
    std::vector<std::thread> guests;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto root = child(seed, i);
      expect(p, root, depth, expected);
      if (i == 0)
        handles.push_back(rt.submit([&t, root] { t.grow(root, depth); }));
      else if (i == 1)
        handles.push_back(rt.spawn(grow_with_yields(t, root, depth)));
      else
        guests.emplace_back([&, root] {
          try {
            weir::fork_join(rt, [&] { t.grow(root, depth); }, [] {});
          } catch (const leaf_failed&) {
            ++delivered_to_guests;
          }
        });
    }
    if (resizes) {
      const resizer changes(rt);
      for (auto& handle : handles)
        handle.wait();
    }
    for (auto& handle : handles)
      delivered += test::ending_of(handle) == test::ending::error;
    for (auto& guest : guests)
      guest.join();
  }
  delivered += delivered_to_guests;
  rt.drain();
  other.drain();
  int wrong = !(all.read() == expected);
  wrong += all.arrived != all.posted;
  const auto stats = rt.stats();
  const auto others = other.stats();
  wrong += stats.accepted != stats.ended;
  wrong += others.accepted != others.ended;
  wrong +=
      expected.thrown != delivered + stats.suppressed_exceptions + others.suppressed_exceptions;
  return wrong;
}

/// Trees that are stopped in the middle, one by one or with their runtime.
int round_of_stops(std::size_t workers, std::uint64_t seed) {
  weir::runtime rt{options_for(workers, seed >> 8)};
  weir::runtime other{options_for(1 + seed % 2, seed >> 16)};
  const plan p{.rt = &rt,
               .other = (seed >> 24) % 2 == 0 ? &other : nullptr,
               .throws = (seed >> 32) % 4 == 0};
  const bool stops_runtime = (seed >> 40) % 2 == 0;
  constexpr int depth = 5;
  std::vector<counts> all(3);
  int wrong = 0;
  std::vector<weir::handle<void>> handles;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto whole = [&p, &one = all[i], root = child(seed, i)] { tree(p, one).grow(root, depth); };
    handles.push_back(rt.submit(std::move(whole)));
  }
  test::stagger(static_cast<int>(seed >> 48));
  if (stops_runtime) {
    rt.stop();
  } else {
    for (auto& handle : handles)
      (void)handle.request_stop();
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    tally expected;
    expect(p, child(seed, i), depth, expected);
    const auto how = test::ending_of(handles[i]);
    const auto seen = all[i].read();
    wrong += seen.leaves > expected.leaves;
    wrong += how == test::ending::value && !(seen == expected);
    wrong += how == test::ending::error && seen.thrown == 0 && !stops_runtime;
  }
  rt.drain();
  other.drain();
  wrong += rt.stats().accepted != rt.stats().ended;
  wrong += other.stats().accepted != other.stats().ended;
  return wrong;
}

template <class Rounds>
void on_all_workers(Rounds&& rounds, int (*round)(std::size_t, std::uint64_t)) {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    const int count = rounds(workers);
    for (int i = 0; i < count; ++i) {
      const auto seed = mix(static_cast<std::uint64_t>(i) * 64 + workers);
      INFO("round " << i << " on " << workers);
      REQUIRE(round(workers, seed) == 0);
    }
  }
}

int few(std::size_t workers) {
  return workers == 16 || test::sanitized ? 10 : 40;
}
int many(std::size_t workers) {
  return workers == 16 ? 2000 : 20'000;
}

} // namespace

TEST_CASE("random trees of forks", "[fork_stress][stress]") {
  on_all_workers(few, round_of_trees);
}

TEST_CASE("random trees that are stopped", "[fork_stress][stress]") {
  on_all_workers(few, round_of_stops);
}

TEST_CASE("many random trees of forks", "[.long]") {
  on_all_workers(many, round_of_trees);
}

TEST_CASE("many random trees that are stopped", "[.long]") {
  on_all_workers(many, round_of_stops);
}
