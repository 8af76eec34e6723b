// SPDX-License-Identifier: MIT
// post, submit, spawn and their bulk forms; handles; bad input.
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

using test::code_of;

namespace {

int free_function(int a, int b) {
  return a * b;
}

weir::task<std::string> coroutine(std::string text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) {
    co_await weir::yield();
    all += text;
  }
  co_return all;
}

struct throwing_copy {
  throwing_copy() = default;
  throwing_copy(const throwing_copy&) { throw std::runtime_error("copy"); }
  throwing_copy& operator=(const throwing_copy&) = default;
};

struct throwing_move_result {
  throwing_move_result() = default;
  throwing_move_result(throwing_move_result&&) { throw std::runtime_error("move"); }
};

weir::task<std::size_t> refers(const std::string& text, int) {
  co_await weir::yield();
  co_return text.size();
}
struct greeter {
  weir::task<> operator()(std::string&& name) const;
};
struct base {};
struct derived : base {};
struct holder {
  operator const std::string&() const;
};
struct open_holder {
  operator std::string&() const;
};
template <class P>
using taking = weir::task<> (*)(P);

// What would be a temporary is told from what is kept.
using weir::detail::keeps_temporary;
static_assert(keeps_temporary<decltype(&refers), const char*, int>);
static_assert(!keeps_temporary<decltype(&refers), std::string, long>);
static_assert(!keeps_temporary<decltype(&refers), std::reference_wrapper<const std::string>, int>);
static_assert(keeps_temporary<greeter, const char*>);
static_assert(!keeps_temporary<greeter, std::string>);
static_assert(keeps_temporary<taking<const double&>, int>);
static_assert(!keeps_temporary<taking<double>, int>);
static_assert(!keeps_temporary<taking<const base&>, derived>);
static_assert(!keeps_temporary<taking<const std::string&>, holder>);
static_assert(!keeps_temporary<taking<const std::string&>, open_holder>);
static_assert(!keeps_temporary<taking<std::string_view>, const char*>);
static_assert(
    keeps_temporary<weir::task<> (*)(weir::inplace_stop_token, const std::string&) noexcept,
                    const char*>);
static_assert(keeps_temporary<weir::named_function<&refers>, const char*, int>);
// Parameters that have a default are not given.
static_assert(!keeps_temporary<weir::task<> (*)(int, const std::string&), int>);
static_assert(keeps_temporary<weir::task<> (*)(const std::string&, int), const char*>);

} // namespace

TEST_CASE("post runs every callable exactly once from any number of threads", "[submit]") {
  for (const auto workers : test::worker_counts) {
    for (const int threads : {1, 2, 4}) {
      weir::runtime rt{{.workers = workers}};
      const int each = test::rounds(20'000);
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(threads * each));
      std::vector<std::thread> producers;
      for (int p = 0; p < threads; ++p) {
        producers.emplace_back([&, p] {
          for (int i = 0; i < each; ++i)
            rt.post([&seen, at = static_cast<std::size_t>(p * each + i)] { ++seen[at]; });
        });
      }
      for (auto& p : producers)
        p.join();
      rt.drain();
      int wrong = 0;
      for (const auto& count : seen)
        wrong += count != 1;
      CHECK(wrong == 0);
      const auto stats = rt.stats();
      CHECK(stats.accepted == seen.size());
      CHECK(stats.ended == seen.size());
    }
  }
}

TEST_CASE("posted callables of every size and kind run and are destroyed", "[submit]") {
  auto alive = std::make_shared<int>(0);
  {
    weir::runtime rt{{.workers = 2}};
    std::array<char, 200> large{};
    large[199] = 1;
    std::atomic<int> sum{0};
    const auto from_outside_and_inside = [&] {
      rt.post([&sum] { ++sum; });
      rt.post([&sum, alive] { sum += alive.use_count() > 0 ? 1 : 0; });
      rt.post([&sum, large] { sum += large[199]; });
      rt.post([&sum, p = std::make_unique<int>(1)] { sum += *p; });
      rt.post([&sum, alive, text = std::string(100, 'x'), large] { sum += large[199]; });
      std::function<void()> function = [&sum] { ++sum; };
      rt.post(function);
      rt.post(std::move(function));
    };
    from_outside_and_inside();
    rt.submit(from_outside_and_inside).get();
    rt.drain();
    CHECK(sum == 14);
  }
  CHECK(alive.use_count() == 1);
}

TEST_CASE("submit gives the results of callables, members and coroutines", "[submit]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.submit(free_function, 6, 7).get() == 42);
    CHECK(rt.submit(&std::string::size, std::string("four")).get() == 4);
    CHECK(rt.submit([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3)).get() !=
          nullptr);
    CHECK(rt.submit(coroutine, "ab", 3).get() == "ababab");
    int target = 0;
    CHECK(&rt.submit([](int& i) -> int& { return i; }, std::ref(target)).get() == &target);
    rt.submit([&target] { target = 5; }).get();
    CHECK(target == 5);
    CHECK(rt.spawn(coroutine("x", 2)).get() == "xx");
    CHECK(rt.submit(refers, std::string(100, 'x'), 0).get() == 100);
  }
}

TEST_CASE("a lambda coroutine may use its captures until it ends", "[submit]") {
  weir::runtime rt{{.workers = 2}};
  auto shared = std::make_shared<std::string>("kept");
  std::weak_ptr<std::string> watch = shared;
  auto handle = rt.submit([shared = std::move(shared)]() -> weir::task<std::string> {
    for (int i = 0; i < 100; ++i)
      co_await weir::yield();
    co_return *shared;
  });
  CHECK(handle.get() == "kept");
  CHECK(watch.expired());
}

TEST_CASE("a callable that needs a stop token is given its task's own", "[submit]") {
  std::atomic<bool> started{false};
  weir::runtime rt{{.workers = 2}};
  auto handle = rt.submit(
      [&started](weir::inplace_stop_token token, int value) {
        started = true;
        while (!token.stop_requested())
          std::this_thread::yield();
        return value;
      },
      9);
  test::eventually([&] { return started.load(); });
  CHECK(handle.request_stop());
  CHECK(handle.get() == 9);
}

TEST_CASE("a task that has not started when stop is requested never starts", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  auto blocker = rt.submit([&] { door.pass(); });
  bool ran = false;
  auto callable = rt.submit([&] { ran = true; });
  auto coro = rt.submit([&]() -> weir::task<> {
    ran = true;
    co_return;
  });
  auto spawned = rt.spawn([](bool& flag) -> weir::task<> {
    flag = true;
    co_return;
  }(ran));
  callable.request_stop();
  coro.request_stop();
  spawned.request_stop();
  door.open();
  blocker.get();
  CHECK_THROWS_AS(callable.get(), weir::task_cancelled);
  CHECK_THROWS_AS(coro.get(), weir::task_cancelled);
  CHECK_THROWS_AS(spawned.get(), weir::task_cancelled);
  CHECK_FALSE(ran);
}

TEST_CASE("bulk forms submit everything in order with one wake-up", "[submit]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> sum{0};
    std::vector<std::function<void()>> functions;
    for (int i = 1; i <= 1000; ++i)
      functions.emplace_back([&sum, i] { sum += i; });
    rt.post_bulk(functions);
    rt.post_bulk(std::move(functions));
    const auto square = [](int i) { return [i] { return i * i; }; };
    std::vector<decltype(square(0))> squares;
    for (int i = 0; i < 1000; ++i)
      squares.push_back(square(i));
    auto handles = rt.submit_bulk(squares);
    REQUIRE(handles.size() == 1000);
    int wrong = 0;
    for (int i = 0; i < 1000; ++i)
      wrong += handles[static_cast<std::size_t>(i)].get() != i * i;
    CHECK(wrong == 0);
    // From a worker, too.
    rt.submit([&] {
        std::vector<std::function<void()>> more(100, [&sum] { ++sum; });
        rt.post_bulk(more);
      }).get();
    rt.post_bulk(std::vector<std::function<void()>>());
    rt.drain();
    CHECK(sum == 1001 * 1000 + 100);
  }
}

TEST_CASE("a bulk of move-only callables is moved", "[submit]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> sum{0};
  const auto make = [&sum](int i) { return [&sum, p = std::make_unique<int>(i)] { sum += *p; }; };
  std::vector<decltype(make(0))> callables;
  for (int i = 0; i < 100; ++i)
    callables.push_back(make(i));
  rt.post_bulk(std::move(callables));
  rt.drain();
  CHECK(sum == 4950);
}

TEST_CASE("exceptions of tasks arrive at get and at co_await", "[submit]") {
  weir::runtime rt{{.workers = 2}};
  auto callable = rt.submit([] { throw std::runtime_error("callable"); });
  auto coro = rt.submit([]() -> weir::task<int> {
    co_await weir::yield();
    throw std::runtime_error("coroutine");
  });
  CHECK_THROWS_WITH(callable.get(), "callable");
  CHECK_THROWS_WITH(coro.get(), "coroutine");
  const auto awaits = [](weir::runtime& on) -> weir::task<std::string> {
    std::string text;
    auto inner = on.submit([] { throw std::runtime_error("awaited"); });
    try {
      co_await inner;
    } catch (const std::runtime_error& e) {
      text = e.what();
    }
    co_return text;
  };
  CHECK(rt.block_on(awaits(rt)) == "awaited");
}

TEST_CASE("an exception that nobody waits for goes to the handler exactly once", "[submit]") {
  std::atomic<int> handled{0};
  {
    weir::runtime rt{
        {.workers = 2, .on_unhandled_exception = [&](std::exception_ptr) { ++handled; }}};
    rt.post([] { throw std::runtime_error("posted"); });
    rt.post([] { throw weir::task_cancelled(); }); // a stopped task, no error
    {
      auto dropped_before = rt.submit([] { throw std::runtime_error("dropped"); });
    }
    auto dropped_after = rt.submit([] { throw std::runtime_error("dropped later"); });
    dropped_after.wait();
    {
      const auto gone = std::move(dropped_after);
    }
    auto taken = rt.submit([] { throw std::runtime_error("taken"); });
    CHECK_THROWS(taken.get());
    rt.drain();
    CHECK(rt.stats().unhandled_exceptions == 3);
  }
  CHECK(handled == 3);
}

TEST_CASE("a handle may outlive its runtime, and so may its unseen exception", "[submit]") {
  std::atomic<int> handled{0};
  weir::handle<int> value;
  weir::handle<int> failed;
  {
    weir::runtime rt{
        {.workers = 1, .on_unhandled_exception = [&](std::exception_ptr) { ++handled; }}};
    value = rt.submit([] { return 5; });
    failed = rt.submit([]() -> int { throw std::runtime_error("late"); });
    rt.drain();
  }
  CHECK(value.get() == 5);
  CHECK(handled == 0);
  failed = weir::handle<int>();
  CHECK(handled == 1);
}

TEST_CASE("wait_for and wait_until tell whether the task has ended", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  auto handle = rt.submit([&] { door.pass(); });
  CHECK_FALSE(handle.wait_for(1ms));
  CHECK_FALSE(handle.wait_for(-1ms));
  CHECK_FALSE(handle.wait_until(std::chrono::steady_clock::now() + 1ms));
  CHECK_FALSE(handle.wait_until(std::chrono::system_clock::now() + 1ms));
  CHECK_FALSE(handle.wait_until(std::chrono::steady_clock::time_point::min()));
  CHECK_FALSE(handle.done());
  door.open();
  CHECK(handle.wait_for(std::chrono::hours::max()));
  CHECK(handle.wait_until(std::chrono::steady_clock::time_point::max()));
  CHECK(handle.done());
  handle.get();
  CHECK_FALSE(handle.valid());
  CHECK(code_of([&] { handle.get(); }) == weir::errc::no_state);
  CHECK(code_of([&] { (void)handle.done(); }) == weir::errc::no_state);
}

TEST_CASE("many threads may wait for one task", "[submit]") {
  weir::runtime rt{{.workers = 2}};
  for (int round = 0; round < test::rounds(200); ++round) {
    test::gate door;
    auto handle = rt.submit([&] { door.pass(); });
    std::atomic<int> woken{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 4; ++i) {
      waiters.emplace_back([&] {
        handle.wait();
        ++woken;
      });
    }
    door.open();
    for (auto& w : waiters)
      w.join();
    CHECK(woken == 4);
  }
}

TEST_CASE("a blocking wait on a worker is refused by name unless the task has ended", "[submit]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::runtime other{{.workers = 1}};
    test::gate door;
    auto pending = other.submit([&] { door.pass(); });
    auto own_pending = rt.submit([] {});
    own_pending.wait();
    const auto tries = [&] {
      CHECK(code_of([&] { pending.get(); }) == weir::errc::would_deadlock);
      CHECK(code_of([&] { pending.wait(); }) == weir::errc::would_deadlock);
      CHECK(code_of([&] { (void)pending.wait_for(1h); }) == weir::errc::would_deadlock);
      CHECK(code_of([&] { rt.block_on(coroutine("a", 1)); }) == weir::errc::would_deadlock);
      CHECK(code_of([&] { other.block_on(coroutine("a", 1)); }) == weir::errc::would_deadlock);
      CHECK(pending.valid());
      own_pending.get();
    };
    rt.submit(tries).get();
    door.open();
    pending.get();
  }
}

TEST_CASE("a second coroutine that awaits one handle is refused", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  auto shared = rt.submit([&] { door.pass(); });
  weir::runtime elsewhere{{.workers = 1}};
  const auto awaits = [](weir::handle<void>& h) -> weir::task<> { co_await h; };
  auto first = elsewhere.submit(awaits, std::ref(shared));
  auto second = elsewhere.submit(awaits, std::ref(shared));
  CHECK(code_of([&] { second.get(); }) == weir::errc::already_awaited);
  door.open();
  first.get();
}

TEST_CASE("tasks await handles of their own and of other runtimes and come home", "[submit]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime a{{.workers = workers}};
    weir::runtime b{{.workers = workers}};
    const auto body = [](weir::runtime& home, weir::runtime& away) -> weir::task<int> {
      int good = 0;
      for (int i = 0; i < 100; ++i) {
        auto own = home.submit([i] { return i; });
        auto other = away.submit([i] { return i; });
        const int x = co_await own;
        const int y = co_await other;
        good += x == i && y == i && home.on_worker();
      }
      co_return good;
    };
    CHECK(a.block_on(body(a, b)) == 100);
  }
}

TEST_CASE("empty callables are refused at the call", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  const std::function<void()> empty;
  void (*null)() = nullptr;
  CHECK(code_of([&] { rt.post(empty); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { rt.post(null); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { (void)rt.submit(empty); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { (void)rt.submit(null); }) == weir::errc::empty_callable);
  std::atomic<int> ran{0};
  std::vector<std::function<void()>> some{[&] { ++ran; }, empty};
  CHECK(code_of([&] { rt.post_bulk(some); }) == weir::errc::empty_callable);
  CHECK(code_of([&] { (void)rt.submit_bulk(some); }) == weir::errc::empty_callable);
  rt.drain();
  CHECK(ran == 0); // all or none
  CHECK(rt.stats().accepted == 0);
}

TEST_CASE("an argument whose copy throws is the submitter's problem, nobody else's", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  const throwing_copy bad;
  CHECK_THROWS_WITH(rt.submit([](const throwing_copy&) {}, bad), "copy");
  struct callable {
    throwing_copy part;
    void operator()() const {}
  };
  const callable uncopyable;
  CHECK_THROWS_WITH(rt.post(uncopyable), "copy");
  CHECK(rt.submit([] { return 1; }).get() == 1);
  CHECK(rt.stats().accepted == 1);
}

TEST_CASE("a result that throws when it is moved is reported to the waiter", "[submit]") {
  weir::runtime rt{{.workers = 1}};
  auto handle = rt.submit([] { return throwing_move_result(); });
  CHECK_THROWS_WITH(handle.get(), "move");
  CHECK(rt.submit([] { return 1; }).get() == 1);
}

TEST_CASE("a callable is destroyed right after it ran, before its result is published",
          "[submit]") {
  weir::runtime rt{{.workers = 2}};
  for (int i = 0; i < test::rounds(1000); ++i) {
    auto held = std::make_shared<int>(1);
    std::weak_ptr<int> watch = held;
    rt.submit([held = std::move(held)] {}).get();
    CHECK(watch.expired());
  }
}

TEST_CASE("a callable's destructor may submit", "[submit]") {
  struct submits {
    submits(weir::runtime& on, std::atomic<int>& count) : rt(&on), ran(&count) {}
    submits(submits&& other) noexcept : rt(std::exchange(other.rt, nullptr)), ran(other.ran) {}
    ~submits() {
      if (rt != nullptr)
        rt->post([count = ran] { ++*count; });
    }
    void operator()() {}
    weir::runtime* rt;
    std::atomic<int>* ran;
  };
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> ran{0};
  rt.post(submits(rt, ran));
  rt.submit(submits(rt, ran)).get();
  rt.drain();
  CHECK(ran == 2);
}
