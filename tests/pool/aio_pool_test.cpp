// SPDX-License-Identifier: MIT
// The scenarios of Python's aio_parallel_tools, row by row of the specification: S3 to S9, the
// derived checks D27 to D35, and the defects B-1 to B-19 that must not come back.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::code_of;

namespace {

using lines = std::vector<std::string>;
const std::vector<unsigned> none;

/// A runtime with one worker on a clock that jumps whenever nothing is left to run: what happens is
/// the same each time, and a second takes no time.
class stage {
 public:
  weir::manual_clock clock;
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  lines out;

  /// Catch's own macros are for the main thread.
  void expect(bool holds, std::source_location where = std::source_location::current()) {
    if (!holds)
      wrong.push_back(where.line());
  }
  template <class F>
  void expect_refusal(F&& f, const std::string& text,
                      std::source_location where = std::source_location::current()) {
    bool refused = false;
    try {
      f();
    } catch (const weir::error& e) {
      refused = e.what() == text;
    }
    expect(refused, where);
  }
  /// The lines of expectations that did not hold.
  std::vector<unsigned> wrong;

  void say(std::string line) { out.push_back(at() + " " + std::move(line)); }
  std::string at() const {
    const auto s =
        std::chrono::duration_cast<std::chrono::milliseconds>(clock.now().time_since_epoch());
    return std::to_string(s.count());
  }

  /// `test` of the document: five seconds.
  weir::task<std::string> test(std::string name) {
    say(name + " start");
    for (int i = 0; i < 5; ++i)
      co_await weir::sleep_for(1s);
    say(name + " done");
    co_return "ok:" + name + " done";
  }
  /// Sleeps and says so.
  weir::task<> work(std::string name, std::chrono::milliseconds time) {
    say(name + " start");
    co_await weir::sleep_for(time);
    say(name + " done");
  }
};

auto of_test(stage& on) {
  return [&on](std::string name) { return on.test(std::move(name)); };
}

/// Only the names, in the order of their starts.
lines starts(const stage& on) {
  lines names;
  for (const auto& line : on.out) {
    const auto from = line.find(' ') + 1;
    if (line.ends_with(" start"))
      names.push_back(line.substr(from, line.size() - from - 6));
  }
  return names;
}

/// Submits four tasks at once, as `asyncio.gather` does, and gives the results in that order.
template <class Pool, class Test>
weir::task<lines> gather(Pool& pool, Test test, lines names) {
  std::vector<weir::handle<std::string>> handles;
  for (auto& name : names)
    handles.push_back(pool.submit_nowait(test, name));
  lines results;
  for (auto& handle : handles)
    results.push_back(co_await handle);
  co_return results;
}

} // namespace

TEST_CASE("S3: the first snippet, scoped", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.started = false});
  const auto body = [&on](weir::fixed_pool<>& p) -> weir::task<> {
    on.say("test pool size " + std::to_string(p.size()));
    auto next = p.submit(of_test(on), std::string("e"));
    const std::string r = co_await next;
    on.say(r);
    on.say("scale " + std::to_string(co_await p.scale(3)));
    on.say("test pool size " + std::to_string(p.size()));
  };
  on.rt.block_on(weir::use(pool, body));
  CHECK(on.out == lines{"0 test pool size 3", "0 e start", "5000 e done", "5000 ok:e done",
                        "5000 scale 6", "5000 test pool size 6"});
  CHECK(on.at() == "5000"); // the end takes no time
  CHECK(pool.size() == 0);
  CHECK(pool.paused());
  CHECK(pool.closed());
}

TEST_CASE("S3: the third snippet, started and closed by hand", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.started = false});
  CHECK(pool.paused());
  CHECK(pool.size() == 0);
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    p.start();
    s.say("test pool size " + std::to_string(p.size()));
    auto next = p.submit(of_test(s), std::string("e"));
    const std::string r = co_await next;
    s.say(r);
    (void)co_await p.scale(3);
    s.say("test pool size " + std::to_string(p.size()));
    auto end = p.close();
    co_await end;
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
  CHECK(on.out == lines{"0 test pool size 3", "0 e start", "5000 e done", "5000 ok:e done",
                        "5000 test pool size 6"});
  CHECK(pool.size() == 0);
  CHECK(pool.closed());
}

TEST_CASE("S3: the scope closes the pool also when its body throws", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.started = false});
  const auto body = [&on](weir::fixed_pool<>& p) -> weir::task<int> {
    on.expect(!(p.paused()));
    co_await weir::sleep_for(1s);
    throw std::runtime_error("from the body");
  };
  CHECK_THROWS_WITH(on.rt.block_on(weir::use(pool, body)), "from the body");
  CHECK(on.wrong == none);
  CHECK(pool.closed());
}

TEST_CASE("S4: four tasks on three slots, as coroutines", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt);
  const auto results = on.rt.block_on(gather(pool, of_test(on), {"c", "b", "a", "d"}));
  CHECK(results == lines{"ok:c done", "ok:b done", "ok:a done", "ok:d done"});
  CHECK(on.out == lines{"0 c start", "0 b start", "0 a start", "5000 c done", "5000 b done",
                        "5000 a done", "5000 d start", "10000 d done"});
}

TEST_CASE("S4: plain functions run on the pool's executor, as many as both allow", "[aio_pool]") {
  weir::runtime rt{{.workers = 1}};
  for (const std::size_t threads : {1U, 8U}) {
    weir::blocking_executor executor({.max_threads = threads});
    weir::fixed_pool<> pool(rt, {.size = 3, .executor = executor});
    std::atomic<int> inside{0};
    std::atomic<int> peak{0};
    test::gate door;
    const auto test = [&](std::string name) {
      const int now = ++inside;
      int seen = peak;
      while (now > seen && !peak.compare_exchange_weak(seen, now)) {
      }
      door.pass();
      --inside;
      return "ok:" + name + " done";
    };
    auto all = rt.spawn(gather(pool, test, {"c", "b", "a", "d"}));
    const int expected = threads == 1 ? 1 : 3;
    test::eventually([&] { return inside == expected; });
    // The worker is free meanwhile.
    CHECK(rt.submit([] { return 7; }).get() == 7);
    CHECK(pool.running_tasks_number() == 3);
    CHECK(pool.waiting_tasks_number() == 1);
    door.open();
    CHECK(all.get() == lines{"ok:c done", "ok:b done", "ok:a done", "ok:d done"});
    CHECK(peak == expected);
    rt.block_on(pool.close());
  }
}

namespace {

struct own_executor {
  explicit own_executor(weir::blocking_executor& t) : to(&t) {}
  template <class F>
  void post(F&& f) {
    ++calls;
    if (refuse)
      throw std::runtime_error("no thread today");
    to->post(std::forward<F>(f));
  }
  weir::blocking_executor* to;
  int calls = 0;
  bool refuse = false;
};

} // namespace

TEST_CASE("S4: a user's executor is as good", "[aio_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor threads({.max_threads = 2});
  own_executor executor(threads);
  weir::fixed_pool<> pool(rt, {.size = 2, .executor = executor});
  CHECK(rt.block_on(pool.submit([](int a, std::unique_ptr<int> b) { return a + *b; }, 3,
                                std::make_unique<int>(4))) == 7);
  CHECK(executor.calls == 1);
  // Coroutines stay on the runtime.
  CHECK(rt.block_on(pool.submit([]() -> weir::task<int> { co_return 5; })) == 5);
  CHECK(executor.calls == 1);
  CHECK_THROWS_WITH(rt.block_on(pool.submit([] { throw std::runtime_error("in the call"); })),
                    "in the call");
  executor.refuse = true;
  CHECK_THROWS_WITH(rt.block_on(pool.submit([] {})), "no thread today");
  executor.refuse = false;
  rt.block_on(pool.submit([] {}));
  rt.block_on(pool.close());
}

TEST_CASE("S5: weights order what waits, equal ones first come first served", "[aio_pool]") {
  SECTION("four submissions before a slot can look") {
    stage on;
    weir::fixed_pool<weir::priority> pool(on.rt, {.size = 1});
    const auto main = [](stage& s, weir::fixed_pool<weir::priority>& p) -> weir::task<lines> {
      std::vector<weir::handle<std::string>> handles;
      handles.push_back(p.submit_nowait({.weight = 4}, of_test(s), std::string("first")));
      handles.push_back(p.submit_nowait(of_test(s), std::string("w4")));
      handles.push_back(p.submit_nowait({.weight = 1}, of_test(s), std::string("w1")));
      handles.push_back(p.submit_nowait({.weight = 9}, of_test(s), std::string("w9")));
      lines results;
      for (auto& handle : handles)
        results.push_back(co_await handle);
      co_return results;
    };
    CHECK(on.rt.block_on(main(on, pool)) ==
          lines{"ok:first done", "ok:w4 done", "ok:w1 done", "ok:w9 done"});
    CHECK(starts(on) == lines{"w1", "first", "w4", "w9"});
  }
  SECTION("equal weights on three slots") {
    stage on;
    weir::fixed_pool<weir::priority> pool(on.rt);
    const auto main = [](stage& s, weir::fixed_pool<weir::priority>& p) -> weir::task<> {
      std::vector<weir::handle<std::string>> handles;
      for (const char* name : {"c", "b", "a", "d"})
        handles.push_back(p.submit_nowait({.weight = 5}, of_test(s), std::string(name)));
      for (auto& handle : handles)
        (void)co_await handle;
    };
    on.rt.block_on(main(on, pool));
    CHECK(on.wrong == none);
    CHECK(starts(on) == lines{"c", "b", "a", "d"});
  }
  SECTION("eleven weights on one slot") {
    stage on;
    weir::fixed_pool<weir::priority> pool(on.rt, {.size = 1});
    const auto main = [](stage& s, weir::fixed_pool<weir::priority>& p) -> weir::task<> {
      std::vector<weir::handle<std::string>> handles;
      int id = 0;
      for (const int weight : {5, 4, 4, 4, 4, 4, 4, 1, 0, -3, 9})
        handles.push_back(p.submit_nowait({.weight = weight}, of_test(s), std::to_string(id++)));
      for (auto& handle : handles)
        (void)co_await handle;
    };
    on.rt.block_on(main(on, pool));
    CHECK(on.wrong == none);
    CHECK(starts(on) == lines{"9", "8", "7", "1", "2", "3", "4", "5", "6", "0", "10"});
  }
}

namespace {

template <class Pool>
concept takes_weight = requires(Pool& p, void (*f)()) { p.submit({.weight = 1}, f); } ||
                       requires(Pool& p, void (*f)()) { p.submit_async({.weight = 1}, f); } ||
                       requires(Pool& p, void (*f)()) { p.submit_nowait({.weight = 1}, f); } ||
                       requires(Pool& p, void (*f)()) { (void)p.try_submit({.weight = 1}, f); } ||
                       requires(Pool& p, void (*f)()) { p.post({.weight = 1}, f); };
template <class Pool>
concept takes_deadline =
    requires(Pool& p, void (*f)()) { p.submit({.timeout = std::chrono::seconds(1)}, f); };

} // namespace

TEST_CASE("B-17, 5.2 row 77: only pools with an order by weight take a weight", "[aio_pool]") {
  STATIC_REQUIRE(takes_weight<weir::fixed_pool<weir::priority>>);
  STATIC_REQUIRE_FALSE(takes_weight<weir::fixed_pool<weir::fifo>>);
  STATIC_REQUIRE_FALSE(takes_weight<weir::fixed_pool<weir::lifo>>);
  STATIC_REQUIRE_FALSE(takes_weight<weir::autoscale_pool<weir::fifo>>);
  STATIC_REQUIRE(takes_weight<weir::autoscale_pool<weir::priority>>);
  STATIC_REQUIRE_FALSE(takes_weight<weir::autoscale_pool<weir::lifo>>);
  STATIC_REQUIRE(takes_deadline<weir::fixed_pool<weir::fifo>>);
  STATIC_REQUIRE(takes_deadline<weir::autoscale_pool<weir::priority>>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<weir::autoscale_pool<weir::fifo>, weir::runtime&,
                                               const weir::work_queue<weir::priority>&>);
  // A queue of the wrong kind is refused by the compiler, not left unused.
  STATIC_REQUIRE(std::is_constructible_v<weir::fixed_pool<weir::lifo>, weir::runtime&,
                                         const weir::work_queue<weir::lifo>&>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<weir::fixed_pool<weir::lifo>, weir::runtime&,
                                               const weir::work_queue<weir::fifo>&>);
}

TEST_CASE("S6: an idle pool shrinks at once and grows at once", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt);
  CHECK(pool.scale(-1) == 2);
  test::eventually([&] { return pool.size() == 2; });
  weir::event open;
  std::atomic<int> inside{0};
  const auto body = [](weir::event& door, std::atomic<int>& in) -> weir::task<> {
    ++in;
    co_await door.wait();
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(pool.submit_nowait(body, std::ref(open), std::ref(inside)));
  test::eventually([&] { return inside == 2; });
  CHECK(pool.running_tasks_number() == 2);
  open.set();
  for (auto& h : handles)
    h.get();
  CHECK(pool.scale(-100) == 0);
  test::eventually([&] { return pool.size() == 0; });
  CHECK(pool.scale(+3) == 3);
  CHECK(pool.scale(+3) == 6);
  CHECK(pool.size() == 6);
  CHECK(pool.scale(0) == 6);
  CHECK(pool.scale(-3) == 3);
  test::eventually([&] { return pool.size() == 3; });
}

TEST_CASE("S7, B-7: pause refuses new tasks only, by the exact text", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1});
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    auto running = p.submit_nowait(of_test(s), std::string("running"));
    auto queued = p.submit_nowait(of_test(s), std::string("queued"));
    co_await weir::sleep_for(1s);
    const bool now = co_await p.pause();
    s.expect(now);
    s.expect(p.paused());
    auto refused = p.submit([] { return 1; });
    try {
      (void)co_await refused;
      s.expect(false);
    } catch (const weir::not_available& e) {
      s.expect(std::string(e.what()) == "task pool is paused");
      s.expect(e.code() == weir::errc::pool_paused);
    }
    s.expect_refusal([&] { (void)p.submit_nowait([] {}); }, "task pool is paused");
    s.expect_refusal([&] { (void)p.try_submit([] {}); }, "task pool is paused");
    s.expect_refusal([&] { (void)p.post([] {}); }, "task pool is paused");
    s.expect(co_await queued == "ok:queued done");
    s.expect(co_await running == "ok:running done");
    const bool then = p.pause();
    s.expect(!(then));
    s.expect(!(p.paused()));
    auto accepted = p.submit([] { return 1; });
    s.expect(co_await accepted == 1);
    p.set_paused(true);
    p.set_paused(true);
    s.expect(p.paused());
    p.resume();
    p.resume();
    s.expect(!(p.paused()));
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
}

TEST_CASE("1B.4: who waits for room already gets in although the pool is paused", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1, .queue_maxsize = 1});
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    auto a = p.submit_nowait(of_test(s), std::string("a"));
    auto b = p.submit_nowait(of_test(s), std::string("b"));
    const auto submits = [](stage& t, weir::fixed_pool<>& in) -> weir::task<std::string> {
      auto next = in.submit(of_test(t), std::string("c"));
      co_return co_await next;
    };
    auto c = s.rt.spawn(submits(s, p));
    co_await weir::sleep_for(1s);
    p.set_paused(true);
    s.expect(co_await c == "ok:c done");
    (void)co_await a;
    (void)co_await b;
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
  CHECK(starts(on) == lines{"a", "b", "c"});
}

TEST_CASE("S8: last in, first out, with the slots that look at once", "[aio_pool]") {
  stage on;
  weir::fixed_pool<weir::lifo> pool(on.rt);
  const auto results = on.rt.block_on(gather(pool, of_test(on), {"c", "b", "a", "d"}));
  CHECK(results == lines{"ok:c done", "ok:b done", "ok:a done", "ok:d done"});
  CHECK(starts(on) == lines{"d", "a", "b", "c"});
}

TEST_CASE("S9, B-9: the scale transcript, hard removal included", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt);
  CHECK(pool.size() == 3);
  CHECK(pool.scale(3) == 6);
  CHECK(pool.size() == 6);
  CHECK(pool.scale(-3) == 3);
  test::eventually([&] { return pool.size() == 3; });
  CHECK(pool.scale_nowait(6) == 9);
  CHECK(pool.size() == 9);
  CHECK(pool.scale_nowait(-3) == 6);
  test::eventually([&] { return pool.size() == 6; });
  CHECK(pool.scale_nowait(-3, weir::removal::hard) == 3);
  test::eventually([&] { return pool.size() == 3; });
}

TEST_CASE("D27: a smaller limit holds from the next end of a task, whatever waits", "[aio_pool]") {
  const auto check = [](auto queue) {
    using pool_type = weir::fixed_pool<decltype(queue)>;
    stage on;
    pool_type pool(on.rt, {.size = 2});
    const auto main = [](stage& s, pool_type& p) -> weir::task<> {
      std::vector<weir::handle<void>> handles;
      const auto one = [&s](int i) { return s.work(std::to_string(i), 1000ms); };
      for (int i = 0; i < 6; ++i)
        handles.push_back(p.submit_nowait(one, i));
      co_await weir::sleep_for(500ms);
      s.expect(p.scale(-1) == 1);
      s.expect(p.size() == 2);
      for (auto& h : handles)
        co_await h;
      s.expect(p.size() == 1);
    };
    on.rt.block_on(main(on, pool));
    CHECK(on.wrong == none);
    // Two at 0; then one a second.
    CHECK(on.at() == "5000");
  };
  check(weir::fifo{});
  check(weir::lifo{});
  check(weir::priority{});
}

TEST_CASE("D28, B-1: a submitter that is cancelled costs no slot, and stops its task",
          "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1});
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    const auto submits = [](stage& t, weir::fixed_pool<>& in) -> weir::task<> {
      auto next = in.submit(of_test(t), std::string("unwanted"));
      (void)co_await next;
    };
    auto runs = s.rt.spawn(submits(s, p));
    auto waits = s.rt.spawn(submits(s, p));
    co_await weir::sleep_for(2s);
    s.expect(p.waiting_tasks_number() == 1);
    s.expect(waits.request_stop());
    s.expect(runs.request_stop());
    for (auto* h : {&runs, &waits}) {
      try {
        co_await *h;
        s.expect(false);
      } catch (const weir::task_cancelled&) {
      }
    }
    s.expect(p.size() == 1);
    auto next = p.submit(of_test(s), std::string("next"));
    s.expect(co_await next == "ok:next done");
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
  CHECK(on.out == lines{"0 unwanted start", "2000 next start", "7000 next done"});
  CHECK(pool.stats().cancelled == 2);
  CHECK(pool.stats().finished == 1);
}

TEST_CASE("D28: timing out a submit ends the wait and the task", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1});
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    auto limited = weir::with_timeout(p.submit(of_test(s), std::string("slow")), 2s);
    try {
      (void)co_await limited;
      s.expect(false);
    } catch (const weir::error& e) {
      s.expect(e.code() == weir::errc::timed_out);
    }
    s.expect(s.at() == "2000");
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
  test::eventually([&] { return pool.running_tasks_number() == 0; });
  CHECK(pool.size() == 1);
}

TEST_CASE("D29, B-2: hard removal ends the tasks that it takes the slots of", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt, {.size = 6});
  weir::event never;
  std::atomic<int> inside{0};
  const auto body = [](weir::event& door, std::atomic<int>& in) -> weir::task<> {
    ++in;
    co_await door.wait();
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(pool.submit_nowait(body, std::ref(never), std::ref(inside)));
  test::eventually([&] { return inside == 5; });
  // One slot is free, so that two tasks have to go.
  CHECK(pool.scale(-3, weir::removal::hard) == 3);
  test::eventually([&] { return pool.size() == 3; });
  int gone = 0;
  for (auto& h : handles)
    gone += h.done();
  CHECK(gone == 2);
  SECTION("the rest ends") {
    never.set();
  }
  SECTION("a hard close ends the rest") {
    auto waiting = pool.submit_nowait([] {});
    pool.close_nowait(weir::removal::hard);
    rt.block_on(pool.close());
    CHECK_THROWS_AS(waiting.get(), weir::task_cancelled);
    CHECK(pool.stats().cancelled == 6);
  }
  int cancelled = 0;
  for (auto& h : handles) {
    try {
      h.get();
    } catch (const weir::task_cancelled& e) {
      CHECK(e.reason().cause() == weir::stop_cause::shutdown);
      ++cancelled;
    }
  }
  CHECK(cancelled >= 2);
}

TEST_CASE("D30, B-3: no order to shrink outlives its slots", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt, {.size = 2});
  CHECK(pool.scale(-2) == 0);
  CHECK(pool.scale(-2) == 0);
  CHECK(pool.scale(+2) == 2);
  CHECK(pool.size() == 2);
  CHECK(pool.waiting_tasks_number() == 0);
  CHECK(rt.block_on(pool.submit([] { return 1; })) == 1);
  CHECK(pool.size() == 2);
}

TEST_CASE("D31, B-4: closing a pool without slots cancels what waits", "[aio_pool]") {
  stage on;
  weir::fixed_pool<weir::lifo> pool(on.rt, {.size = 2});
  CHECK(pool.scale(-2) == 0);
  auto waiting = pool.submit_nowait([] { return 1; });
  CHECK(pool.waiting_tasks_number() == 1);
  const auto report = on.rt.block_on(pool.close({.close_pool_timeout = 1s}));
  CHECK(report.in_time);
  CHECK(on.at() == "0");
  CHECK_THROWS_AS(waiting.get(), weir::task_cancelled);
  CHECK(pool.closed());
}

namespace {

/// A pool with a task that takes a minute, however often it is asked to stop before that.
weir::task<> closes(stage& s, bool safe, bool backlog, std::vector<std::string>& log) {
  weir::fixed_pool<> pool(s.rt, {.size = 1,
                                 .log = [&log, &s](weir::log_level level, std::string_view logger,
                                                   std::string_view line) {
                                   s.expect(level == weir::log_level::warning);
                                   s.expect(logger == "weir.pool");
                                   log.emplace_back(line);
                                 }});
  const auto stubborn = [](stage& on) -> weir::task<> {
    auto shielded = weir::shield(on.work("stubborn", 60s));
    co_await shielded;
  };
  auto running = pool.submit_nowait(stubborn, std::ref(s));
  std::optional<weir::handle<void>> waiting;
  if (backlog)
    waiting = pool.submit_nowait([] {});
  co_await weir::sleep_for(1s);
  weir::close_options options;
  if (backlog)
    options.close_worker_timeout = 200ms;
  else
    options.close_pool_timeout = 200ms;
  options.safe = safe;
  bool thrown = false;
  weir::close_report report;
  try {
    auto end = pool.close(options);
    report = co_await end;
  } catch (const weir::error& e) {
    thrown = true;
    s.expect(e.code() == weir::errc::timed_out);
  }
  s.expect(s.at() == "1200");
  s.expect(thrown == !safe);
  if (safe) {
    s.expect(!(report.in_time));
    s.expect(report.left_running == 1);
    s.expect(report.left_waiting == (backlog ? 1 : 0));
  }
  auto end = pool.close();
  const auto last = co_await end;
  s.expect(last.in_time);
  s.expect(s.at() == "60000");
  if (waiting) {
    try {
      co_await *waiting;
      s.expect(false);
    } catch (const weir::task_cancelled&) {
    }
  }
  co_await running;
}

} // namespace

TEST_CASE("D32: close_pool_timeout bounds the wait for what runs", "[aio_pool]") {
  for (const bool safe : {true, false}) {
    stage on;
    std::vector<std::string> log;
    on.rt.block_on(closes(on, safe, false, log));
    CHECK(on.wrong == none);
    CHECK(log == lines{"waiting for left tasks done timeout, 1"});
  }
}

TEST_CASE("D33, B-4: close_worker_timeout bounds the wait for what waits, safe or not",
          "[aio_pool]") {
  for (const bool safe : {true, false}) {
    stage on;
    std::vector<std::string> log;
    on.rt.block_on(closes(on, safe, true, log));
    CHECK(on.wrong == none);
    CHECK(log == lines{"close workers timeout"});
  }
}

TEST_CASE("D34: a full pool makes submitters wait in order, and submit_nowait fail", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1, .queue_maxsize = 1});
  const auto submits = [](stage& t, weir::fixed_pool<>& in,
                          std::string name) -> weir::task<std::string> {
    auto next = in.submit(of_test(t), name);
    co_return co_await next;
  };
  const auto main = [](stage& s, weir::fixed_pool<>& p,
                       std::vector<weir::handle<std::string>>& handles) -> weir::task<> {
    co_await weir::sleep_for(1s);
    s.expect(p.max_tasks_number() == 1);
    s.expect(p.waiting_tasks_number() == 1);
    try {
      (void)p.submit_nowait([] {});
      s.expect(false);
    } catch (const weir::not_available& e) {
      s.expect(std::string(e.what()) == "task pool can not put task any more");
      s.expect(e.code() == weir::errc::queue_full);
    }
    s.expect_refusal([&] { p.post([] {}); }, "task pool can not put task any more");
    s.expect(!(p.try_submit([] {}).has_value()));
    lines results;
    for (auto& h : handles)
      results.push_back(co_await h);
    s.expect(results == lines{"ok:a done", "ok:b done", "ok:c done"});
  };
  // From outside, where they start in this order.
  std::vector<weir::handle<std::string>> handles;
  weir::handle<void> end;
  {
    const auto hold = on.clock.hold();
    for (const char* name : {"a", "b", "c"})
      handles.push_back(on.rt.submit(submits, std::ref(on), std::ref(pool), std::string(name)));
    end = on.rt.submit(main, std::ref(on), std::ref(pool), std::ref(handles));
  }
  end.get();
  CHECK(on.wrong == none);
  CHECK(starts(on) == lines{"a", "b", "c"});
  CHECK(on.at() == "15000");
}

TEST_CASE("D35, B-15: arguments are copied or moved in, or referred to if asked", "[aio_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<> pool(rt);
  std::vector<int> mine{1, 2, 3};
  const auto grows = [](std::vector<int>& v) {
    v.push_back(4);
    return v.size();
  };
  const auto grows_its_own = [](std::vector<int> v) {
    v.push_back(4);
    return v.size();
  };
  CHECK(rt.block_on(pool.submit(grows_its_own, mine)) == 4);
  CHECK(mine.size() == 3);
  CHECK(rt.block_on(pool.submit(grows, std::ref(mine))) == 4);
  CHECK(mine.size() == 4);
  CHECK(rt.block_on(
            pool.submit([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(8))) == 8);
}

TEST_CASE("B-5, B-6: close_nowait works, and a closed pool says so", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool(rt);
  CHECK_FALSE(pool.closed());
  CHECK_FALSE(pool.paused());
  auto last = pool.submit_nowait([] { return 3; });
  pool.close_nowait();
  CHECK(pool.paused());
  CHECK(code_of([&] { (void)pool.submit_nowait([] {}); }) == weir::errc::pool_closed);
  CHECK(last.get() == 3);
  test::eventually([&] { return pool.closed(); });
  CHECK(pool.size() == 0);
}

TEST_CASE("1B.4: a closed pool can be started again", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<weir::priority> pool(rt, {.size = 2});
  for (int i = 0; i < 3; ++i) {
    CHECK(rt.block_on(pool.submit([i] { return i; })) == i);
    rt.block_on(pool.close());
    CHECK(pool.closed());
    CHECK(pool.size() == 0);
    CHECK(code_of([&] { pool.scale(1); }) == weir::errc::pool_closed);
    pool.start();
    CHECK_FALSE(pool.closed());
    CHECK_FALSE(pool.paused());
    CHECK(pool.size() == 2);
    pool.start();
    CHECK(pool.size() == 2);
  }
  test::gate door;
  auto slow = pool.submit_nowait([&] { door.pass(); });
  pool.close_nowait();
  CHECK(code_of([&] { pool.start(); }) == weir::errc::pool_closed);
  door.open();
  slow.get();
}

namespace {

struct counts_calls {
  int operator()(int x) const { return x + 1; }
  int member(int x) const { return x + 2; }
};
int plain(int x) {
  return x + 3;
}

} // namespace

TEST_CASE("B-8: whatever can be called is welcome", "[aio_pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor threads({.max_threads = 1});
  for (const bool elsewhere : {false, true}) {
    weir::fixed_pool<> pool(
        rt, {.executor = elsewhere ? weir::pool_executor(threads) : weir::pool_executor()});
    const counts_calls object;
    CHECK(rt.block_on(pool.submit(counts_calls(), 1)) == 2);
    CHECK(rt.block_on(pool.submit(&counts_calls::member, &object, 1)) == 3);
    CHECK(rt.block_on(pool.submit(plain, 1)) == 4);
    CHECK(rt.block_on(pool.submit(std::bind_front(plain, 2))) == 5);
    CHECK(rt.block_on(pool.submit(std::function<int(int)>(plain), 3)) == 6);
  }
}

TEST_CASE("B-14: submit_async waits for room, and looks whether it may come in", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt, {.size = 1, .queue_maxsize = 1});
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    std::vector<weir::handle<std::string>> handles;
    lines times;
    for (const char* name : {"a", "b", "c", "d"}) {
      auto next = p.submit_async(of_test(s), std::string(name));
      handles.push_back(co_await next);
      times.push_back(s.at());
      s.expect(p.waiting_tasks_number() <= 2);
    }
    s.expect(times == lines{"0", "0", "5000", "10000"});
    p.set_paused(true);
    auto refused = p.submit_async(of_test(s), std::string("e"));
    try {
      (void)co_await refused;
      s.expect(false);
    } catch (const weir::not_available&) {
    }
    for (auto& h : handles)
      (void)co_await h;
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
}

TEST_CASE("B-16: closing takes as long as what runs, not a moment longer", "[aio_pool]") {
  stage on;
  weir::fixed_pool<> pool(on.rt);
  const auto main = [](stage& s, weir::fixed_pool<>& p) -> weir::task<> {
    auto slow = p.submit_nowait(of_test(s), std::string("slow"));
    auto end = p.close();
    const auto report = co_await end;
    s.expect(report.in_time);
    s.expect(s.at() == "5000");
    s.expect(slow.done());
  };
  on.rt.block_on(main(on, pool));
  CHECK(on.wrong == none);
}

TEST_CASE("B-18: a queued task can be cancelled, and gives its room back at once", "[aio_pool]") {
  const auto check = [](auto queue) {
    using pool_type = weir::fixed_pool<decltype(queue)>;
    weir::runtime rt{{.workers = 1}};
    pool_type pool(rt, {.size = 1, .queue_maxsize = 2});
    weir::event open;
    const auto body = [](weir::event& door) -> weir::task<> { co_await door.wait(); };
    auto running = pool.submit_nowait(body, std::ref(open));
    test::eventually([&] { return pool.running_tasks_number() == 1; });
    for (int i = 0; i < 1000; ++i) {
      auto one = pool.submit_nowait([] {});
      auto two = pool.submit_nowait([] {});
      REQUIRE_FALSE(pool.try_submit([] {}).has_value());
      CHECK(pool.waiting_tasks_number() == 2);
      CHECK(one.request_stop());
      CHECK(one.done());
      CHECK(pool.waiting_tasks_number() == 1);
      CHECK(two.request_stop());
      CHECK(pool.waiting_tasks_number() == 0);
      CHECK_THROWS_AS(one.get(), weir::task_cancelled);
      CHECK_THROWS_AS(two.get(), weir::task_cancelled);
    }
    open.set();
    running.get();
    const auto stats = pool.stats();
    CHECK(stats.accepted == 2001);
    CHECK(stats.started == 1);
    CHECK(stats.cancelled == 2000);
    CHECK(stats.waiting == 0);
    rt.block_on(pool.close());
    rt.drain();
    CHECK(rt.stats().accepted == rt.stats().ended);
  };
  check(weir::fifo{});
  check(weir::lifo{});
  check(weir::priority{});
}

TEST_CASE("B-19: a bounded LIFO pool lets the oldest wait, as documented", "[aio_pool]") {
  stage on;
  weir::fixed_pool<weir::lifo> pool(on.rt, {.size = 1, .queue_maxsize = 2});
  const auto submits = [](stage& t, weir::fixed_pool<weir::lifo>& in, int i) -> weir::task<> {
    const auto one = [&t](int n) { return t.work(std::to_string(n), 1000ms); };
    auto next = in.submit(one, i);
    co_await next;
  };
  std::vector<weir::handle<void>> handles;
  std::atomic<bool> all_there{false};
  on.rt.post([&] { // else the slot may look into the queue before the second one has come
    while (!all_there)
      std::this_thread::yield();
  });
  {
    const auto hold = on.clock.hold();
    for (int i = 0; i < 6; ++i)
      handles.push_back(on.rt.submit(submits, std::ref(on), std::ref(pool), i));
  }
  all_there = true;
  for (auto& h : handles)
    h.get();
  auto order = starts(on);
  CHECK(order.back() == "0");
  std::sort(order.begin(), order.end());
  CHECK(order == lines{"0", "1", "2", "3", "4", "5"});
}

TEST_CASE("1B.9: pools that share a queue share its tasks, and nothing else", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  const weir::work_queue<weir::priority> queue;
  std::optional<weir::fixed_pool<weir::priority>> one(std::in_place, rt, queue,
                                                      weir::fixed_pool_options{.size = 1});
  weir::fixed_pool<weir::priority> two(rt, queue, {.size = 2});
  weir::event open;
  std::atomic<int> inside{0};
  std::atomic<int> ended{0};
  const auto body = [](weir::event& door, std::atomic<int>& in,
                       std::atomic<int>& out) -> weir::task<> {
    ++in;
    co_await door.wait();
    ++out;
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 10; ++i)
    handles.push_back(one->submit_nowait(body, std::ref(open), std::ref(inside), std::ref(ended)));
  test::eventually([&] { return inside == 3; });
  CHECK(one->waiting_tasks_number() == 7);
  CHECK(two.waiting_tasks_number() == 7);
  // Shrinking one takes no slot of the other.
  CHECK(two.scale(-2) == 0);
  CHECK(two.scale(+2) == 2);
  CHECK(one->size() == 1);
  CHECK(inside == 3);
  SECTION("the end of one leaves the tasks to the other") {
    one.reset();
    open.set();
    test::eventually([&] { return two.waiting_tasks_number() == 0; });
    rt.block_on(two.close());
    int cancelled = 0;
    for (auto& h : handles) {
      try {
        h.get();
      } catch (const weir::task_cancelled&) {
        ++cancelled;
      }
    }
    CHECK(cancelled == 1); // what ran in its slot
    CHECK(ended == 9);
  }
  SECTION("closing one waits for the whole queue") {
    open.set();
    rt.block_on(one->close());
    CHECK(two.waiting_tasks_number() == 0);
    for (auto& h : handles)
      h.get();
    CHECK(ended == 10);
    CHECK(rt.block_on(two.submit([] { return 2; })) == 2);
  }
  weir::runtime other{{.workers = 1}};
  CHECK(code_of([&] { weir::fixed_pool<weir::priority> no(other, queue); }) ==
        weir::errc::invalid_option);
}

TEST_CASE("1B.9: a queue can outlive its pools", "[aio_pool]") {
  weir::runtime rt{{.workers = 2}};
  const weir::work_queue<weir::fifo> queue(4);
  for (int round = 0; round < 20; ++round) {
    weir::fixed_pool<> pool(rt, queue, {.size = 2});
    CHECK(pool.max_tasks_number() == 4);
    CHECK(rt.block_on(pool.submit([round] { return round; })) == round);
    auto left = pool.submit_nowait([] {});
    CHECK(left.valid());
  }
}

TEST_CASE("5.2 row 69: what tasks throw reaches who waits, and is counted", "[aio_pool]") {
  std::atomic<int> unseen{0};
  weir::runtime rt{{.workers = 1, .on_unhandled_exception = [&](std::exception_ptr) { ++unseen; }}};
  weir::fixed_pool<> pool(rt, {.size = 1, .time_every = 1});
  CHECK_THROWS_WITH(rt.block_on(pool.submit([] { throw std::runtime_error("seen"); })), "seen");
  pool.post([] { throw std::runtime_error("unseen"); });
  pool.post([] {});
  rt.block_on(pool.close());
  CHECK(unseen == 1);
  const auto stats = pool.stats();
  CHECK(stats.accepted == 3);
  CHECK(stats.started == 3);
  CHECK(stats.failed == 2);
  CHECK(stats.finished == 1);
  CHECK(stats.ended == 3);
  CHECK(stats.running == 0);
}
