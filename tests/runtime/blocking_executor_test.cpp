// SPDX-License-Identifier: MIT
// blocking_executor: calls on threads of its own, awaited, withdrawn, dropped.
#include <weir/weir.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <pthread.h>
#include <support/support.hpp>
#include <support/threads.hpp>

using namespace std::chrono_literals;

namespace {

struct users_executor {
  template <class F>
  void post(F&& f) {
    std::forward<F>(f)();
  }
};
struct no_executor {
  void submit(void (*)());
};
static_assert(weir::executor<weir::runtime>);
static_assert(weir::executor<weir::blocking_executor>);
static_assert(weir::executor<users_executor>);
static_assert(!weir::executor<no_executor>);

weir::task<int> call(weir::blocking_executor& ex, std::function<int()> f) {
  co_return co_await ex.run(std::move(f));
}

/// Occupies a thread of `ex` until the gate opens.
void occupy(weir::blocking_executor& ex, std::atomic<int>& inside, test::gate& door) {
  const int before = inside;
  ex.post([&] {
    ++inside;
    door.pass();
    --inside;
  });
  test::eventually([&] { return inside == before + 1; });
}

} // namespace

TEST_CASE("options out of range are refused by field", "[blocking_executor]") {
  const auto refusal = [](weir::blocking_executor_options options) -> std::string {
    try {
      const weir::blocking_executor ex(std::move(options));
    } catch (const weir::error& e) {
      return e.code() == weir::errc::invalid_option ? e.what() : "another code";
    }
    return "";
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(refusal({.max_threads = 0}), Contains("max_threads is 0") && Contains("1 to 1024"));
  CHECK_THAT(refusal({.max_threads = 1025}), Contains("max_threads is 1025"));
  CHECK_THAT(refusal({.keep_alive = -1ns}), Contains("keep_alive is -1 ns"));
  CHECK_THAT(refusal({.thread_name = std::string("a\0b", 3)}), Contains("thread_name"));
  CHECK(refusal({.max_threads = 1024, .keep_alive = 0ns}).empty());
}

TEST_CASE("posted calls run on threads of the executor, move-only ones too",
          "[blocking_executor]") {
  const test::thread_count threads;
  std::atomic<int> sum{0};
  {
    weir::blocking_executor ex({.thread_name = "disk"});
    CHECK(ex.stats().threads == 0);
    std::atomic<bool> named{false};
    ex.post([&, held = std::make_unique<int>(5)] {
      char name[32] = {};
      pthread_getname_np(pthread_self(), name, sizeof name);
      named = std::string(name) == "disk-0";
      sum += *held;
    });
    test::eventually([&] { return sum == 5; });
    CHECK(named);
    for (int i = 0; i < 100; ++i)
      ex.post([&] { ++sum; });
    test::eventually([&] { return sum == 105; });
    CHECK(ex.stats().threads <= 64);
    CHECK(test::code_of([&] { ex.post(std::function<void()>()); }) == weir::errc::empty_callable);
  }
  threads.wait_until_gone();
}

TEST_CASE("run gives the value or the exception of the call", "[blocking_executor]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::blocking_executor ex;
    CHECK(rt.block_on(call(ex, [] { return 6; })) == 6);
    CHECK_THROWS_AS(rt.block_on(call(ex, []() -> int { throw std::runtime_error("x"); })),
                    std::runtime_error);
    CHECK_THROWS_AS(rt.block_on(call(ex, []() -> int { throw weir::task_cancelled(); })),
                    weir::task_cancelled);
    int object = 1;
    const auto body = [](weir::blocking_executor& on, int& to) -> weir::task<bool> {
      co_await on.run([](int& x) { x = 2; }, std::ref(to));
      const auto same = [](int& x) -> int& { return x; };
      int& back = co_await on.run(same, std::ref(to));
      auto owned =
          co_await on.run([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3));
      co_return &back == &to && *owned == 3 && !weir::this_task::stop_requested();
    };
    CHECK(rt.block_on(body(ex, object)));
    CHECK(object == 2);
    CHECK(rt.block_on(ex.run([] { return 4; })) == 4);
    CHECK(test::code_of([&] { (void)ex.run(std::function<int()>()); }) ==
          weir::errc::empty_callable);
  }
}

TEST_CASE("a call is awaited once", "[blocking_executor]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor ex;
  const auto body = [](weir::blocking_executor& on) -> weir::task<std::error_code> {
    auto once = on.run([] { return 1; });
    (void)co_await once;
    std::error_code code;
    try {
      (void)co_await once;
    } catch (const weir::error& e) {
      code = e.code();
    }
    co_return code;
  };
  CHECK(rt.block_on(body(ex)) == weir::errc::no_state);
}

TEST_CASE("many tasks call at once while threads come and go", "[blocking_executor]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::blocking_executor ex({.max_threads = 3, .keep_alive = 20us});
    std::vector<weir::handle<int>> handles;
    const auto body = [](weir::blocking_executor& on, int i) -> weir::task<int> {
      int sum = 0;
      for (int k = 0; k < 10; ++k) {
        const auto give = [i] { return i; };
        sum += co_await on.run(give);
      }
      co_return sum;
    };
    const int tasks = test::rounds(500);
    for (int i = 0; i < tasks; ++i)
      handles.push_back(rt.submit(body, std::ref(ex), i));
    int wrong = 0;
    for (int i = 0; i < tasks; ++i)
      wrong += handles[static_cast<std::size_t>(i)].get() != 10 * i;
    CHECK(wrong == 0);
    CHECK(ex.stats().threads <= 3);
    test::eventually([&] { return ex.stats().threads == 0; });
    CHECK(rt.block_on(call(ex, [] { return 1; })) == 1);
  }
}

TEST_CASE("a call that has not started is withdrawn, a running one is waited for",
          "[blocking_executor]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor ex({.max_threads = 1});
  test::gate door;
  std::atomic<int> inside{0};
  std::atomic<int> ran{0};
  SECTION("waiting") {
    occupy(ex, inside, door);
    auto waits = rt.submit(call, std::ref(ex), [&] { return ++ran; });
    test::eventually([&] { return ex.stats().waiting == 1; });
    CHECK(waits.request_stop());
    CHECK_THROWS_AS(waits.get(), weir::task_cancelled);
    CHECK(ex.stats().waiting == 0);
    door.open();
    CHECK(rt.block_on(call(ex, [] { return 1; })) == 1);
    CHECK(ran == 0);
  }
  SECTION("running, and asked by its token") {
    const auto body = [](weir::blocking_executor& on, std::atomic<int>& in) -> weir::task<int> {
      const auto until_stopped = [&in](weir::inplace_stop_token token) {
        ++in;
        test::eventually([&] { return token.stop_requested(); });
        return 9;
      };
      co_return co_await on.run(until_stopped);
    };
    auto runs = rt.submit(body, std::ref(ex), std::ref(inside));
    test::eventually([&] { return inside == 1; });
    CHECK_FALSE(runs.wait_for(1ms));
    CHECK(runs.request_stop());
    CHECK(runs.get() == 9);
  }
  SECTION("stopped before") {
    const auto body = [](weir::blocking_executor& on, std::atomic<int>& in,
                         std::atomic<int>& count) -> weir::task<> {
      ++in;
      test::eventually([] { return weir::this_task::stop_requested(); });
      const auto counts = [&count] { ++count; };
      co_await on.run(counts);
    };
    auto stopped = rt.submit(body, std::ref(ex), std::ref(inside), std::ref(ran));
    test::eventually([&] { return inside == 1; });
    CHECK(stopped.request_stop());
    CHECK_THROWS_AS(stopped.get(), weir::task_cancelled);
    CHECK(ran == 0);
  }
}

TEST_CASE("cancelling races with calls that start and end", "[blocking_executor]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    weir::blocking_executor ex({.max_threads = 2, .keep_alive = 10us});
    int wrong = 0;
    for (int round = 0; round < test::rounds(2000); ++round) {
      std::atomic<int> ran{0};
      auto task = rt.submit(call, std::ref(ex), [&] { return ++ran; });
      for (int spin = 0; spin < round % 64 * 8; ++spin)
        weir::detail::sync::relax(); // yielding takes for ever on a machine that is busy
      task.request_stop();
      try {
        wrong += task.get() != 1 || ran != 1;
      } catch (const weir::task_cancelled&) {
        wrong += ran != 0;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a full queue refuses what is posted, and close refuses everything",
          "[blocking_executor]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor ex({.max_threads = 1, .max_queued = 2});
  test::gate door;
  std::atomic<int> inside{0};
  std::atomic<int> ran{0};
  occupy(ex, inside, door);
  ex.post([&] { ++ran; });
  ex.post([&] { ++ran; });
  try {
    ex.post([&] { ++ran; });
    FAIL("no exception");
  } catch (const weir::error& e) {
    CHECK(e.code() == weir::errc::queue_full);
    CHECK_THAT(e.what(), Catch::Matchers::Contains("max_queued is 2"));
  }
  auto unbounded = rt.submit(call, std::ref(ex), [&] { return ++ran; });
  test::eventually([&] { return ex.stats().waiting == 3; });
  ex.close();
  ex.close();
  CHECK(test::code_of([&] { ex.post([] {}); }) == weir::errc::pool_closed);
  CHECK(test::code_of([&] { rt.block_on(call(ex, [] { return 1; })); }) == weir::errc::pool_closed);
  door.open();
  CHECK(unbounded.get() == 3);
  test::eventually([&] { return ex.stats().threads == 0; });
  CHECK(ran == 3);
}

TEST_CASE("the destructor drops what has not started and waits for what runs",
          "[blocking_executor]") {
  for (int round = 0; round < test::rounds(100); ++round) {
    weir::runtime rt{{.workers = 2}};
    const auto held = std::make_shared<int>(0);
    std::atomic<int> ran{0};
    std::atomic<int> dropped{0};
    std::atomic<int> inside{0};
    test::gate door;
    auto ex = std::make_unique<weir::blocking_executor>(
        weir::blocking_executor_options{.max_threads = 1});
    auto running = rt.submit(call, std::ref(*ex), [&] {
      ++inside;
      door.pass();
      return ++ran;
    });
    test::eventually([&] { return inside == 1; });
    ex->post([&ran, held] { ++ran; });
    std::vector<weir::handle<int>> waiting;
    for (int i = 0; i < 5; ++i)
      waiting.push_back(rt.submit(call, std::ref(*ex), [&ran, held] { return ++ran; }));
    test::eventually([&] { return ex->stats().waiting == 6; });
    std::thread destroys([&] { ex.reset(); });
    for (auto& w : waiting) {
      // Some are cancelled at the same time.
      if (round % 2 == 0)
        w.request_stop();
      try {
        w.get();
      } catch (const weir::task_cancelled&) {
        ++dropped;
      }
    }
    // The destructor has dropped the posted call, so that none starts any more.
    test::eventually([&] { return held.use_count() == 1; });
    door.open();
    destroys.join();
    CHECK(running.get() == 1);
    CHECK(ran == 1);
    CHECK(dropped == 5);
  }
}

TEST_CASE("an executor may be destroyed by one of its own calls, or by a task",
          "[blocking_executor]") {
  for (int round = 0; round < test::rounds(200); ++round) {
    const auto held = std::make_shared<int>(0);
    auto ex = std::make_unique<weir::blocking_executor>();
    auto& own = *ex;
    own.post([ex = std::move(ex), held]() mutable { ex.reset(); });
    test::eventually([&] { return held.use_count() == 1; });
    weir::runtime rt{{.workers = 1}};
    rt.submit([] {
        weir::blocking_executor inner;
        inner.post([] {});
      }).get();
  }
}

TEST_CASE("what posted calls throw goes to the handler", "[blocking_executor]") {
  std::atomic<int> handled{0};
  {
    weir::blocking_executor ex({.on_unhandled_exception = [&](std::exception_ptr) { ++handled; }});
    ex.post([] { throw std::runtime_error("x"); });
    ex.post([] { throw weir::task_cancelled(); });
    ex.post([] { throw 1; });
    test::eventually([&] { return handled == 2 && ex.stats().waiting == 0; });
  }
  CHECK(handled == 2);
}
