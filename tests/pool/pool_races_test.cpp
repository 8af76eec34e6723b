// SPDX-License-Identifier: MIT
// Pools at their narrow places: husks, closing, scaling, sharing and waiting for room at once.
#include <weir/detail/sync.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

/// A function that holds its slot, and the worker, until the test lets it go.
class blocker {
 public:
  void operator()() {
    inside_ = true;
    gate_.pass();
  }
  void wait_inside() const {
    test::eventually([&] { return inside_.load(); });
  }
  void open() { gate_.open(); }

 private:
  std::atomic<bool> inside_{false};
  test::gate gate_;
};

template <class Pool>
weir::handle<void> occupy(Pool& pool, blocker& with) {
  auto handle = pool.submit_nowait(std::ref(with));
  with.wait_inside();
  return handle;
}

void nothing() {}

weir::task<> for_ever() {
  co_await weir::sleep_for(1h);
}

template <class Pool>
weir::task<> submit_nothing(Pool& pool, std::atomic<bool>& begun) {
  auto submitted = pool.submit(nothing);
  begun = true;
  co_await submitted;
}

/// Whether the handle's task ran to its end.
bool finished(weir::handle<void>& handle) {
  try {
    handle.get();
    return true;
  } catch (const weir::task_cancelled&) {
    return false;
  }
}

/// Has `pool.submit()` wait for room; true once it certainly does.
template <class Pool>
weir::handle<void> wait_for_room(weir::runtime& rt, Pool& pool) {
  std::atomic<bool> begun{false};
  auto waiter = rt.spawn(submit_nothing<Pool>(pool, begun));
  test::eventually([&] { return begun.load(); });
  // The await follows on the same worker: what another task of all workers does comes later.
  const auto yields = []() -> weir::task<> {
    for (int i = 0; i < 64; ++i)
      co_await weir::yield();
  };
  rt.block_on(yields());
  return waiter;
}

/// Two pools of a slot each that share a queue, and a worker that no task of theirs blocks.
struct two_pools {
  weir::runtime rt{{.workers = 3}};
  weir::work_queue<weir::fifo> queue;
  weir::fixed_pool<> one{rt, queue, {.size = 1}};
  weir::fixed_pool<> other{rt, queue, {.size = 1}};
};

} // namespace

TEMPLATE_TEST_CASE("a task's room is free once its end is seen", "[pool_races]", weir::fifo,
                   weir::lifo, weir::priority) {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<TestType> pool{rt, {.size = 1, .queue_maxsize = 1}};
    for (int i = 0; i < 200; ++i) {
      blocker first;
      test::gate door;
      auto running = occupy(pool, first);
      auto waiting = pool.try_submit([&] { door.pass(); });
      CHECK(waiting);
      first.open();
      while (!running.done())
        std::this_thread::yield();
      auto next = pool.try_submit(nothing);
      CHECK(next);
      door.open();
      if (waiting)
        waiting->get();
      if (next)
        next->get();
    }
  }
}

TEST_CASE("clearing husks takes no task's slot", "[pool_races]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1}};
  std::vector<weir::handle<void>> waiting;
  std::atomic<int> ran{0};
  test::gate filled;
  auto first = pool.submit_nowait([&] {
    filled.pass();
    for (std::size_t i = 0; i < 100; ++i)
      (void)waiting[i].request_stop();
  });
  for (int i = 0; i < 150; ++i)
    waiting.push_back(pool.submit_nowait([&] { ++ran; }));
  filled.open();
  test::eventually([&] { return ran == 50; });
  CHECK(pool.target_size() == 1);
  rt.block_on(pool.close());
  CHECK(ran == 50);
}

TEST_CASE("the destructor stops a task that is just starting", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(6000);
  for (int round = 0; round < rounds; ++round) {
    weir::fixed_pool<> pool{rt, {.size = 1}};
    auto handle = pool.submit_nowait(for_ever);
    while (pool.waiting_tasks_number() != 0) // then a slot is just about to start it
      weir::detail::sync::relax();
  }
  SUCCEED("no destructor waits for the hour");
}

TEST_CASE("one of two sharing pools stops a task that is just starting", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(3000);
  for (int round = 0; round < rounds; ++round) {
    weir::work_queue<weir::fifo> queue;
    weir::fixed_pool<> stays{rt, queue, {.size = 1, .started = false}};
    std::optional<weir::fixed_pool<>> goes;
    goes.emplace(rt, queue, weir::fixed_pool_options{.size = 1});
    auto handle = goes->submit_nowait(for_ever);
    while (stays.waiting_tasks_number() != 0) // then a slot is just about to start it
      weir::detail::sync::relax();
    goes.reset();
  }
  SUCCEED("no destructor waits for the hour");
}

TEST_CASE("a waiter for room that gets in behind the last slot is cancelled", "[pool_races]") {
  const bool destroyed = GENERATE(false, true);
  for (int round = 0; round < 50; ++round) {
    weir::runtime rt{{.workers = 2}};
    std::optional<weir::fixed_pool<>> pool;
    pool.emplace(rt, weir::fixed_pool_options{.size = 1, .queue_maxsize = 1});
    blocker blocks;
    auto running = occupy(*pool, blocks);
    auto waiting = pool->submit_nowait(nothing);
    auto submitter = wait_for_room(rt, *pool);
    pool->scale(-1);
    std::atomic<bool> ended{false};
    std::thread closer([&] {
      if (destroyed)
        pool.reset();
      else
        rt.block_on(pool->close());
      ended = true;
    });
    CHECK_FALSE(finished(waiting)); // by the sweep, while its slot's task runs
    blocks.open();
    closer.join();
    CHECK(finished(running));
    CHECK_FALSE(finished(submitter));
  }
}

TEST_CASE("a submitter may be stopped at the moment of its admission", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
  const int rounds = test::rounds(2000);
  for (int round = 0; round < rounds; ++round) {
    blocker blocks;
    auto running = occupy(pool, blocks);
    auto waiting = pool.submit_nowait(nothing);
    auto submitter = wait_for_room(rt, pool);
    blocks.open();
    for (int i = 0; i < (round % 100) * 4; ++i)
      weir::detail::sync::relax();
    (void)submitter.request_stop();
    (void)finished(submitter);
    running.get();
    waiting.get();
    test::eventually(
        [&] { return pool.running_tasks_number() == 0 && pool.waiting_tasks_number() == 0; });
  }
  rt.block_on(pool.close());
  CHECK(pool.closed());
}

TEST_CASE("a pool may end while submitters are stopped at their admission", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(1000);
  for (int round = 0; round < rounds; ++round) {
    std::optional<weir::fixed_pool<>> pool;
    pool.emplace(rt, weir::fixed_pool_options{.size = 1, .queue_maxsize = 1});
    blocker blocks;
    auto running = occupy(*pool, blocks);
    auto waiting = pool->submit_nowait(nothing);
    auto submitter = wait_for_room(rt, *pool);
    std::thread closer([&] { pool.reset(); });
    blocks.open();
    (void)submitter.request_stop();
    closer.join();
    (void)finished(submitter);
    (void)finished(waiting);
    (void)finished(running);
  }
}

TEST_CASE("a slot that leaves without its task tells the pools that share it", "[pool_races]") {
  const bool destroyed = GENERATE(false, true);
  weir::runtime rt{{.workers = 1}};
  weir::work_queue<weir::fifo> queue;
  std::optional<weir::fixed_pool<>> goes;
  goes.emplace(rt, queue, weir::fixed_pool_options{.size = 1});
  weir::fixed_pool<> stays{rt, queue, {.size = 1}};
  std::atomic<bool> ran{false};
  rt.post([&] {
    goes->post([&] { ran = true; });
    if (destroyed)
      goes.reset();
    else
      goes->scale(-1);
  });
  test::eventually([&] { return ran.load(); });
  rt.block_on(stays.close());
  CHECK(ran);
}

TEST_CASE("close() ends when another pool takes the last task", "[pool_races]") {
  weir::runtime rt{{.workers = 1}};
  weir::work_queue<weir::fifo> queue;
  weir::fixed_pool<> closes{rt, queue, {.size = 1}};
  weir::fixed_pool<> other{rt, queue, {.size = 1}};
  std::atomic<int> ran{0};
  const auto body = [](auto& a, auto& b, std::atomic<int>& count) -> weir::task<> {
    b.post([&count] { ++count; });
    auto end = a.close();
    co_await end;
  };
  rt.block_on(body(closes, other, ran));
  CHECK(closes.closed());
  CHECK(ran == 1);
}

TEST_CASE("close() ends when the pool that shares its last tasks is destroyed", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  weir::work_queue<weir::fifo> queue;
  weir::fixed_pool<> closes{rt, queue, {.size = 1}};
  std::optional<weir::fixed_pool<>> other;
  other.emplace(rt, queue, weir::fixed_pool_options{.size = 1});
  closes.scale(-1);
  blocker blocks;
  auto running = occupy(*other, blocks);
  auto waiting = other->submit_nowait(nothing);
  closes.close_nowait();
  std::thread destroyer([&] { other.reset(); });
  CHECK_FALSE(finished(waiting));
  blocks.open();
  destroyer.join();
  rt.block_on(closes.close());
  CHECK(closes.closed());
}

TEST_CASE("close() cancels what no pool of the queue will run any more", "[pool_races]") {
  // The pool that could have run it has been closed, before or after, and is still there.
  const bool before = GENERATE(false, true);
  two_pools share;
  auto& [rt, queue, empty, other] = share;
  empty.scale(-1);
  if (before)
    rt.block_on(other.close());
  else
    other.scale(-1);
  auto waiting = empty.submit_nowait(nothing);
  empty.close_nowait();
  if (!before) {
    CHECK_FALSE(waiting.done()); // the other one may get a slot again
    other.close_nowait();
  }
  rt.block_on(empty.close());
  CHECK_FALSE(finished(waiting));
  rt.block_on(other.close());
  CHECK(empty.closed());
  CHECK(other.closed());
}

TEST_CASE("a pool without slots leaves what waits to one that gets some", "[pool_races]") {
  const bool hard = GENERATE(false, true);
  two_pools share;
  auto& [rt, queue, empty, other] = share;
  empty.scale(-1);
  other.scale(-1);
  auto waiting = empty.submit_nowait(nothing);
  empty.close_nowait(hard ? weir::removal::hard : weir::removal::soft);
  other.scale(1);
  CHECK(finished(waiting));
  rt.block_on(empty.close());
}

TEST_CASE("a pool without slots leaves what waits to one that has some", "[pool_races]") {
  two_pools share;
  auto& [rt, queue, empty, other] = share;
  empty.scale(-1);
  blocker blocks;
  auto running = occupy(other, blocks);
  auto waiting = empty.submit_nowait(nothing);
  empty.close_nowait(weir::removal::hard);
  other.close_nowait();
  CHECK_FALSE(waiting.done());
  blocks.open();
  CHECK(finished(waiting));
  rt.block_on(other.close());
  rt.block_on(empty.close());
}

TEST_CASE("hard closes of all pools of a queue cancel what waits", "[pool_races]") {
  two_pools share;
  auto& [rt, queue, one, two] = share;
  blocker blocks;
  blocker blocks_too;
  auto first = occupy(one, blocks);
  auto second = occupy(two, blocks_too);
  auto waiting = one.submit_nowait(nothing);
  one.close_nowait(weir::removal::hard);
  CHECK_FALSE(waiting.done());
  two.close_nowait(weir::removal::hard);
  CHECK_FALSE(finished(waiting));
  blocks.open();
  blocks_too.open();
  rt.block_on(one.close());
  rt.block_on(two.close());
  // Opened again, both run as before.
  one.start();
  two.start();
  CHECK(rt.block_on(one.submit([] { return 1; })) == 1);
  one.close_nowait(weir::removal::hard);
  CHECK(rt.block_on(two.submit([] { return 2; })) == 2);
}

TEST_CASE("what is admitted for a pool that has ended is counted", "[pool_races]") {
  weir::runtime rt{{.workers = 3}};
  weir::work_queue<weir::fifo> queue(1);
  std::optional<weir::fixed_pool<>> goes;
  goes.emplace(rt, queue, weir::fixed_pool_options{.size = 1});
  weir::fixed_pool<> stays{rt, queue, {.size = 1}};
  std::atomic<bool> inside{false};
  blocker second;
  auto in_first = goes->submit_nowait([&] { // until its pool has let go of the queue
    inside = true;
    const auto token = weir::this_task::stop_token();
    test::eventually([&] { return token.stop_requested(); });
  });
  test::eventually([&] { return inside.load(); });
  auto in_second = stays.submit_nowait(std::ref(second));
  second.wait_inside();
  auto waiting = stays.submit_nowait(nothing);
  auto submitter = wait_for_room(rt, *goes);
  std::thread destroyer([&] { goes.reset(); });
  (void)finished(in_first);
  second.open();
  destroyer.join();
  (void)finished(submitter);
  waiting.get();
  blocker third;
  auto in_third = stays.submit_nowait(std::ref(third));
  third.wait_inside();
  auto last = stays.submit_nowait(nothing);
  CHECK(stays.waiting_tasks_number() == 1);
  third.open();
  last.get();
  rt.block_on(stays.close());
  CHECK(stays.closed());
}

TEST_CASE("husks are cleared while others are still at cancelling them", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(300);
  for (int round = 0; round < rounds; ++round) {
    weir::fixed_pool<> pool{rt, {.size = 1}};
    pool.scale(-1);
    std::vector<weir::handle<void>> waiting;
    for (int i = 0; i < 200; ++i)
      waiting.push_back(pool.submit_nowait(nothing));
    const auto cancel = [&](std::size_t from) {
      for (std::size_t i = from; i < waiting.size(); i += 2)
        (void)waiting[i].request_stop();
    };
    std::thread other(cancel, 1U);
    cancel(0);
    other.join();
  }
  SUCCEED("nobody used a pool that was gone");
}

TEST_CASE("closing a pool without slots leaves nothing for the next life", "[pool_races]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1}};
  const auto body = [](weir::fixed_pool<>& p) -> weir::task<bool> {
    p.scale(-1);
    auto husk = p.submit_nowait(nothing);
    (void)husk.request_stop();
    p.close_nowait();
    auto end = p.close();
    co_await end;
    p.start();
    auto next = p.submit_nowait(nothing);
    bool ran = false;
    try {
      co_await next;
      ran = true;
    } catch (const weir::task_cancelled&) { // not expected
    }
    co_return ran;
  };
  CHECK(rt.block_on(body(pool)));
}

TEST_CASE("a pool that ends does not cancel the next pool's tasks", "[pool_races]") {
  const bool destroyed = GENERATE(false, true);
  weir::runtime rt{{.workers = 1}};
  weir::work_queue<weir::fifo> queue;
  const auto body = [](weir::runtime& on, weir::work_queue<weir::fifo>& shared,
                       bool gone) -> weir::task<int> {
    std::optional<weir::fixed_pool<>> goes;
    goes.emplace(on, shared, weir::fixed_pool_options{.size = 1});
    goes->post(nothing);
    if (gone)
      goes.reset();
    else
      goes->close_nowait(weir::removal::hard);
    weir::fixed_pool<> next(on, shared, {.size = 1});
    std::vector<weir::handle<void>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(next.submit_nowait(nothing));
    int ran = 0;
    for (auto& each : tasks) {
      try {
        co_await each;
        ++ran;
      } catch (const weir::task_cancelled&) { // not expected
      }
    }
    co_return ran;
  };
  CHECK(rt.block_on(body(rt, queue, destroyed)) == 10);
}

TEST_CASE("pools come to a queue while others leave it", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(2000);
  std::atomic<int> ran{0};
  weir::work_queue<weir::fifo> queue;
  auto last = std::make_unique<weir::fixed_pool<>>(rt, queue);
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 5; ++i)
      last->post(nothing);
    std::thread destroyer([gone = std::move(last)]() mutable { gone.reset(); });
    last = std::make_unique<weir::fixed_pool<>>(rt, queue);
    for (int i = 0; i < 5; ++i)
      last->post([&] { ++ran; });
    destroyer.join();
    // Those that the dying pool's slots held just then are cancelled, else all run.
    rt.block_on(last->close());
    last->start();
  }
  CHECK(ran > 0);
}

TEST_CASE("a callable that cannot be copied leaves no room taken", "[pool_races]") {
  struct throws_when_copied {
    throws_when_copied() = default;
    throws_when_copied(const throws_when_copied&) { throw std::runtime_error("no copy"); }
    throws_when_copied& operator=(const throws_when_copied&) = delete;
    void operator()() const {}
  };
  static constinit weir::context_key<int> key;
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
  const throws_when_copied f;
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(pool.post(f), std::runtime_error);
    const weir::context_scope context(key, 1);
    CHECK_THROWS_AS(pool.post(f), std::runtime_error);
  }
  pool.submit_nowait(nothing).get();
}

TEST_CASE("a submission that was refused may be awaited again", "[pool_races]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool{rt, {.size = 2}};
  const auto body = [](weir::fixed_pool<>& p) -> weir::task<int> {
    auto submitted = p.submit([] { return 7; });
    p.set_paused(true);
    bool refused = false;
    try {
      co_await submitted;
    } catch (const weir::not_available&) {
      refused = true;
    }
    p.set_paused(false);
    const int value = co_await submitted;
    co_return refused ? value : 0;
  };
  CHECK(rt.block_on(body(pool)) == 7);
}

TEST_CASE("clearing husks keeps the order of one submitter", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(60);
  constexpr int count = 3000;
  for (int round = 0; round < rounds; ++round) {
    weir::fixed_pool<> pool{rt, {.size = 1}};
    std::vector<weir::handle<void>> handles;
    std::vector<int> order;
    order.reserve(count);
    blocker blocks;
    auto running = occupy(pool, blocks);
    for (int i = 0; i < count; ++i)
      handles.push_back(pool.submit_nowait([&order, i] { order.push_back(i); }));
    for (std::size_t i = 1; i < count; i += 2) {
      (void)handles[i].request_stop();
      if (i == 1493)
        blocks.open();
    }
    rt.block_on(pool.close());
    // Each time that husks are cleared, the slot may have been about to take a later one.
    int overtaking = 0;
    int least = count;
    for (std::size_t at = order.size(); at-- != 0;) {
      overtaking += order[at] > least ? 1 : 0;
      least = std::min(least, order[at]);
    }
    CHECK(overtaking <= 30);
    running.get();
  }
}

TEST_CASE("a pool's end waits for its autoscaling step", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> inside{false};
  std::atomic<bool> left{false};
  test::gate gate;
  weir::autoscale_options options;
  options.auto_scale_interval = 1ms;
  options.policy = [&](const weir::autoscale_input&) {
    inside = true;
    gate.pass();
    left = true;
    return weir::autoscale_decision{};
  };
  auto pool = std::make_unique<weir::autoscale_pool<>>(rt, options);
  test::eventually([&] { return inside.load(); });
  std::atomic<bool> destroying{false};
  std::atomic<bool> in_order{false};
  std::thread destroyer([&] {
    destroying = true;
    pool.reset();
    in_order = left.load();
  });
  test::eventually([&] { return destroying.load(); });
  std::thread opener([&] { gate.open(); });
  opener.join();
  destroyer.join();
  CHECK(in_order);
}

TEST_CASE("a late step does not give a closed pool slots", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> inside{false};
  test::gate gate;
  weir::autoscale_options options;
  options.auto_scale_interval = 1ms;
  options.policy = [&](const weir::autoscale_input&) {
    inside = true;
    gate.pass();
    weir::autoscale_decision grows;
    grows.delta = 1;
    return grows;
  };
  weir::autoscale_pool<> pool{rt, options};
  test::eventually([&] { return inside.load(); });
  rt.block_on(pool.close());
  gate.open();
  // Once tasks are on both workers, the late step is over.
  std::atomic<int> here{0};
  const auto meet = [&] {
    ++here;
    test::eventually([&] { return here == 2; });
  };
  auto one = rt.submit(meet);
  rt.submit(meet).get();
  one.get();
  CHECK(pool.closed());
  CHECK(pool.target_size() == 0);
}

TEST_CASE("raising the limit while room comes free admits who waits", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  const int rounds = test::rounds(500);
  for (int round = 0; round < rounds; ++round) {
    weir::fixed_pool<> pool{rt, {.size = 1, .queue_maxsize = 1}};
    blocker blocks;
    auto running = occupy(pool, blocks);
    auto waiting = pool.submit_nowait(nothing);
    auto submitter = wait_for_room(rt, pool);
    pool.scale(-1);
    std::thread scaler([&] { pool.scale(1); });
    blocks.open();
    scaler.join();
    submitter.get();
    waiting.get();
    running.get();
  }
}

TEST_CASE("a timed task that stops with its runtime leaves nothing behind", "[pool_races]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt, {.size = 1, .time_every = 1}};
  std::atomic<bool> running{false};
  test::gate gate;
  auto task = pool.submit_nowait([&]() -> weir::task<> {
    running = true;
    gate.pass();
    co_await weir::sleep_for(1h); // the first the runtime hears of it, and it is stopping
  });
  test::eventually([&] { return running.load(); });
  std::thread stopper([&] { rt.stop(); });
  test::eventually([&] { return test::code_of([&] { rt.post(nothing); }) == weir::errc::stopped; });
  gate.open();
  stopper.join();
  CHECK_FALSE(finished(task));
}
