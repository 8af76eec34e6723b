// SPDX-License-Identifier: MIT
// weir::semaphore: the count, the order, cancellation.
#include <weir/semaphore.hpp>
#include <weir/this_task.hpp>

#include <atomic>
#include <thread>
#include <type_traits>
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

static_assert(!std::is_copy_constructible_v<weir::semaphore_permit>);
static_assert(std::is_nothrow_move_constructible_v<weir::semaphore_permit>);

/// Counts as `count` inside while it lives.
class visit {
 public:
  visit(std::atomic<int>& inside, int count)
      : inside_(&inside), count_(count), seen_(inside.fetch_add(count) + count) {}
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  ~visit() { inside_->fetch_sub(count_); }

  /// How many were inside when it began, itself among them.
  [[nodiscard]] int seen() const { return seen_; }

 private:
  std::atomic<int>* inside_;
  int count_;
  int seen_;
};

weir::task<> take(weir::semaphore& s, std::size_t n, std::vector<int>& order, int name) {
  co_await s.acquire(n);
  order.push_back(name); // one worker
}

weir::task<> just_take(weir::semaphore& s, std::size_t n) {
  co_await s.acquire(n);
}

weir::task<> take_later(weir::semaphore& s, std::atomic<bool>& started, test::gate& go_on) {
  started = true;
  go_on.pass();
  co_await s.acquire();
}

} // namespace

TEST_CASE("a semaphore counts its permits", "[semaphore]") {
  weir::semaphore s(3);
  CHECK(s.available() == 3);
  CHECK(s.try_acquire());
  CHECK(s.try_acquire(2));
  CHECK_FALSE(s.try_acquire());
  CHECK(s.try_acquire(0));
  s.release(2);
  CHECK(s.available() == 2);
  CHECK_FALSE(s.try_acquire(3));
  CHECK(s.available() == 2);
}

TEST_CASE("too many permits are refused by name", "[semaphore]") {
  constexpr auto limit = weir::semaphore::max_permits;
  CHECK(code_of([&] { weir::semaphore s(limit + 1); }) == weir::errc::invalid_option);
  weir::semaphore s(limit - 1);
  s.release();
  CHECK(code_of([&] { s.release(); }) == weir::errc::limit_exceeded);
  CHECK(code_of([&] { s.release(static_cast<std::size_t>(-1)); }) == weir::errc::limit_exceeded);
  CHECK(s.available() == limit);
}

TEST_CASE("permits are handed out in the order of the requests, whatever their size",
          "[semaphore]") {
  weir::runtime rt(with_workers(1));
  weir::semaphore s(1);
  std::vector<int> order;
  auto large = rt.spawn(take(s, 3, order, 1));
  auto small = rt.spawn(take(s, 1, order, 2));
  settle(rt);
  CHECK(order.empty());
  CHECK_FALSE(s.try_acquire()); // does not overtake
  CHECK(s.available() == 1);
  s.release(1);
  settle(rt);
  CHECK_FALSE(large.done());
  CHECK_FALSE(small.done());
  s.release(1);
  large.get();
  CHECK_FALSE(small.done());
  CHECK(s.available() == 0);
  s.release(1);
  small.get();
  CHECK(order == std::vector<int>{1, 2});
  CHECK(s.available() == 0);
}

TEST_CASE("one release serves as many waiters as it can", "[semaphore]") {
  weir::runtime rt(with_workers(1));
  weir::semaphore s(0);
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 5; ++i)
    handles.push_back(rt.spawn(just_take(s, 2)));
  settle(rt);
  s.release(7);
  for (std::size_t i = 0; i < 3; ++i)
    handles[i].get();
  settle(rt);
  CHECK_FALSE(handles[3].done());
  CHECK(s.available() == 1);
  s.release(3);
  handles[3].get();
  handles[4].get();
  CHECK(s.available() == 0);
}

TEST_CASE("a scoped permit goes back when it ends", "[semaphore]") {
  weir::runtime rt(with_workers(1));
  weir::semaphore s(5);
  const auto inside = [&s]() -> weir::task<std::size_t> {
    weir::semaphore_permit permit = co_await s.acquire_scoped(2);
    weir::semaphore_permit moved = std::move(permit);
    permit = co_await s.acquire_scoped();
    const std::size_t left = s.available();
    permit.release();
    permit.release(); // nothing
    co_return left * 100 + s.available() * 10 + moved.count();
  };
  CHECK(rt.submit(inside).get() == 232);
  CHECK(s.available() == 5);
  CHECK(rt.block_on(s.acquire_scoped(4)).count() == 4);
  CHECK(s.available() == 5);
  rt.block_on(s.acquire(5));
  CHECK(s.available() == 0);
}

TEST_CASE("a cancelled wait takes no permits and lets those behind it go on", "[semaphore]") {
  weir::runtime rt(with_workers(1));
  weir::semaphore s(2);
  auto large = rt.spawn(just_take(s, 3));
  auto second = rt.spawn(just_take(s, 1));
  auto third = rt.spawn(just_take(s, 1));
  auto fourth = rt.spawn(just_take(s, 1));
  settle(rt);
  CHECK(s.available() == 2);
  CHECK(large.request_stop());
  CHECK(ending_of(large) == ending::cancelled);
  second.get();
  third.get();
  settle(rt);
  CHECK_FALSE(fourth.done());
  CHECK(fourth.request_stop());
  CHECK(ending_of(fourth) == ending::cancelled);
  CHECK(s.available() == 0);
  s.release(2);
  CHECK(s.available() == 2);
}

TEST_CASE("acquiring is a cancellation point also when permits are there", "[semaphore]") {
  weir::runtime rt(with_workers(1));
  weir::semaphore s(1);
  std::atomic<bool> started{false};
  test::gate go_on;
  auto stopped = rt.spawn(take_later(s, started, go_on));
  test::eventually([&] { return started.load(); });
  CHECK(stopped.request_stop());
  go_on.open();
  CHECK(ending_of(stopped) == ending::cancelled);
  CHECK(s.available() == 1);
}

TEST_CASE("of a release and a cancellation exactly one wins", "[semaphore][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    int cancelled = 0;
    int wrong = 0;
    for (int round = 0; round < test::rounds(3000); ++round) {
      weir::semaphore s(0);
      auto waits = rt.spawn(just_take(s, 1));
      if (round % 3 == 0)
        std::this_thread::yield();
      auto released = rt.submit([&s, round] {
        test::stagger(round);
        s.release();
      });
      test::stagger(round * 7);
      waits.request_stop();
      const bool lost = ending_of(waits) == ending::cancelled;
      released.get();
      cancelled += lost ? 1 : 0;
      wrong += s.available() == (lost ? 1U : 0U) ? 0 : 1;
    }
    INFO(workers << " workers, " << cancelled << " cancelled");
    CHECK(wrong == 0);
  }
}

TEST_CASE("permits bound how many are inside, and none is lost", "[semaphore][race]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt(with_workers(workers));
    weir::semaphore s(3);
    std::atomic<int> inside{0};
    std::atomic<int> too_many{0};
    std::atomic<int> entered{0};
    const auto visitor = [&](std::size_t n, int times) -> weir::task<> {
      for (int i = 0; i < times; ++i) {
        const auto permit = co_await s.acquire_scoped(n);
        // Over before the permit goes back, also if yield() throws.
        const visit here(inside, static_cast<int>(n));
        if (here.seen() > 3)
          ++too_many;
        ++entered;
        if (i % 4 == 0)
          co_await weir::yield();
      }
    };
    std::vector<weir::handle<void>> handles;
    const int times = test::rounds(300);
    for (std::size_t i = 0; i < 12; ++i)
      handles.push_back(rt.submit(visitor, 1 + i % 3, times));
    for (std::size_t i = 0; i < handles.size(); i += 5)
      handles[i].request_stop();
    for (auto& handle : handles)
      (void)ending_of(handle);
    CHECK(too_many == 0);
    CHECK(entered > 0);
    CHECK(s.available() == 3);
  }
}
