// SPDX-License-Identifier: MIT
// Runs a tree of the simulation on real workers, and prints what the runtime has counted:
//   count_scaling TREE SIZE WORKERS [ROUNDS]
// One line of JSON for each round, after one round that is not counted.
#include "tree.hpp"

#include <weir/weir.hpp>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// The leaves below the node, counted one by one.
std::uint64_t walk(const scaling::tree& work, const scaling::node& n) {
  if (work.is_leaf(n))
    return 1;
  const auto [l, r] = weir::fork_join([&work, &n] { return walk(work, work.left(n)); },
                                      [&work, &n] { return walk(work, work.right(n)); });
  return l + r;
}

std::uint64_t number(const char* text) {
  std::uint64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value);
  if (error != std::errc() || at != end) {
    std::fprintf(stderr, "%s is not a number\n", text);
    std::exit(2);
  }
  return value;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fputs("count_scaling TREE SIZE WORKERS [ROUNDS]\n", stderr);
    return 2;
  }
  const auto work = scaling::tree::named(argv[1], number(argv[2]));
  if (!work) {
    std::fprintf(stderr, "no such tree: %s %s\n", argv[1], argv[2]);
    return 2;
  }
  const std::uint64_t workers = number(argv[3]);
  const std::uint64_t rounds = argc == 5 ? number(argv[4]) : 1;
  weir::runtime rt({.workers = workers});
  weir::worker_stats before;
  for (std::uint64_t round = 0; round <= rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t leaves = rt.submit([&work] { return walk(*work, work->root()); }).get();
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
    if (leaves != work->leaves(work->root())) {
      std::fputs("not every leaf was visited once\n", stderr);
      return 1;
    }
    const weir::worker_stats now = rt.stats().total;
    if (round != 0) {
      const auto print = [](const char* key, std::uint64_t value) {
        std::printf("\"%s\": %llu, ", key, static_cast<unsigned long long>(value));
      };
      std::printf("{");
      print("forks", leaves - 1);
      print("steals", now.stolen_forks - before.stolen_forks);
      print("published", now.published_forks - before.published_forks);
      print("failed", now.failed_steals - before.failed_steals);
      print("parks", now.parks - before.parks);
      print("wakes", now.wakes - before.wakes);
      std::printf("\"ns\": %lld}\n", static_cast<long long>(took.count()));
    }
    before = now;
  }
}
