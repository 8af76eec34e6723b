// SPDX-License-Identifier: MIT
// weir::event, weir::latch and weir::barrier: what lets several go on at once.
#include <weir/barrier.hpp>
#include <weir/event.hpp>
#include <weir/latch.hpp>
#include <weir/this_task.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using test::code_of;
using test::ending;
using test::ending_of;
using test::settle;
using test::with_workers;

namespace {

weir::task<> wait_for(weir::event& e) {
  co_await e.wait();
}

weir::task<> wait_for(weir::latch& l) {
  co_await l.wait();
}

weir::task<> arrive_at(weir::barrier& b) {
  co_await b.arrive_and_wait();
}

weir::task<> arrive_at(weir::latch& l, std::size_t n) {
  co_await l.arrive_and_wait(n);
}

/// Waits, and then ends what it has waited for.
weir::task<> wait_and_destroy(std::unique_ptr<weir::event> e) {
  co_await e->wait();
  e.reset();
}

weir::task<> wait_and_destroy(std::unique_ptr<weir::latch> l) {
  co_await l->wait();
  l.reset();
}

} // namespace

TEST_CASE("an event lets everybody go on while it is set", "[event]") {
  weir::runtime rt(with_workers(1));
  weir::event e;
  CHECK_FALSE(e.is_set());
  auto first = rt.spawn(wait_for(e));
  auto second = rt.spawn(wait_for(e));
  settle(rt);
  CHECK_FALSE(first.done());
  e.set();
  e.set();
  e.reset(); // those who waited go on all the same
  CHECK_FALSE(e.is_set());
  first.get();
  second.get();
  auto third = rt.spawn(wait_for(e));
  settle(rt);
  CHECK_FALSE(third.done());
  e.set();
  third.get();
  CHECK(e.is_set());
  rt.block_on(e.wait());
  weir::event set_at_first(true);
  rt.block_on(set_at_first.wait());
}

TEST_CASE("a cancelled wait for an event leaves the others alone", "[event]") {
  weir::runtime rt(with_workers(1));
  weir::event e;
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(rt.spawn(wait_for(e)));
  settle(rt);
  for (const std::size_t i : {0U, 2U, 4U}) {
    CHECK(handles[i].request_stop());
    CHECK(ending_of(handles[i]) == ending::cancelled);
  }
  CHECK_FALSE(handles[1].done());
  CHECK_FALSE(handles[3].done());
  e.set();
  CHECK(ending_of(handles[1]) == ending::value);
  CHECK(ending_of(handles[3]) == ending::value);
}

TEST_CASE("of set and a cancellation exactly one wins, and a waiter may destroy the event",
          "[event][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(3000); ++round) {
      weir::event stays;
      auto owned = std::make_unique<weir::event>();
      weir::event& goes = *owned;
      auto stopped = rt.spawn(wait_for(stays));
      auto destroys = rt.spawn(wait_and_destroy(std::move(owned)));
      auto sets = rt.submit([&, round] {
        test::stagger(round);
        goes.set();
        stays.set();
      });
      test::stagger(round * 7);
      stopped.request_stop();
      wrong += ending_of(stopped) == ending::error ? 1 : 0;
      destroys.get();
      sets.get();
      wrong += stays.is_set() ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a latch opens when its count is zero", "[latch]") {
  weir::runtime rt(with_workers(1));
  weir::latch l(4);
  auto first = rt.spawn(wait_for(l));
  auto second = rt.spawn(wait_for(l));
  l.count_down();
  l.count_down(2);
  l.count_down(0);
  settle(rt);
  CHECK_FALSE(l.try_wait());
  CHECK_FALSE(first.done());
  CHECK(code_of([&] { l.count_down(2); }) == weir::errc::limit_exceeded);
  CHECK_FALSE(l.try_wait());
  rt.block_on(l.arrive_and_wait());
  first.get();
  second.get();
  CHECK(l.try_wait());
  rt.block_on(l.wait());
  CHECK(code_of([&] { l.count_down(); }) == weir::errc::limit_exceeded);
  CHECK(code_of([&] { rt.block_on(l.arrive_and_wait()); }) == weir::errc::limit_exceeded);
  weir::latch open(0);
  CHECK(open.try_wait());
}

TEST_CASE("a cancelled arrival at a latch has counted if it waited", "[latch]") {
  weir::runtime rt(with_workers(1));
  weir::latch l(3);
  auto cancelled = rt.spawn(arrive_at(l, 2));
  auto waits = rt.spawn(wait_for(l));
  settle(rt);
  CHECK(cancelled.request_stop());
  CHECK(ending_of(cancelled) == ending::cancelled);
  CHECK_FALSE(waits.done());
  auto unstarted = [&l]() -> weir::task<> {
    try {
      weir::event never;
      co_await never.wait();
    } catch (const weir::task_cancelled&) {
    }
    co_await l.arrive_and_wait(1); // stop was requested: does not count
  };
  auto late = rt.submit(unstarted);
  settle(rt);
  CHECK(late.request_stop());
  CHECK(ending_of(late) == ending::cancelled);
  CHECK_FALSE(l.try_wait());
  l.count_down();
  waits.get();
}

TEST_CASE("a latch counts what comes from everywhere, and its waiter may destroy it",
          "[latch][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(1500); ++round) {
      auto owned = std::make_unique<weir::latch>(4);
      weir::latch& l = *owned;
      int sum[3] = {};
      auto destroys = rt.spawn(wait_and_destroy(std::move(owned)));
      for (int& part : sum) {
        rt.post([&l, &part] {
          part = 1;
          l.count_down();
        });
      }
      test::stagger(round);
      l.count_down();
      destroys.get();
      wrong += sum[0] + sum[1] + sum[2] == 3 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a barrier keeps its parties in step", "[barrier][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    constexpr int parties = 5;
    const int phases = test::rounds(300);
    std::atomic<int> arrived{0};
    std::atomic<int> completed{0};
    std::atomic<int> wrong{0};
    weir::barrier b(parties, [&] {
      // All have arrived and nobody goes on yet.
      wrong += arrived == (completed + 1) * parties ? 0 : 1;
      ++completed;
    });
    const auto party = [&](int seed) -> weir::task<> {
      for (int phase = 0; phase < phases; ++phase) {
        if ((phase + seed) % 3 == 0)
          co_await weir::yield();
        ++arrived;
        co_await b.arrive_and_wait();
        wrong += completed >= phase + 1 ? 0 : 1;
      }
    };
    std::vector<weir::handle<void>> handles;
    for (int i = 0; i < parties; ++i)
      handles.push_back(rt.submit(party, i));
    for (auto& handle : handles)
      handle.get();
    CHECK(completed == phases);
    CHECK(wrong == 0);
  }
}

TEST_CASE("a cancelled party takes its arrival back", "[barrier]") {
  weir::runtime rt(with_workers(1));
  int completed = 0;
  weir::barrier b(3, [&] { ++completed; });
  auto stopped = rt.spawn(arrive_at(b));
  auto stays = rt.spawn(arrive_at(b));
  settle(rt);
  CHECK(stopped.request_stop());
  CHECK(ending_of(stopped) == ending::cancelled);
  auto another = rt.spawn(arrive_at(b));
  settle(rt);
  CHECK_FALSE(stays.done()); // two have arrived
  CHECK(completed == 0);
  rt.block_on(b.arrive_and_wait());
  stays.get();
  another.get();
  CHECK(completed == 1);
}

TEST_CASE("a party that drops out is not waited for", "[barrier]") {
  weir::runtime rt(with_workers(1));
  int completed = 0;
  weir::barrier b(3, [&] { ++completed; });
  CHECK(b.parties() == 3);
  auto first = rt.spawn(arrive_at(b));
  auto second = rt.spawn(arrive_at(b));
  settle(rt);
  b.arrive_and_drop(); // the last one to arrive
  first.get();
  second.get();
  CHECK(completed == 1);
  CHECK(b.parties() == 2);
  b.arrive_and_drop();
  CHECK(completed == 1);
  rt.block_on(b.arrive_and_wait());
  CHECK(completed == 2);
  b.arrive_and_drop();
  CHECK(completed == 3);
  CHECK(b.parties() == 0);
  CHECK(code_of([&] { b.arrive_and_drop(); }) == weir::errc::limit_exceeded);
  CHECK(code_of([&] { rt.block_on(b.arrive_and_wait()); }) == weir::errc::limit_exceeded);
  CHECK(code_of([&] { weir::barrier none(0); }) == weir::errc::invalid_option);
}

TEST_CASE("a completion function that throws lets the others go on", "[barrier]") {
  weir::runtime rt(with_workers(1));
  weir::barrier b(2, [] { throw std::runtime_error("the last one gets this"); });
  auto first = rt.spawn(arrive_at(b));
  settle(rt);
  auto last = rt.spawn(arrive_at(b));
  CHECK(ending_of(last) == ending::error);
  CHECK(ending_of(first) == ending::value);
  auto third = rt.spawn(arrive_at(b)); // the next phase
  settle(rt);
  CHECK_THROWS_AS(b.arrive_and_drop(), std::runtime_error);
  CHECK(ending_of(third) == ending::value);
}

TEST_CASE("of the last arrival and a cancellation exactly one wins", "[barrier][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(2000); ++round) {
      std::atomic<int> completed{0};
      weir::barrier b(2, [&] { ++completed; });
      auto stopped = rt.spawn(arrive_at(b));
      if (round % 3 == 0)
        std::this_thread::yield();
      auto last = rt.spawn(arrive_at(b));
      test::stagger(round * 7);
      stopped.request_stop();
      if (ending_of(stopped) == ending::cancelled) {
        wrong += completed == 0 ? 0 : 1;
        rt.block_on(b.arrive_and_wait()); // in its place
      }
      last.get();
      wrong += completed == 1 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}
