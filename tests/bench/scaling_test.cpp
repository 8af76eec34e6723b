// SPDX-License-Identifier: MIT
// The simulation of bench/scaling, where its results are known exactly or bounded by theory.
#include "../../bench/scaling/simulation.hpp"
#include "catch.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

using namespace scaling;

namespace {

const std::vector<tree> trees = {{tree::shape::fib, 24},       {tree::shape::fib, 1},
                                 {tree::shape::skynet, 4},     {tree::shape::skynet, 0},
                                 {tree::shape::uneven, 20000}, {tree::shape::uneven, 1}};

/// Chase-Lev whose joins wait, the same whose last one goes on, one that locks, and weir.
std::vector<model> designs() {
  std::vector<model> all(5);
  all[1].suspends = all[1].counted = 1;
  all[2].locked = 1;
  all[2].near_of_8 = 7;
  all[3].lazy = 1;
  all[4].lazy = all[4].parked = 1;
  for (model& m : all)
    m.leaf = 700;
  return all;
}

outcome simulated(const tree& work, model m, std::int64_t workers) {
  m.workers = workers;
  return simulation(work, m).run();
}

std::uint64_t walked(const tree& work, const node& n) {
  return work.is_leaf(n) ? 1 : walked(work, work.left(n)) + walked(work, work.right(n));
}

std::uint64_t lines(const outcome& o) {
  return o.near_lines + o.far_lines;
}

} // namespace

TEST_CASE("trees have as many leaves as they say") {
  for (const tree& t : trees)
    CHECK(walked(t, t.root()) == t.leaves(t.root()));
  CHECK(trees[0].forks(trees[0].root()) == 75024);
  CHECK(trees[2].leaves(trees[2].root()) == 10000);
  CHECK(trees[0].depth(trees[0].root()) == 23);
  CHECK(trees[2].depth(trees[2].root()) == 16);
  CHECK_FALSE(tree::named("fib", 90));
  CHECK_FALSE(tree::named("oak", 1));
}

TEST_CASE("one worker alone takes the sum of the costs and moves no line") {
  for (const tree& t : trees) {
    for (const model& m : designs()) {
      const outcome o = simulated(t, m, 1);
      const auto work = static_cast<picoseconds>(t.forks(t.root())) * m.fork +
                        static_cast<picoseconds>(t.leaves(t.root())) * m.leaf;
      CHECK(lines(o) == 0);
      CHECK(o.steals == 0);
      CHECK(o.wakes == 0);
      if (!m.lazy) {
        CHECK(o.time == work);
        continue;
      }
      // It publishes when nothing is public, takes that back, and that is all it pays for.
      CHECK(o.publications == o.taken_back);
      const auto paid = static_cast<picoseconds>(o.publications);
      CHECK(o.time >= work);
      CHECK(o.time <= work + paid * 3 * (m.rmw + 2 * m.hit));
    }
  }
}

TEST_CASE("every fork and leaf is run once, in no less time than theory allows") {
  for (const tree& t : trees) {
    const auto leaves = t.leaves(t.root());
    for (const model& m : designs()) {
      const auto work =
          static_cast<picoseconds>(leaves - 1) * m.fork + static_cast<picoseconds>(leaves) * m.leaf;
      const auto span = static_cast<picoseconds>(t.depth(t.root())) * m.fork + m.leaf;
      for (const std::int64_t workers : {2, 3, 7, 16, 64}) {
        const outcome o = simulated(t, m, workers);
        CHECK(o.forks == leaves - 1);
        CHECK(o.leaves == leaves);
        CHECK(o.time >= std::max(work / workers, span));
        CHECK(o.steals <= o.published);
        CHECK(o.published <= o.forks * (m.lazy ? o.deepest + 1 : 1));
      }
    }
  }
}

TEST_CASE("the same seed gives the same outcome, another one another") {
  for (const model& m : designs()) {
    const outcome first = simulated(trees[4], m, 16);
    const outcome second = simulated(trees[4], m, 16);
    CHECK(first.time == second.time);
    CHECK(lines(first) == lines(second));
    model other = m;
    other.seed = 2;
    CHECK(simulated(trees[4], other, 16).time != first.time);
  }
}

TEST_CASE("lazy forks move lines by their steals, not by their number") {
  model m;
  m.lazy = 1;
  for (const std::int64_t workers : {2, 8, 64}) {
    const outcome small = simulated({tree::shape::fib, 36}, m, workers);
    const outcome large = simulated({tree::shape::fib, 45}, m, workers);
    CHECK(small.steals > 0);
    CHECK(lines(small) < 40 * small.steals);
    CHECK(lines(large) < 40 * large.steals);
    CHECK(large.forks > 70 * small.forks);
    CHECK(lines(large) < 4 * lines(small));
    CHECK(large.published * 1000 < large.forks);
  }
}

TEST_CASE("lines between workers of one group are near") {
  for (model m : designs()) {
    m.group = 64;
    m.suspends = 0; // joins of this kind count as far, wherever they are
    CHECK(simulated(trees[0], m, 16).far_lines == 0);
    CHECK(simulated(trees[0], m, 16).near_lines > 0);
  }
}

TEST_CASE("a dearer line makes no run shorter by chance alone") {
  for (model m : designs()) {
    m.near = m.far = 1000;
    const auto cheap = simulated({tree::shape::fib, 30}, m, 32).time;
    m.near = m.far = 1'000'000;
    CHECK(simulated({tree::shape::fib, 30}, m, 32).time > cheap);
  }
}

TEST_CASE("sleepers are woken one after the other, or by all who publish") {
  model m;
  m.lazy = m.parked = 1;
  const tree work{tree::shape::fib, 42};
  for (const std::int64_t workers : {2, 16, 64}) {
    const outcome o = simulated(work, m, workers);
    CHECK(o.wakes >= static_cast<std::uint64_t>(workers - 1));
    CHECK(o.all_busy >= (workers - 1) * (m.wake + m.wake_call));
  }
  model many = m;
  many.wake_many = 1;
  CHECK(simulated(work, many, 64).all_busy < simulated(work, m, 64).all_busy / 4);
}

TEST_CASE("parameters that do not exist are refused") {
  model m;
  CHECK(m.set("far", 5));
  CHECK(m.far == 5);
  CHECK_FALSE(m.set("fare", 5));
  for (const std::int64_t workers : {0, 65})
    CHECK_THROWS_AS(simulated(trees[0], m, workers), std::invalid_argument);
}
