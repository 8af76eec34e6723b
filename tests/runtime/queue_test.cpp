// SPDX-License-Identifier: MIT
// weir::queue: order, bound, closing, joining, cancellation.
#include <weir/queue.hpp>
#include <weir/this_task.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
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

using owned = std::unique_ptr<int>; // move-only items

weir::task<> push(weir::queue<owned>& q, int value) {
  co_await q.push(std::make_unique<int>(value));
}

/// The popped value, or -1 if there is no more.
weir::task<int> pop(weir::queue<owned>& q) {
  const std::optional<owned> item = co_await q.pop();
  co_return item ? **item : -1;
}

bool try_push(weir::queue<owned>& q, int value) {
  return q.try_push(std::make_unique<int>(value));
}

int try_pop(weir::queue<owned>& q) {
  const std::optional<owned> item = q.try_pop();
  return item ? **item : -1;
}

} // namespace

TEST_CASE("items come out in the order in which they went in", "[queue]") {
  weir::queue<owned> q;
  CHECK(q.capacity() == 0);
  CHECK(try_pop(q) == -1);
  int next = 0;
  for (int i = 0; i < 100; ++i) { // over the array's end, and while it grows
    CHECK(try_push(q, 3 * i));
    CHECK(try_push(q, 3 * i + 1));
    CHECK(try_push(q, 3 * i + 2));
    CHECK(try_pop(q) == next++);
  }
  CHECK(q.size() == 200);
  while (next < 300)
    CHECK(try_pop(q) == next++);
  CHECK(q.size() == 0);
  weir::runtime rt(with_workers(1));
  rt.block_on(q.push(std::make_unique<int>(300)));
  CHECK(**rt.block_on(q.pop()) == 300);
  CHECK(try_push(q, 1)); // left for the destructor
}

TEST_CASE("a copyable item can be tried from an lvalue", "[queue]") {
  weir::queue<std::string> q(1);
  const std::string text = "a text that is too long for the small buffer";
  CHECK(q.try_push(text));
  CHECK_FALSE(q.try_push(text));
  CHECK(q.try_pop() == text);
}

TEST_CASE("a bounded queue lets pushers wait in their order", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q(2);
  CHECK(q.capacity() == 2);
  std::vector<weir::handle<void>> pushes;
  for (int i = 0; i < 5; ++i)
    pushes.push_back(rt.spawn(push(q, i)));
  settle(rt);
  CHECK(pushes[1].done());
  CHECK_FALSE(pushes[2].done());
  CHECK(q.size() == 2);
  auto refused = std::make_unique<int>(9);
  CHECK_FALSE(q.try_push(std::move(refused)));
  REQUIRE(refused != nullptr); // untouched
  CHECK(*refused == 9);
  CHECK(try_pop(q) == 0);
  pushes[2].get();
  CHECK(q.size() == 2);
  CHECK_FALSE(q.try_push(std::move(refused))); // others wait for room
  for (int i = 1; i < 5; ++i)
    CHECK(rt.block_on(pop(q)) == i);
  for (auto& handle : pushes) {
    if (handle.valid() && &handle != &pushes[2])
      handle.get();
  }
  CHECK(q.size() == 0);
  CHECK(q.try_push(std::move(refused)));
}

TEST_CASE("poppers get their items in the order in which they came", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q(1);
  std::vector<weir::handle<int>> pops;
  for (int i = 0; i < 3; ++i)
    pops.push_back(rt.spawn(pop(q)));
  settle(rt);
  for (int i = 0; i < 3; ++i)
    CHECK(try_push(q, i)); // handed over: the bound does not matter
  CHECK(q.size() == 0);
  for (int i = 0; i < 3; ++i)
    CHECK(pops[static_cast<std::size_t>(i)].get() == i);
}

TEST_CASE("a closed queue gives what it has and takes no more", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q(2);
  CHECK(try_push(q, 1));
  CHECK(try_push(q, 2));
  auto waiting = rt.spawn(push(q, 3));
  settle(rt);
  CHECK_FALSE(q.closed());
  q.close();
  q.close();
  CHECK(q.closed());
  CHECK(code_of([&] { waiting.get(); }) == weir::errc::queue_closed);
  CHECK(code_of([&] { rt.block_on(push(q, 4)); }) == weir::errc::queue_closed);
  auto refused = std::make_unique<int>(5);
  CHECK(code_of([&] { (void)q.try_push(std::move(refused)); }) == weir::errc::queue_closed);
  CHECK(refused != nullptr);
  CHECK(rt.block_on(pop(q)) == 1);
  CHECK(try_pop(q) == 2);
  CHECK(rt.block_on(pop(q)) == -1);
  CHECK(try_pop(q) == -1);
}

TEST_CASE("closing lets those go on who wait for an item", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q;
  auto first = rt.spawn(pop(q));
  auto second = rt.spawn(pop(q));
  settle(rt);
  q.close();
  CHECK(first.get() == -1);
  CHECK(second.get() == -1);
}

TEST_CASE("a cancelled push enqueues nothing, a cancelled pop takes nothing", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q(1);
  auto popper = rt.spawn(pop(q));
  settle(rt);
  CHECK(popper.request_stop());
  CHECK(try_push(q, 1));
  CHECK(q.size() == 1);
  CHECK(ending_of(popper) == ending::cancelled);
  auto second = rt.spawn(push(q, 2));
  auto third = rt.spawn(push(q, 3));
  settle(rt);
  CHECK(second.request_stop());
  CHECK(ending_of(second) == ending::cancelled);
  CHECK(try_pop(q) == 1);
  third.get();
  CHECK(try_pop(q) == 3);
  CHECK(q.size() == 0);
}

TEST_CASE("row 46: join waits until every item has been processed", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q;
  rt.block_on(q.join()); // nothing was pushed
  CHECK(code_of([&] { q.item_processed(); }) == weir::errc::limit_exceeded);
  CHECK(try_push(q, 1));
  CHECK(try_push(q, 2));
  CHECK(code_of([&] { q.item_processed(); }) == weir::errc::limit_exceeded); // none was popped
  const auto join = [&q]() -> weir::task<> { co_await q.join(); };
  auto joined = rt.submit(join);
  auto stopped = rt.submit(join);
  CHECK(try_pop(q) == 1);
  q.item_processed();
  CHECK(try_pop(q) == 2);
  settle(rt);
  CHECK_FALSE(joined.done());
  CHECK(stopped.request_stop());
  CHECK(ending_of(stopped) == ending::cancelled);
  q.item_processed();
  joined.get();
  CHECK(code_of([&] { q.item_processed(); }) == weir::errc::limit_exceeded);
}

TEST_CASE("D24, 1A.13: a scoped pop marks its item also when the body throws", "[queue][D24]") {
  weir::runtime rt(with_workers(1));
  weir::queue<owned> q;
  const auto body = [&q](bool fails) -> weir::task<int> {
    auto item = co_await q.pop_scoped();
    if (!item)
      co_return -1;
    if (fails)
      throw std::runtime_error("the body fails");
    const weir::queue_item<owned> moved = std::move(*item);
    co_return **moved + *moved.value();
  };
  CHECK(try_push(q, 1));
  CHECK(try_push(q, 2));
  auto failing = rt.submit(body, true);
  CHECK(ending_of(failing) == ending::error);
  CHECK(rt.submit(body, false).get() == 4);
  rt.block_on(q.join());
  auto waiting = rt.submit(body, false);
  settle(rt);
  CHECK(try_push(q, 3));
  CHECK(waiting.get() == 6);
  rt.block_on(q.join());
  q.close();
  CHECK(rt.submit(body, false).get() == -1);
}

TEST_CASE("an item is gone before it counts as processed", "[queue]") {
  weir::runtime rt(with_workers(1));
  weir::queue<std::shared_ptr<int>> q;
  const auto watched = std::make_shared<int>(1);
  CHECK(q.try_push(watched));
  {
    const auto item = rt.block_on(q.pop_scoped());
    REQUIRE(item);
    CHECK(watched.use_count() == 2);
  }
  CHECK(watched.use_count() == 1);
  rt.block_on(q.join());
}

TEST_CASE("stopping the runtime ends waits for a queue", "[queue]") {
  for (const auto workers : test::worker_counts) {
    weir::queue<owned> empty;
    weir::queue<owned> full(1);
    REQUIRE(try_push(full, 0));
    std::atomic<int> waiting{0};
    const auto waits_to_pop = [&]() -> weir::task<int> {
      ++waiting;
      co_return co_await pop(empty);
    };
    const auto waits_to_push = [&](int value) -> weir::task<> {
      ++waiting;
      co_await push(full, value);
    };
    weir::runtime rt(with_workers(workers));
    std::vector<weir::handle<int>> pops;
    std::vector<weir::handle<void>> pushes;
    for (int i = 0; i < 20; ++i) {
      pops.push_back(rt.submit(waits_to_pop));
      pushes.push_back(rt.submit(waits_to_push, i));
    }
    test::eventually([&] { return waiting == 40; });
    rt.stop();
    for (auto& handle : pops)
      CHECK(ending_of(handle) == ending::cancelled);
    for (auto& handle : pushes)
      CHECK(ending_of(handle) == ending::cancelled);
    CHECK(full.size() == 1);
  }
}

TEST_CASE("everything that is pushed is popped once, in each producer's order", "[queue][race]") {
  for (const auto workers : test::worker_counts) {
    for (const std::size_t capacity : {0U, 1U, 3U}) {
      weir::runtime rt(with_workers(workers));
      weir::queue<std::pair<int, int>> q(capacity);
      const int count = test::rounds(800);
      constexpr int producers = 4;
      const auto produce = [&](int who) -> weir::task<> {
        for (int i = 0; i < count; ++i)
          co_await q.push({who, i});
      };
      std::atomic<int> wrong{0};
      std::atomic<int> popped{0};
      const auto consume = [&]() -> weir::task<> {
        std::vector<int> last(producers, -1);
        for (;;) {
          const auto item = co_await q.pop_scoped();
          if (!item)
            co_return;
          const auto [who, i] = item->value();
          wrong += i > last[static_cast<std::size_t>(who)] ? 0 : 1;
          last[static_cast<std::size_t>(who)] = i;
          ++popped;
        }
      };
      std::vector<weir::handle<void>> consumers;
      std::vector<weir::handle<void>> pushers;
      for (int i = 0; i < 3; ++i)
        consumers.push_back(rt.submit(consume));
      for (int i = 0; i < producers; ++i)
        pushers.push_back(rt.submit(produce, i));
      for (auto& handle : pushers)
        handle.get();
      rt.block_on(q.join());
      CHECK(popped == producers * count);
      q.close();
      for (auto& handle : consumers)
        handle.get();
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("of a push, a pop and their cancellations, no item is lost or doubled", "[queue][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int wrong = 0;
    for (int round = 0; round < test::rounds(2000); ++round) {
      weir::queue<owned> q(1);
      REQUIRE(try_push(q, 1));
      auto pusher = rt.spawn(push(q, 2)); // waits for room
      auto first = rt.spawn(pop(q));
      auto second = rt.spawn(pop(q)); // perhaps waits for an item
      test::stagger(round);
      if (round % 2 == 0)
        pusher.request_stop();
      test::stagger(round * 7);
      first.request_stop();
      int pushed = 1;
      int popped = 0;
      pushed += ending_of(pusher) == ending::value ? 1 : 0;
      popped += ending_of(first) == ending::value ? 1 : 0;
      q.close();
      try {
        popped += second.get() == -1 ? 0 : 1;
      } catch (const weir::task_cancelled&) {
        ++wrong; // nobody has stopped it
      }
      while (try_pop(q) != -1)
        ++popped;
      wrong += pushed == popped ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("threads outside may push and pop without waiting", "[queue][race]") {
  weir::runtime rt(with_workers(2));
  weir::queue<int> q(8);
  const int count = test::rounds(20000);
  std::thread producer([&] {
    for (int i = 0; i < count; ++i)
      test::eventually([&] { return q.try_push(i); });
  });
  const auto relay = [&]() -> weir::task<long> {
    long sum = 0;
    for (int i = 0; i < count / 2; ++i) {
      const auto item = co_await q.pop();
      sum += *item;
    }
    co_return sum;
  };
  auto relayed = rt.submit(relay);
  long sum = 0;
  for (int i = 0; i < count - count / 2; ++i) {
    test::eventually([&] {
      const auto item = q.try_pop();
      sum += item.value_or(0);
      return item.has_value();
    });
  }
  sum += relayed.get();
  producer.join();
  CHECK(sum == static_cast<long>(count) * (count - 1) / 2);
  CHECK(q.size() == 0);
}
