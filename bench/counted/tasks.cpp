// SPDX-License-Identifier: MIT
// What coroutines of weir do on one worker, and its timers.
#include "counting.hpp"
#include "far_deadline.hpp"

#include <weir/weir.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <deque>

namespace bench::counted {
namespace {

/// Runs a coroutine to its end; an operation is one step of n.
template <weir::task<long> (*Body)(weir::runtime&, long)>
long count_steps(long n) {
  one_worker rt;
  expect(rt.spawn(Body(rt, n)).get() == n);
  return n;
}

weir::task<long> one() {
  co_return 1;
}
/// Calls of coroutines that do not wait.
weir::task<long> calls(weir::runtime&, long n) {
  long sum = 0;
  for (long i = 0; i < n; ++i)
    sum += co_await one();
  co_return sum;
}

weir::task<long> yields(weir::runtime&, long n) {
  for (long i = 0; i < n; ++i)
    co_await weir::yield();
  co_return n;
}

/// Submissions by a worker, each waited for.
weir::task<long> submits(weir::runtime& rt, long n) {
  long sum = 0;
  for (long i = 0; i < n; ++i)
    sum += co_await rt.submit([] { return 1L; });
  co_return sum;
}

weir::task<> count_in(long& sum) {
  ++sum;
  co_return;
}
/// Children of a task group.
weir::task<long> group_children(weir::runtime&, long n) {
  long sum = 0;
  auto body = [&](weir::task_group& group) -> weir::task<> {
    for (long i = 0; i < n; ++i)
      group.spawn(count_in(sum));
    co_return;
  };
  co_await weir::with_task_group(body);
  co_return sum;
}

weir::task<> echo(weir::queue<long>& from, weir::queue<long>& to, long n) {
  for (long i = 0; i < n; ++i)
    co_await to.push((co_await from.pop()).value());
}
/// There and back between two tasks by two queues.
weir::task<long> ping_pongs(weir::runtime& rt, long n) {
  weir::queue<long> there(1);
  weir::queue<long> back(1);
  auto other = rt.spawn(echo(there, back, n));
  long sum = 0;
  for (long i = 0; i < n; ++i) {
    co_await there.push(1);
    sum += (co_await back.pop()).value();
  }
  co_await other;
  co_return sum;
}

weir::task<long> locks(weir::runtime&, long n) {
  weir::mutex mutex;
  for (long i = 0; i < n; ++i) {
    co_await mutex.lock();
    mutex.unlock();
  }
  co_return n;
}

/// Arms and cancels timers on the worker.
long count_timer(long n) {
  struct node : weir::detail::timer {
    node()
        : timer([](timer&, weir::detail::thread_state&) noexcept {
            std::abort(); // none of them fires
            return static_cast<weir::detail::job*>(nullptr);
          }) {}
  };
  std::deque<node> nodes(static_cast<std::size_t>(n));
  one_worker rt;
  const long cancelled =
      rt.submit([&] {
          const auto now = std::chrono::steady_clock::now();
          for (long i = 0; i < n; ++i)
            nodes[static_cast<std::size_t>(i)].arm(rt.scheduler(), weir::detail::this_thread(),
                                                   far_deadline(now, i));
          long sum = 0;
          for (auto& each : nodes)
            sum += each.cancel() ? 1 : 0;
          return sum;
        }).get();
  expect(cancelled == n);
  return n;
}

constexpr operation all[] = {
    {"call/weir", 2000, 12000, count_steps<calls>},
    {"yield/weir", 2000, 12000, count_steps<yields>},
    {"submit_await/weir", 2000, 12000, count_steps<submits>},
    {"group_child/weir", 2000, 12000, count_steps<group_children>},
    {"ping_pong/weir", 2000, 12000, count_steps<ping_pongs>},
    {"mutex/weir", 2000, 12000, count_steps<locks>},
    {"timer/weir", 2000, 12000, count_timer},
};

} // namespace

std::span<const operation> tasks() {
  return all;
}

} // namespace bench::counted
