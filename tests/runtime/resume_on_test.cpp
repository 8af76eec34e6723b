// SPDX-License-Identifier: MIT
// resume_on: tasks that move between runtimes, what counts where, and runtimes that end meanwhile.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::code_of;

namespace {

weir::task<int> moves(weir::runtime& home, weir::runtime& away) {
  int wrong = home.on_worker() ? 0 : 1;
  co_await weir::resume_on(away);
  wrong += away.on_worker() ? 0 : 1;
  co_await weir::resume_on(away); // there already
  wrong += away.on_worker() ? 0 : 1;
  co_await weir::yield();
  wrong += away.on_worker() ? 0 : 1;
  co_await weir::sleep_for(1us);
  wrong += away.on_worker() ? 0 : 1;
  co_await weir::resume_on(home);
  wrong += home.on_worker() ? 0 : 1;
  co_return wrong;
}

weir::task<int> stays_away(weir::runtime& away) {
  co_await weir::resume_on(away);
  co_return away.on_worker() ? 1 : 0;
}

} // namespace

TEST_CASE("a task moves to another runtime and back", "[resume_on]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime home{{.workers = workers}};
    weir::runtime away{{.workers = workers}};
    CHECK(home.block_on(moves(home, away)) == 0);
    home.drain();
    away.drain();
    CHECK(home.stats().accepted == 1);
    CHECK(home.stats().ended == 1);
    CHECK(away.stats().accepted == 1);
    CHECK(away.stats().ended == 1);
  }
}

TEST_CASE("a task that ends away is completed at home", "[resume_on]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime home{{.workers = workers}};
    weir::runtime away{{.workers = workers}};
    const auto parent = [](weir::runtime& there) -> weir::task<int> {
      const int child = co_await stays_away(there);
      co_return child + (there.on_worker() ? 1 : 0); // the parent has moved too
    };
    CHECK(home.block_on(parent(away)) == 2);
    const auto fails = [](weir::runtime& there) -> weir::task<> {
      co_await weir::resume_on(there);
      throw std::runtime_error("away");
    };
    CHECK_THROWS_AS(home.block_on(fails(away)), std::runtime_error);
    home.drain();
    away.drain();
    CHECK(home.stats().accepted == home.stats().ended);
    CHECK(away.stats().accepted == away.stats().ended);
    CHECK(away.stats().accepted == 2);
  }
}

TEST_CASE("children move by themselves", "[resume_on]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime home{{.workers = workers}};
    weir::runtime away{{.workers = workers}};
    const auto parent = [](weir::runtime& here, weir::runtime& there) -> weir::task<int> {
      const auto [a, b] = co_await weir::when_all(stays_away(there), moves(here, there));
      const int timed = co_await weir::with_timeout(stays_away(there), 1h);
      co_return a + timed + (b == 0 ? 1 : 0) + (here.on_worker() ? 1 : 0);
    };
    CHECK(home.block_on(parent(home, away)) == 4);
    away.drain();
    CHECK(away.stats().accepted == away.stats().ended);
  }
}

TEST_CASE("a runtime that is closed takes no visitors", "[resume_on]") {
  weir::runtime home{{.workers = 1}};
  weir::runtime away{{.workers = 1}};
  away.stop();
  const auto tries = [](weir::runtime& here, weir::runtime& there) -> weir::task<bool> {
    bool refused = false;
    try {
      co_await weir::resume_on(there);
    } catch (const weir::error& e) {
      refused = e.code() == weir::errc::stopped;
    }
    co_return refused&& here.on_worker();
  };
  CHECK(home.block_on(tries(home, away)));
}

TEST_CASE("a task that was stopped does not move", "[resume_on][cancel]") {
  weir::runtime home{{.workers = 1}};
  weir::runtime away{{.workers = 1}};
  test::gate gate;
  std::atomic<bool> inside{false};
  const auto body = [](test::gate& door, std::atomic<bool>& flag,
                       weir::runtime& there) -> weir::task<> {
    flag = true;
    door.pass();
    co_await weir::resume_on(there);
  };
  auto handle = home.submit(body, std::ref(gate), std::ref(inside), std::ref(away));
  test::eventually([&] { return inside.load(); });
  (void)handle.request_stop();
  gate.open();
  CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
  CHECK(away.stats().accepted == 0);
}

TEST_CASE("a runtime waits for its visitors before it ends", "[resume_on][shutdown]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime home{{.workers = workers}};
    auto away = std::make_unique<weir::runtime>(weir::runtime_options{.workers = workers});
    std::atomic<bool> there{false};
    const auto body = [](weir::runtime& here, weir::runtime& visited,
                         std::atomic<bool>& arrived) -> weir::task<int> {
      co_await weir::resume_on(visited);
      arrived = true;
      for (int i = 0; i < 200; ++i)
        co_await weir::yield();
      co_await weir::resume_on(here);
      co_return here.on_worker() ? 1 : 0;
    };
    auto handle = home.submit(body, std::ref(home), std::ref(*away), std::ref(there));
    test::eventually([&] { return there.load(); });
    away.reset();
    CHECK(handle.get() == 1);
  }
}

TEST_CASE("many tasks wander between runtimes that end", "[resume_on][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (int round = 0; round < test::rounds(30); ++round) {
      weir::runtime home{{.workers = workers}};
      weir::runtime other{{.workers = workers}};
      auto away = std::make_unique<weir::runtime>(weir::runtime_options{.workers = workers});
      const auto body = [](weir::runtime& a, weir::runtime& b, weir::runtime& c,
                           int steps) -> weir::task<int> {
        for (int i = 0; i < steps; ++i) {
          try {
            co_await weir::resume_on(i % 3 == 0 ? a : i % 3 == 1 ? b : c);
          } catch (const weir::error&) {
            co_return 1; // closed meanwhile
          }
        }
        co_return 1;
      };
      std::vector<weir::handle<int>> all;
      for (int i = 0; i < 50; ++i)
        all.push_back(home.spawn(body(*away, other, home, 3 * (i % 7) + i % 3)));
      away->drain();
      int ended = 0;
      for (auto& one : all)
        ended += one.get();
      CHECK(ended == 50);
      CHECK(away->stats().accepted == away->stats().ended);
      other.drain();
      CHECK(other.stats().accepted == other.stats().ended);
    }
  }
}
