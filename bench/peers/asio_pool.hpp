// SPDX-License-Identifier: MIT
// Standalone Asio's thread_pool behind the benchmarks' common face (face.hpp).
#pragma once

#include "face.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/concurrent_channel.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

namespace bench {

class asio_pool {
 public:
  static constexpr const char* name = "asio";

  explicit asio_pool(std::size_t workers) : size_(workers), pool_(workers) {}
  asio_pool(const asio_pool&) = delete;
  asio_pool& operator=(const asio_pool&) = delete;
  ~asio_pool() {
    pool_.join();
    for (auto& t : added_)
      t.join();
  }

  template <class F>
  void post(F f) {
    asio::post(pool_, std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    asio::post(pool_, [&] { result.set_value(f()); });
    return got.get();
  }

  long ping_pong(long trips) {
    channel to(pool_, 1);
    channel fro(pool_, 1);
    auto answering = asio::co_spawn(pool_, answer(trips, to, fro), asio::use_future);
    const long last = asio::co_spawn(pool_, ask(trips, to, fro), asio::use_future).get();
    answering.get();
    return last;
  }

  void start_waiting(long n) {
    for (long i = 0; i < n; ++i) {
      timers_.emplace_back(pool_, asio::steady_timer::time_point::max());
      asio::co_spawn(pool_, wait_for(timers_.back(), waiting_), asio::detached);
    }
    while (waiting_.load(std::memory_order_relaxed) != n)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void cancel_waiting() {
    for (auto& t : timers_)
      t.cancel();
  }

  void resize(std::size_t workers) {
    for (; size_ < workers; ++size_)
      added_.emplace_back([this] { pool_.attach(); });
  }

 private:
  using channel = asio::experimental::concurrent_channel<void(asio::error_code, long)>;

  static asio::awaitable<long> ask(long trips, channel& to, channel& fro) {
    long last = 0;
    for (long i = 1; i <= trips; ++i) {
      co_await to.async_send(asio::error_code(), i, asio::use_awaitable);
      last = co_await fro.async_receive(asio::use_awaitable);
    }
    co_return last;
  }
  static asio::awaitable<void> answer(long trips, channel& to, channel& fro) {
    for (long i = 0; i < trips; ++i) {
      const long got = co_await to.async_receive(asio::use_awaitable);
      co_await fro.async_send(asio::error_code(), got, asio::use_awaitable);
    }
  }
  static asio::awaitable<void> wait_for(asio::steady_timer& timer, std::atomic<long>& waiting) {
    try {
      waiting.fetch_add(1, std::memory_order_relaxed);
      co_await timer.async_wait(asio::use_awaitable);
    } catch (const asio::system_error&) {
      tally::count();
    }
  }

  std::atomic<long> waiting_{0};
  std::size_t size_;
  asio::thread_pool pool_;
  std::deque<asio::steady_timer> timers_;
  std::vector<std::thread> added_;
};

} // namespace bench
