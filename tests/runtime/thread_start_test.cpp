// SPDX-License-Identifier: MIT
// Threads that the system refuses to start, one after the other. This program's pthread_create
// stands before the library's.
#include <weir/weir.hpp>

#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include <catch.hpp>
#include <dlfcn.h>
#include <pthread.h>
#include <support/support.hpp>

namespace {

/// Threads that may still be started; negative: any number.
std::atomic<int> allowed{-1};

bool refused() {
  int left = allowed;
  while (left > 0 && !allowed.compare_exchange_weak(left, left - 1)) {
  }
  return left == 0;
}

} // namespace

extern "C" int pthread_create(pthread_t* id, const pthread_attr_t* attributes,
                              void* (*entry)(void*), void* argument) noexcept {
  using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto next = reinterpret_cast<function>(dlsym(RTLD_NEXT, "pthread_create"));
  if (refused())
    return EAGAIN;
  return next(id, attributes, entry, argument);
}

TEST_CASE("whichever thread cannot be started, the error says so and nothing is left behind",
          "[runtime]") {
  constexpr int workers = 5;
  for (int started = 0; started < workers; ++started) {
    std::atomic<int> alive{0};
    allowed = started;
    try {
      const weir::runtime rt{{.workers = workers,
                              .on_worker_start = [&](std::size_t) { ++alive; },
                              .on_worker_stop = [&](std::size_t) { --alive; }}};
      FAIL("no exception");
    } catch (const weir::error& e) {
      allowed = -1;
      CHECK(e.code() == weir::errc::thread_start_failed);
      CHECK_THAT(e.what(), Catch::Matchers::Contains("worker thread " +
                                                     std::to_string(started + 1) + " of 5"));
    }
    CHECK(alive == 0);
    weir::runtime again{{.workers = workers}};
    CHECK(again.submit([] { return 1; }).get() == 1);
  }
}

TEST_CASE("whichever thread resize cannot start, those before it stay and work", "[elastic]") {
  for (std::size_t started = 0; started < 4; ++started) {
    weir::runtime rt{{.workers = 1, .max_workers = 5}};
    rt.submit([] {}).get();
    allowed = static_cast<int>(started);
    try {
      rt.resize(5);
      FAIL("no exception");
    } catch (const weir::error& e) {
      CHECK(e.code() == weir::errc::thread_start_failed);
      CHECK_THAT(e.what(), Catch::Matchers::Contains("resize to 5") &&
                               Catch::Matchers::Contains(std::to_string(started + 1) + " run now"));
    }
    CHECK(rt.workers() == started + 1);
    CHECK(rt.stats().running_workers == started + 1);
    CHECK(rt.stats().thread_start_failures == 1);
    std::vector<weir::handle<int>> handles;
    for (int i = 0; i < 100; ++i)
      handles.push_back(rt.submit([i] { return i; }));
    for (int i = 0; i < 100; ++i)
      CHECK(handles[static_cast<std::size_t>(i)].get() == i);
    allowed = -1;
    rt.resize(5);
    CHECK(rt.stats().running_workers == 5);
    rt.drain();
  }
}

TEST_CASE("a backlog that no thread can be started for waits for the workers there are",
          "[elastic]") {
  weir::runtime rt{{.workers = 1, .max_workers = 4, .elastic = true}};
  allowed = 0;
  test::gate door;
  std::atomic<bool> inside{false};
  rt.post([&] {
    inside = true;
    door.pass();
  });
  test::eventually([&] { return inside.load(); });
  std::atomic<int> ran{0};
  for (int i = 0; i < 1000; ++i)
    rt.post([&] { ++ran; });
  // Not tried again with each submission.
  CHECK(rt.stats().thread_start_failures < 100);
  if (weir::usable_cpus().count > 1)
    CHECK(rt.stats().thread_start_failures >= 1);
  CHECK(rt.workers() == 1);
  door.open();
  rt.drain();
  allowed = -1;
  CHECK(ran == 1000);
}

TEST_CASE("whichever stand-in cannot be started, blocking calls all the same", "[blocking]") {
  for (int started = 0; started < 3; ++started) {
    weir::runtime rt{{.workers = 1}};
    rt.submit([] {}).get();
    allowed = started;
    test::gate door;
    std::atomic<bool> posted{false};
    std::atomic<int> inside{0};
    for (int i = 0; i < started + 1; ++i) {
      rt.post([&] {
        // Else a post may still be looking for a worker when the last task blocks, which then
        // leaves that to it.
        test::eventually([&] { return posted.load(); });
        weir::blocking([&] {
          ++inside;
          door.pass();
        });
      });
    }
    posted = true;
    test::eventually([&] { return inside == started + 1; });
    CHECK(rt.stats().thread_start_failures >= 1);
    auto waits = rt.submit([] { return 1; });
    CHECK_FALSE(waits.done());
    door.open();
    CHECK(waits.get() == 1);
    allowed = -1;
    rt.drain();
  }
}

TEST_CASE("a blocking_executor works with the threads it can get", "[blocking_executor]") {
  weir::runtime rt{{.workers = 1}};
  weir::blocking_executor ex({.max_threads = 4});
  const auto call = [](weir::blocking_executor& on) -> weir::task<int> {
    co_return co_await on.run([] { return 1; });
  };
  allowed = 0;
  CHECK(test::code_of([&] { ex.post([] {}); }) == weir::errc::thread_start_failed);
  CHECK(test::code_of([&] { rt.block_on(call(ex)); }) == weir::errc::thread_start_failed);
  CHECK(ex.stats().waiting == 0);
  allowed = 1;
  test::gate door;
  std::atomic<int> ran{0};
  ex.post([&] { door.pass(); });
  for (int i = 0; i < 3; ++i)
    ex.post([&] { ++ran; });
  CHECK(ex.stats().threads == 1);
  CHECK(ex.stats().thread_start_failures == 5);
  door.open();
  test::eventually([&] { return ran == 3; });
  allowed = -1;
  CHECK(rt.block_on(call(ex)) == 1);
}
