// SPDX-License-Identifier: MIT
// Threads that the system refuses to start, one after the other. This program's pthread_create
// stands before the library's.
#include <weir/weir.hpp>

#include <atomic>
#include <cerrno>

#include <catch.hpp>
#include <dlfcn.h>
#include <pthread.h>
#include <support/support.hpp>

namespace {

/// Threads that may still be started; negative: any number.
std::atomic<int> allowed{-1};

} // namespace

extern "C" int pthread_create(pthread_t* id, const pthread_attr_t* attributes,
                              void* (*entry)(void*), void* argument) noexcept {
  using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto next = reinterpret_cast<function>(dlsym(RTLD_NEXT, "pthread_create"));
  if (allowed >= 0 && allowed.fetch_sub(1) <= 0)
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
