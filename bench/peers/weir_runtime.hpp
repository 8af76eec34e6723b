// SPDX-License-Identifier: MIT
// weir::runtime behind the benchmarks' common face (face.hpp).
#pragma once

#include "face.hpp"

#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

class weir_runtime {
 public:
  static constexpr const char* name = "weir";

  explicit weir_runtime(std::size_t workers) : runtime_({.workers = workers, .max_workers = 64}) {}

  template <class F>
  void post(F f) {
    runtime_.post(std::move(f));
  }
  template <class F>
  void post_bulk(std::span<F> jobs) {
    runtime_.post_bulk(jobs);
  }
  template <class F>
  auto round_trip(F f) {
    return runtime_.submit(std::move(f)).get();
  }

  template <class F>
  void fan_out(long rounds, long width, F f) {
    runtime_.block_on(fan_out_task(rounds, width, f));
  }

  long ping_pong(long trips) {
    weir::queue<long> to(1);
    weir::queue<long> fro(1);
    auto answering = runtime_.spawn(answer(trips, to, fro));
    const long last = runtime_.block_on(ask(trips, to, fro));
    answering.get();
    return last;
  }

  void start_waiting(long n) {
    handles_.reserve(static_cast<std::size_t>(n));
    for (long i = 0; i < n; ++i)
      handles_.push_back(runtime_.spawn(wait_for(never_, waiting_)));
    while (waiting_.load(std::memory_order_relaxed) != n)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void cancel_waiting() {
    for (auto& h : handles_)
      (void)h.request_stop();
  }

  template <class Hold>
  void cancel_queued(long n, Hold& hold) {
    std::vector<weir::handle<void>> queued;
    queued.reserve(static_cast<std::size_t>(n));
    for (long i = 0; i < n; ++i)
      queued.push_back(runtime_.submit(empty_job()));
    hold.queued();
    for (auto& h : queued)
      (void)h.request_stop();
    hold.release();
    for (auto& h : queued)
      h.wait();
  }

  void resize(std::size_t workers) { runtime_.resize(workers); }

  template <class F>
  void region(long n, const F& body) {
    runtime_.submit([n, &body] { weir::parallel_for(0L, n, body); }).get();
  }

 private:
  template <class F>
  static weir::task<> fan_out_task(long rounds, long width, F f) {
    for (long round = 0; round < rounds; ++round) {
      auto body = [width, f](weir::task_group& group) -> weir::task<> {
        for (long i = 0; i < width; ++i)
          group.submit(f);
        co_return;
      };
      co_await weir::with_task_group(body);
    }
  }
  static weir::task<long> ask(long trips, weir::queue<long>& to, weir::queue<long>& fro) {
    long last = 0;
    for (long i = 1; i <= trips; ++i) {
      co_await to.push(i);
      last = (co_await fro.pop()).value();
    }
    co_return last;
  }
  static weir::task<> answer(long trips, weir::queue<long>& to, weir::queue<long>& fro) {
    for (long i = 0; i < trips; ++i) {
      const long got = (co_await to.pop()).value();
      co_await fro.push(got);
    }
  }
  static weir::task<> wait_for(weir::event& never, std::atomic<long>& waiting) {
    try {
      waiting.fetch_add(1, std::memory_order_relaxed);
      co_await never.wait();
    } catch (const weir::task_cancelled&) {
      tally::count();
    }
  }

  // Before the runtime, so that they go after it.
  weir::event never_;
  std::atomic<long> waiting_{0};
  weir::runtime runtime_;
  std::vector<weir::handle<void>> handles_;
};

} // namespace bench
