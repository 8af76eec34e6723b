// SPDX-License-Identifier: MIT
// weir::blocking: another worker stands in while a task blocks its own.
#include <weir/weir.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

TEST_CASE("outside of workers blocking just calls", "[blocking]") {
  int calls = 0;
  CHECK(weir::blocking([&](int x) { return calls += x; }, 2) == 2);
  static_assert(std::is_same_v<decltype(weir::blocking([&]() -> int& { return calls; })), int&>);
  CHECK(&weir::blocking([&]() -> int& { return calls; }) == &calls);
  CHECK_THROWS_AS(weir::blocking([] { throw std::runtime_error("x"); }), std::runtime_error);
  auto moved = weir::blocking([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3));
  CHECK(*moved == 3);
}

TEST_CASE("blocking gives the value or the exception of the call on a worker", "[blocking]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.submit([] { return weir::blocking([] { return 5; }); }).get() == 5);
    CHECK_THROWS_AS(rt.submit([] { weir::blocking([] { throw std::runtime_error("x"); }); }).get(),
                    std::runtime_error);
    const auto stats = rt.stats();
    CHECK(stats.blocked_workers == 0);
    CHECK(stats.running_workers >= workers);
  }
}

TEST_CASE("a service that blocks in all its workers still answers", "[blocking]") {
  // Decided by logic: the doors open only after the answer has come.
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(50); ++round) {
      test::gate door;
      std::atomic<std::size_t> inside{0};
      for (std::size_t i = 0; i < 2 * workers; ++i) {
        rt.post([&] {
          weir::blocking([&] {
            ++inside;
            door.pass();
          });
          --inside; // here, so that none counts as blocked in the next round
        });
      }
      test::eventually([&] { return inside == 2 * workers; });
      CHECK(rt.stats().blocked_workers == 2 * workers);
      CHECK(rt.submit([] { return 7; }).get() == 7);
      door.open();
      test::eventually([&] { return inside == 0; });
    }
    rt.drain();
  }
}

TEST_CASE("what waits for a blocked worker is run by others", "[blocking]") {
  // In its deque, submitted before and inside of the call, and the coroutine that was just woken.
  for (int round = 0; round < test::rounds(200); ++round) {
    weir::runtime rt{{.workers = 1}};
    auto handle = rt.submit([&] {
      std::atomic<int> ran{0};
      for (int i = 0; i < 50; ++i)
        rt.post([&] { ++ran; });
      auto coroutine = rt.submit([&]() -> weir::task<> {
        co_await weir::yield();
        ++ran;
      });
      weir::blocking([&] {
        for (int i = 0; i < 50; ++i)
          rt.post([&] { ++ran; });
        test::eventually([&] { return ran == 101 && coroutine.done(); });
      });
      return ran.load();
    });
    CHECK(handle.get() == 101);
  }
}

TEST_CASE("busy workers find what waits for a blocked one", "[blocking]") {
  // The only worker that is not blocked never runs out of work, so that it never steals.
  std::atomic<bool> stop{false}; // the last ones look at it while the runtime ends
  weir::runtime rt{{.workers = 1}};
  struct again {
    weir::runtime* rt;
    std::atomic<bool>* stop;
    void operator()() const {
      if (!*stop)
        rt->post(*this);
    }
  };
  auto handle = rt.submit([&] {
    for (int i = 0; i < 3; ++i)
      rt.post(again{&rt, &stop});
    std::atomic<int> ran{0};
    for (int i = 0; i < 20; ++i)
      rt.post([&] { ++ran; });
    weir::blocking([&] {
      for (int i = 0; i < 20; ++i)
        rt.post([&] { ++ran; });
      test::eventually([&] { return ran == 40; });
    });
    stop = true;
    return ran.load();
  });
  CHECK(handle.get() == 40);
}

TEST_CASE("nested calls count once", "[blocking]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  std::atomic<bool> inside{false};
  auto handle = rt.submit([&] {
    return weir::blocking([&] {
      return weir::blocking([&] {
        inside = true;
        door.pass();
        return 1;
      });
    });
  });
  test::eventually([&] { return inside.load(); });
  CHECK(rt.stats().blocked_workers == 1);
  CHECK(rt.stats().stand_ins == 1);
  door.open();
  CHECK(handle.get() == 1);
  rt.drain();
  CHECK(rt.stats().blocked_workers == 0);
}

TEST_CASE("beyond the cap the call just runs, and is counted", "[blocking]") {
  for (const std::size_t cap : {0U, 1U, 3U}) {
    weir::runtime rt{{.workers = 2, .max_blocking = cap}};
    test::gate door;
    std::atomic<bool> posted{false};
    std::atomic<std::size_t> inside{0};
    for (std::size_t i = 0; i < 2 + cap; ++i) {
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
    test::eventually([&] { return inside == 2 + cap; });
    const auto stats = rt.stats();
    CHECK(stats.threads_started == 2 + cap);
    CHECK(stats.stand_ins == cap);
    CHECK(stats.blocked_workers == 2 + cap);
    test::eventually([&] { return rt.stats().blocking_refused >= 1; });
    auto waits = rt.submit([] { return 1; });
    CHECK_FALSE(waits.wait_for(1ms));
    door.open();
    CHECK(waits.get() == 1);
    rt.drain();
  }
}

TEST_CASE("stand-ins are kept for the next call, and leave after the keep-alive", "[blocking]") {
  std::atomic<int> alive{0};
  const auto count = [&](int by) { return [&alive, by](std::size_t) { alive += by; }; };
  SECTION("kept") {
    weir::runtime rt{{.workers = 1, .keep_alive = 1h}};
    for (int i = 0; i < test::rounds(2000); ++i)
      rt.submit([] { weir::blocking([] {}); }).get();
    const auto stats = rt.stats();
    // Two threads take turns; a third one only if a stand-in is called before a spare has parked.
    CHECK(stats.threads_started <= 4);
    CHECK(stats.stand_ins > 0);
  }
  SECTION("let go") {
    weir::runtime rt{{.workers = 1,
                      .keep_alive = 1ms,
                      .on_worker_start = count(1),
                      .on_worker_stop = count(-1)}};
    std::atomic<int> inside{0};
    test::gate door;
    for (int i = 0; i < 8; ++i) {
      rt.post([&] {
        weir::blocking([&] {
          ++inside;
          door.pass();
        });
      });
    }
    test::eventually([&] { return inside == 8; });
    door.open();
    test::eventually([&] {
      const auto stats = rt.stats();
      return alive == 1 && stats.running_workers == 1 && stats.spare_workers == 0;
    });
    CHECK(rt.submit([] { return 1; }).get() == 1);
  }
}

TEST_CASE("hooks that block stand for no worker", "[blocking]") {
  std::atomic<int> calls{0};
  const auto hook = [&](std::size_t) { weir::blocking([&] { ++calls; }); };
  {
    weir::runtime rt{{.workers = 2, .on_worker_start = hook, .on_worker_stop = hook}};
    rt.submit([] {}).get();
    CHECK(rt.stats().stand_ins == 0);
  }
  CHECK(calls == 4);
}

TEST_CASE("a runtime ends while its tasks block", "[blocking]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    for (int round = 0; round < test::rounds(100); ++round) {
      std::atomic<int> ran{0};
      std::atomic<int> tasks{0};
      {
        weir::runtime rt{{.workers = workers, .max_blocking = 4, .keep_alive = 0ns}};
        for (std::size_t i = 0; i < 2 * workers + 2; ++i) {
          rt.post([&] {
            ++tasks;
            weir::blocking([&] { std::this_thread::yield(); });
            weir::blocking([&] { ++ran; });
          });
        }
        if (round % 3 == 0)
          rt.drain();
        else if (round % 3 == 1)
          rt.stop();
        if (round % 3 == 0)
          CHECK(ran == static_cast<int>(2 * workers + 2));
      }
      CHECK(ran == tasks);
    }
  }
}

TEST_CASE("while a runtime drains, blocked workers still have stand-ins", "[blocking]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<bool> inside{false};
  test::gate door;
  std::atomic<bool> ran{false};
  rt.post([&] {
    inside = true;
    door.pass();
    rt.post([&] { ran = true; });
    weir::blocking([&] { test::eventually([&] { return ran.load(); }); });
  });
  test::eventually([&] { return inside.load(); });
  std::thread drains([&] { rt.drain(); });
  test::eventually([&] { return test::code_of([&] { rt.post([] {}); }) == weir::errc::stopped; });
  door.open();
  drains.join();
  CHECK(ran);
}

TEST_CASE("blocking and resizing at once lose nothing", "[blocking]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{
        {.workers = workers, .max_workers = 16, .max_blocking = 8, .keep_alive = 50us}};
    std::atomic<int> ran{0};
    const int tasks = test::rounds(3000);
    for (int i = 0; i < tasks; ++i) {
      rt.post([&] {
        weir::blocking([&] { std::this_thread::yield(); });
        rt.post([&] { ++ran; });
      });
      if (i % 50 == 0)
        rt.resize(1 + static_cast<std::size_t>(i) / 50 % 16);
    }
    rt.drain();
    CHECK(ran == tasks);
    const auto stats = rt.stats();
    CHECK(stats.accepted == stats.ended);
    CHECK(stats.blocked_workers == 0);
  }
}
