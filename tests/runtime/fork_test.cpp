// SPDX-License-Identifier: MIT
// A process that forks while its runtimes work: what the child may do, and that nothing hangs.
#include <weir/fork_join.hpp>
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <sched.h>
#include <scheduler.hpp>
#include <support/support.hpp>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

template <class F>
bool forked(F&& f) {
  return test::code_of(std::forward<F>(f)) == weir::errc::forked;
}

/// What a child ends with if it got through; everything else names the step that went wrong.
constexpr int fine = 0;

/// Counts the child's checks; the first one that fails is its exit code.
class steps {
 public:
  void check(bool good) {
    ++number_;
    if (!good && failed_ == fine)
      failed_ = number_;
  }
  [[nodiscard]] int failed() const { return failed_; }

 private:
  int number_ = 0;
  int failed_ = fine;
};

/// Forks; the child does `work` and ends without running destructors or exit handlers.
template <class Work>
pid_t fork_child(Work&& work) {
  const pid_t child = fork();
  if (child != 0)
    return child;
  alarm(20); // a child that hangs is killed
  int code = 250;
  try {
    steps all;
    work(all);
    code = all.failed();
  } catch (...) {
  }
  _exit(code);
}

/// Its exit code; 1000 and the signal's number if it was killed.
int code_of_child(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child)
    return 2000;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

template <class Work>
int in_child(Work&& work) {
  return code_of_child(fork_child(std::forward<Work>(work)));
}

weir::task<int> sleeps(std::chrono::nanoseconds time) {
  co_await weir::sleep_for(time);
  co_return 1;
}

weir::task<int> yields(int times) {
  for (int i = 0; i < times; ++i)
    co_await weir::yield();
  co_return times;
}

void use_of_forked(steps& all, weir::runtime& rt) {
  std::array<char, 200> large{};
  std::vector<std::function<void()>> some(3, [] {});
  all.check(forked([&] { rt.post([] {}); }));
  all.check(forked([&] { rt.post([large] { (void)large; }); }));
  all.check(forked([&] { (void)rt.submit([] { return 1; }); }));
  all.check(forked([&] { (void)rt.submit(yields, 1); }));
  all.check(forked([&] { (void)rt.spawn(yields(1)); }));
  all.check(forked([&] { rt.post_bulk(some); }));
  all.check(forked([&] { (void)rt.submit_bulk(some); }));
  all.check(forked([&] { rt.resize(1); }));
  all.check(forked([&] { (void)rt.stats(); }));
  all.check(forked([&] { rt.request_drain(); }));
  all.check(forked([&] { rt.request_stop(); })); // 10
  all.check(forked([&] { rt.drain(); }));
  all.check(forked([&] { (void)rt.drain(std::chrono::steady_clock::now()); }));
  all.check(forked([&] { rt.stop(); }));
  all.check(forked([&] { (void)rt.stop(std::chrono::steady_clock::now()); }));
}

void own_runtime(steps& all) {
  weir::runtime own{{.workers = 2}};
  all.check(own.submit([] { return 7; }).get() == 7);
  all.check(own.block_on(yields(3)) == 3);
  all.check(own.block_on(sleeps(1us)) == 1);
  weir::fixed_pool<> pool{own, {.size = 1}};
  all.check(own.block_on(pool.submit([] { return 8; })) == 8);
  own.drain();
  all.check(own.stats().accepted == own.stats().ended);
}

} // namespace

TEST_CASE("in a forked child every call fails by name and no destructor hangs", "[fork]") {
  for (const auto workers : test::worker_counts) {
    auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = workers});
    auto pool = std::make_unique<weir::fixed_pool<>>(*rt, weir::fixed_pool_options{.size = 1});
    test::gate door;
    std::atomic<bool> inside{false};
    auto blocked = rt->submit([&] {
      inside = true;
      door.pass();
      return 1;
    });
    test::eventually([&] { return inside.load(); });
    auto asleep = rt->spawn(sleeps(1h));
    auto held = pool->try_submit([&] { door.pass(); });
    auto waiting = pool->try_submit([] {});
    REQUIRE(held.has_value());
    REQUIRE(waiting.has_value());
    const int code = in_child([&](steps& all) {
      use_of_forked(all, *rt);
      all.check(forked([&] { (void)rt->block_on(yields(1)); })); // 15
      all.check(forked([&] { rt->block_on(pool->submit([] {})); }));
      all.check(forked([&] { (void)blocked.get(); }));
      all.check(forked([&] { asleep.wait(); }));
      all.check(forked([&] { (void)asleep.wait_for(1h); }));
      all.check(forked([&] { (void)asleep.request_stop(); })); // 20
      all.check(blocked.valid() && !blocked.done());
      all.check(forked([&] { (void)pool->try_submit([] {}); }));
      all.check(forked([&] { (void)pool->close(); }));
      // A refused callable is the caller's own still.
      auto kept = std::make_unique<int>(5);
      auto callable = [kept = std::move(kept)] { (void)kept; };
      all.check(forked([&] { rt->post(std::move(callable)); }));
      all.check(forked([&] { (void)rt->submit([](std::unique_ptr<int>) {}, std::move(kept)); }));
      blocked = {};
      asleep = {};
      held.reset();
      waiting.reset();
      pool.reset();
      rt.reset();
      own_runtime(all);
    });
    CHECK(code == fine);
    // The parent does not notice.
    CHECK(rt->submit([] { return 2; }).valid());
    CHECK(asleep.request_stop());
    door.open();
    CHECK_THROWS_AS(asleep.get(), weir::task_cancelled);
    CHECK(blocked.get() == 1);
    waiting->get();
    rt->drain();
    CHECK(rt->stats().accepted == rt->stats().ended);
  }
}

TEST_CASE("pools of groups, scaling and blocking threads refuse a forked child", "[fork]") {
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 2});
  auto groups = std::make_unique<weir::task_pool>(*rt, 1);
  auto fixed = std::make_unique<weir::fixed_pool<>>(*rt, weir::fixed_pool_options{.size = 1});
  auto scaled = std::make_unique<weir::autoscale_pool<>>(*rt);
  auto threads = std::make_unique<weir::blocking_executor>();
  test::gate door;
  auto group = groups->apply([&] { door.pass(); });
  auto place = groups->try_admit();
  auto spare = groups->try_admit();
  auto locked = std::make_optional(groups->scoped_lock());
  const int code = in_child([&](steps& all) {
    all.check(forked([&] { (void)groups->apply([] {}); }));
    all.check(forked([&] { (void)groups->map([](int) {}, std::vector{1}); }));
    all.check(forked([&] { (void)groups->try_admit(); }));
    all.check(forked([&] { (void)groups->stats(); }));
    all.check(forked([&] { (void)groups->num_running(); })); // 5
    all.check(forked([&] { (void)groups->get_group_ids("x"); }));
    all.check(forked([&] { groups->set_pool_size(2U); }));
    all.check(forked([&] { groups->lock(); }));
    all.check(forked([&] { groups->unlock(); }));
    all.check(forked([&] { groups->cancel(0); })); // 10
    all.check(forked([&] { (void)groups->try_cancel(0); }));
    all.check(forked([&] { groups->cancel_group("x"); }));
    all.check(forked([&] { groups->cancel_all(); }));
    all.check(forked([&] { (void)group.ids(); }));
    all.check(forked([&] { (void)group.error(); })); // 15
    all.check(forked([&] { fixed->start(); }));
    all.check(forked([&] { (void)fixed->scale(1); }));
    all.check(forked([&] { scaled->start(); }));
    all.check(forked([&] { (void)scaled->scale(1); }));
    all.check(forked([&] { (void)scaled->step_now(); })); // 20
    all.check(forked([&] { threads->post([] {}); }));
    all.check(forked([&] { threads->close(); }));
    all.check(forked([&] { (void)threads->stats(); }));
    weir::runtime own({.workers = 1});
    all.check(forked([&] { (void)own.block_on(groups->gather()); }));
    all.check(forked([&] { (void)own.block_on(groups->until_closed()); })); // 25
    all.check(forked([&] { (void)scaled->close(); }));
    all.check(forked([&] { scaled->close_nowait(); }));
    all.check(forked([&] { (void)groups->apply(std::move(place.value()), [] {}); }));
    spare.reset();
    locked.reset();
    groups.reset();
    fixed.reset();
    scaled.reset();
    threads.reset();
    rt.reset();
  });
  CHECK(code == fine);
  door.open();
  locked.reset();
  rt->drain();
  CHECK(groups->stats().finished == 1);
}

TEST_CASE("a manual clock is not moved in a forked child", "[fork]") {
  weir::manual_clock clock(weir::manual_clock::moves::by_hand);
  weir::runtime rt{{.workers = 2, .clock = &clock}};
  auto asleep = rt.spawn(sleeps(1h));
  clock.advance(1s);
  const int code = in_child([&](steps& all) { all.check(forked([&] { clock.advance(2h); })); });
  CHECK(code == fine);
  clock.advance(2h);
  CHECK(asleep.get() == 1);
}

TEST_CASE("what had ended before the fork can be taken in the child", "[fork]") {
  weir::runtime rt{{.workers = 2}};
  auto ended = rt.submit([] { return 3; });
  ended.wait();
  CHECK(in_child([&](steps& all) { all.check(ended.get() == 3); }) == fine);
  CHECK(ended.get() == 3);
}

TEST_CASE("a child that drops handles of failed tasks reports nothing", "[fork]") {
  std::atomic<int> handled{0};
  weir::runtime rt{
      {.workers = 1, .on_unhandled_exception = [&](std::exception_ptr) { ++handled; }}};
  auto failed = rt.submit([] { throw std::runtime_error("unseen"); });
  failed.wait();
  CHECK(in_child([&](steps& all) {
          failed = {};
          all.check(handled == 0);
        }) == fine);
  CHECK(handled == 0);
  failed = {};
  CHECK(handled == 1);
}

TEST_CASE("a worker may fork", "[fork]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const auto forks = [&] {
      return in_child([&](steps& all) {
        use_of_forked(all, rt);
        // This thread is still a worker by name, so it must not block on a task.
        std::atomic<bool> ran{false};
        weir::runtime own{{.workers = 1}};
        own.post([&] { ran = true; });
        test::eventually([&] { return ran.load(); });
        own.drain();
      });
    };
    CHECK(rt.submit(forks).get() == fine);
    CHECK(rt.submit([] { return 1; }).get() == 1);
  }
}

TEST_CASE("forking again and again while everybody works", "[fork][stress]") {
  for (const auto workers : test::worker_counts) {
    auto rt = std::make_unique<weir::runtime>(
        weir::runtime_options{.workers = workers, .max_workers = workers + 1});
    auto pool = std::make_unique<weir::fixed_pool<>>(
        *rt, weir::fixed_pool_options{.size = 2, .queue_maxsize = 8});
    std::atomic<bool> over{false};
    std::atomic<std::int64_t> in_flight{0};
    std::vector<std::thread> load;
    for (int t = 0; t < 2; ++t) {
      load.emplace_back([&, t] {
        for (int i = 0; !over; ++i) {
          if (in_flight > 200) {
            std::this_thread::yield();
            continue;
          }
          in_flight += 2;
          rt->post([&in_flight] { --in_flight; });
          auto asleep = rt->spawn(sleeps(std::chrono::microseconds(i % 50)));
          if (i % 3 == 0)
            (void)asleep.request_stop();
          rt->post([&in_flight] { --in_flight; });
          (void)pool->try_submit([] {});
          if (i % 16 == t)
            rt->resize(workers + static_cast<std::size_t>(i / 16 % 2));
        }
      });
    }
    auto open = rt->spawn(sleeps(1h));
    const int rounds = test::rounds(200) / (workers > 2 ? 4 : 1);
    for (int i = 0; i < rounds; ++i) {
      const int code = in_child([&](steps& all) {
        all.check(forked([&] { rt->post([] {}); }));
        all.check(forked([&] { (void)rt->submit([] {}); }));
        all.check(forked([&] { (void)rt->stats(); }));
        all.check(forked([&] { rt->resize(1); }));
        all.check(forked([&] { rt->stop(); }));
        all.check(forked([&] { (void)open.get(); }));
        all.check(forked([&] { (void)pool->try_submit([] {}); }));
        all.check(forked([&] { (void)pool->close(); }));
        open = {};
        pool.reset();
        rt.reset();
        weir::runtime own{{.workers = 1}};
        all.check(own.submit([] { return 7; }).get() == 7);
      });
      CHECK(code == fine);
    }
    over = true;
    for (auto& t : load)
      t.join();
    CHECK(open.request_stop());
    pool.reset();
    rt->drain();
    CHECK(rt->stats().accepted == rt->stats().ended);
    CHECK(in_flight == 0);
  }
}

TEST_CASE("the child of a task that has destroyed its runtime does not use that task's stack again",
          "[fork]") {
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 1});
  std::atomic<pid_t> child{0};
  rt->post([&] {
    rt.reset(); // its thread is detached
    child = fork_child([](steps& all) { std::thread([&] { own_runtime(all); }).join(); });
  });
  while (child == 0)
    std::this_thread::yield();
  CHECK(code_of_child(child) == fine);
}

TEST_CASE("a child that forks work leaves the masks of its parent's workers alone", "[fork]") {
  const auto cpus_of_this_thread = [] {
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
      throw std::runtime_error("sched_getaffinity failed");
    return CPU_COUNT(&mask);
  };
  const int all = cpus_of_this_thread();
  for (int round = 0; round < test::rounds(20); ++round) {
    weir::runtime rt{{.workers = 2, .spin = 0ns, .place_wakes = true}};
    auto& scheduler = rt.scheduler();
    std::atomic<int> code{-1};
    std::atomic<int> narrowed{0};
    rt.submit([&] {
        test::eventually([&] { return scheduler.idle().calls_for_a_searcher(); });
        std::this_thread::sleep_for(1ms); // so that the other worker mostly sleeps by now
        scheduler.placed().begin();
        code = in_child([](steps&) { weir::fork_join([] {}, [] {}); });
        std::atomic<int> here{0};
        const auto side = [&] {
          narrowed += cpus_of_this_thread() == all ? 0 : 1;
          ++here;
          test::eventually([&] { return here == 2; }); // on both workers
        };
        weir::fork_join(side, side);
      }).get();
    CHECK(code == fine);
    CHECK(narrowed == 0);
  }
}
