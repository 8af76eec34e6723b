// SPDX-License-Identifier: MIT
// Bounded unfairness (docs/scheduler.md, F1 to F3): nothing starves behind tasks that keep their
// worker busy for ever.
#include <weir/weir.hpp>

#include <atomic>
#include <functional>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

namespace {

/// A task that submits itself again until told to stop, and counts its runs.
class self_resubmitting {
 public:
  self_resubmitting(weir::runtime& rt, std::atomic<bool>& stop, std::atomic<long>& runs)
      : rt_(&rt), stop_(&stop), runs_(&runs) {}
  void operator()() const {
    ++*runs_;
    if (!*stop_)
      rt_->post(*this);
  }

 private:
  weir::runtime* rt_;
  std::atomic<bool>* stop_;
  std::atomic<long>* runs_;
};

weir::task<> yields_for_ever(std::atomic<bool>& stop, std::atomic<long>& runs) {
  while (!stop) {
    ++runs;
    co_await weir::yield();
  }
}

} // namespace

TEST_CASE("F1: an outside task starts within one beat of a worker", "[fairness]") {
  // With one worker its runs count its picks exactly. With several, the system may put the worker
  // to sleep that took the task, while the others go on counting.
  for (const std::size_t workers : {1U, 2U}) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> stop{false};
    std::atomic<long> runs{0};
    for (std::size_t i = 0; i < 3 * workers; ++i)
      rt.post(self_resubmitting(rt, stop, runs));
    test::eventually([&] { return runs > 1000; });
    // Behind all of those in the line from outside, of which only one may have begun by now.
    std::atomic<bool> all_begun{false};
    rt.post([&] { all_begun = true; });
    test::eventually([&] { return all_begun.load(); });
    long worst = 0;
    for (int i = 0; i < 200; ++i) {
      std::atomic<long> started{-1};
      rt.post([&] { started = runs.load(); });
      // Read after the task became visible, so that only runs are counted that overtook it.
      const long posted = runs.load();
      test::eventually([&] { return started >= 0; });
      worst = std::max(worst, started - posted);
    }
    stop = true;
    rt.drain();
    if (workers == 1)
      CHECK(worst <= 61);
  }
}

TEST_CASE("F2: the oldest task of a worker's own deque starts within two beats", "[fairness]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<bool> stop{false};
  std::atomic<long> runs{0};
  std::atomic<long> old_started{-1};
  rt.post([&] {
    rt.post([&] { old_started = runs.load(); });
    rt.post(self_resubmitting(rt, stop, runs)); // newer, and always again
  });
  test::eventually([&] { return old_started >= 0; });
  stop = true;
  rt.drain();
  CHECK(old_started <= 2 * 61);
}

TEST_CASE("F3: tasks that yield for ever keep nobody from starting", "[fairness]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> stop{false};
    std::atomic<long> runs{0};
    std::vector<weir::handle<void>> handles;
    for (std::size_t i = 0; i < 3 * workers; ++i)
      handles.push_back(rt.submit(yields_for_ever, std::ref(stop), std::ref(runs)));
    test::eventually([&] { return runs > 1000; });
    for (int i = 0; i < 50; ++i) {
      CHECK(rt.submit([] { return 1; }).get() == 1);
      // And a task that was submitted by a worker.
      auto outer = rt.submit([&] { return rt.submit([] { return 2; }); });
      auto inner = outer.get();
      CHECK(inner.get() == 2);
    }
    stop = true;
    for (auto& handle : handles)
      handle.get();
  }
}

TEST_CASE("an outside task starts while coroutines hand over to each other", "[fairness]") {
  // Each completed child resumes its parent in a chain, which must not bypass the worker's queues
  // for ever.
  weir::runtime rt{{.workers = 1}};
  std::atomic<bool> stop{false};
  std::atomic<long> rounds{0};
  const auto body = [](weir::runtime& on, std::atomic<bool>& end,
                       std::atomic<long>& count) -> weir::task<> {
    while (!end) {
      ++count;
      auto child = on.submit([] {});
      co_await child;
    }
  };
  auto loop = rt.submit(body, std::ref(rt), std::ref(stop), std::ref(rounds));
  test::eventually([&] { return rounds > 1000; });
  for (int i = 0; i < 100; ++i)
    CHECK(rt.submit([] { return 1; }).get() == 1);
  stop = true;
  loop.get();
}
