// SPDX-License-Identifier: MIT
// Boost.Fiber's work-stealing scheduler behind the benchmarks' common face (face.hpp). Jobs come in
// through a channel, as its guide does it, and each becomes a fiber. That scheduler can exist once
// in a process, with a number of threads that is fixed; so all objects of this class share two
// threads, which sleep when there is nothing to do and end with the process.
#pragma once

#include "face.hpp"
#include "fiber_stack.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <boost/fiber/algo/work_stealing.hpp>
#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/fixedsize_stack.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/fiber/operations.hpp>

namespace bench {

class boost_fibers {
 public:
  static constexpr const char* name = "boost-fiber";
  static constexpr std::size_t only_workers = 2;

  explicit boost_fibers(std::size_t) : jobs_(shared_jobs()) {}

  template <class F>
  void post(F f) {
    jobs_.push(std::function<void()>(std::move(f)));
  }
  template <class F>
  void post_from_job(F f) {
    boost::fibers::fiber(boost::fibers::launch::post, std::allocator_arg, fiber_stack(),
                         std::move(f))
        .detach();
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    post([&] { result.set_value(f()); });
    return got.get();
  }

  template <class F>
  void fan_out(long rounds, long width, F f) {
    round_trip([=] {
      std::vector<boost::fibers::fiber> children;
      for (long round = 0; round < rounds; ++round) {
        children.clear();
        for (long i = 0; i < width; ++i)
          children.emplace_back(boost::fibers::launch::post, std::allocator_arg, fiber_stack(), f);
        for (auto& child : children)
          child.join();
      }
      return 0;
    });
  }

  long ping_pong(long trips) {
    return round_trip([trips] {
      boost::fibers::buffered_channel<long> to(2);
      boost::fibers::buffered_channel<long> fro(2);
      boost::fibers::fiber answering([&, trips] {
        for (long i = 0; i < trips; ++i)
          fro.push(to.value_pop());
      });
      long last = 0;
      for (long i = 1; i <= trips; ++i) {
        to.push(i);
        last = fro.value_pop();
      }
      answering.join();
      return last;
    });
  }

  void start_waiting(long n) {
    post([n, waiting = waiting_] {
      // Without room on its stack a fiber would cost many times as much.
      boost::fibers::fixedsize_stack stack(16 * 1024);
      for (long i = 0; i < n; ++i) {
        boost::fibers::fiber(boost::fibers::launch::dispatch, std::allocator_arg, stack, [waiting] {
          std::unique_lock lock(waiting->mutex);
          waiting->count.fetch_add(1, std::memory_order_relaxed);
          waiting->end.wait(lock, [&] { return waiting->cancelled; });
          tally::count();
        }).detach();
      }
    });
    while (waiting_->count.load(std::memory_order_relaxed) != n)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void cancel_waiting() {
    const std::scoped_lock lock(waiting_->mutex);
    waiting_->cancelled = true;
    waiting_->end.notify_all();
  }

 private:
  using channel = boost::fibers::buffered_channel<std::function<void()>>;
  struct waiting_fibers {
    boost::fibers::mutex mutex;
    boost::fibers::condition_variable end;
    bool cancelled = false;
    std::atomic<long> count{0};
  };

  static channel& shared_jobs() {
    static channel& jobs = *new channel(1024); // the threads never end
    [[maybe_unused]] static const bool started = [] {
      keep_fiber_stacks();
      for (std::size_t i = 0; i < only_workers; ++i)
        std::thread(work, std::ref(jobs)).detach();
      return true;
    }();
    return jobs;
  }
  static void work(channel& jobs) {
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::work_stealing>(only_workers, true);
    for (std::function<void()> job; jobs.pop(job) == boost::fibers::channel_op_status::success;)
      boost::fibers::fiber(boost::fibers::launch::dispatch, std::allocator_arg, fiber_stack(),
                           std::move(job))
          .detach();
  }

  channel& jobs_;
  std::shared_ptr<waiting_fibers> waiting_ = std::make_shared<waiting_fibers>();
};

} // namespace bench
