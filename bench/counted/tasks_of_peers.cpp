// SPDX-License-Identifier: MIT
// Coroutines and timers of Asio, on the thread that runs its loop.
#include "counting.hpp"
#include "far_deadline.hpp"

#include <chrono>
#include <deque>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

namespace bench::counted {
namespace {

/// Arms and cancels timers; a cancelled one calls what waits for it.
long count_timer(long n) {
  asio::io_context loop(1);
  std::deque<asio::steady_timer> timers;
  long cancelled = 0;
  const auto now = std::chrono::steady_clock::now();
  for (long i = 0; i < n; ++i) {
    timers.emplace_back(loop, far_deadline(now, i));
    timers.back().async_wait([&](const asio::error_code& error) { cancelled += error ? 1 : 0; });
  }
  for (auto& each : timers)
    each.cancel();
  loop.run();
  expect(cancelled == n);
  return n;
}

long count_yield(long n) {
  asio::io_context loop(1);
  long turns = 0;
  asio::co_spawn(
      loop,
      [&]() -> asio::awaitable<void> {
        for (; turns < n; ++turns)
          co_await asio::post(asio::use_awaitable);
      },
      asio::detached);
  loop.run();
  expect(turns == n);
  return n;
}

constexpr operation all[] = {
    {"yield/asio", 2000, 12000, count_yield},
    {"timer/asio", 2000, 12000, count_timer},
};

} // namespace

std::span<const operation> tasks_of_peers() {
  return all;
}

} // namespace bench::counted
