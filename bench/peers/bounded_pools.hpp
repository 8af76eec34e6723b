// SPDX-License-Identifier: MIT
// Pools that run at most so many jobs at a time and keep the others in an order: post(f), or
// post(f, weight) where the order is by weight. weir's pools of each kind; and what users of other
// libraries write: as many threads around a locked queue, or a locked queue in front of a thread
// pool of any size. Orders are `in_order`, `last_first` and `by_weight`.
#pragma once

#include "flat_peers.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <queue>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

using any_job = std::function<void()>;

class in_order {
 public:
  using weir_queue = weir::fifo;
  static constexpr const char* name = "fifo";
  void push(any_job job, int) { jobs_.push_back(std::move(job)); }
  bool empty() const { return jobs_.empty(); }
  any_job pop() {
    any_job job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

 private:
  std::deque<any_job> jobs_;
};

class last_first {
 public:
  using weir_queue = weir::lifo;
  static constexpr const char* name = "lifo";
  void push(any_job job, int) { jobs_.push_back(std::move(job)); }
  bool empty() const { return jobs_.empty(); }
  any_job pop() {
    any_job job = std::move(jobs_.back());
    jobs_.pop_back();
    return job;
  }

 private:
  std::vector<any_job> jobs_;
};

/// The smallest weight first; of equal ones the first that came.
class by_weight {
 public:
  using weir_queue = weir::priority;
  static constexpr const char* name = "priority";
  void push(any_job job, int weight) { jobs_.push({weight, next_++, std::move(job)}); }
  bool empty() const { return jobs_.empty(); }
  any_job pop() {
    // Only the order's members may not change.
    any_job job = std::move(const_cast<entry&>(jobs_.top()).job);
    jobs_.pop();
    return job;
  }

 private:
  struct entry {
    int weight;
    std::uint64_t arrival;
    any_job job;
    bool operator<(const entry& other) const {
      return weight != other.weight ? weight > other.weight : arrival > other.arrival;
    }
  };
  std::priority_queue<entry> jobs_;
  std::uint64_t next_ = 0;
};

/// A pool of weir on a runtime with as many workers.
template <class Pool, class Order>
class weir_pool {
 public:
  template <class Options>
  weir_pool(std::size_t limit, const Options& options)
      : runtime_({.workers = limit}), pool_(runtime_, options) {}

  template <class F>
  void post(F f, int weight) {
    if constexpr (std::same_as<typename Order::weir_queue, weir::priority>)
      pool_.post({.weight = weight}, std::move(f));
    else
      pool_.post(std::move(f));
  }

 private:
  weir::runtime runtime_;
  Pool pool_;
};

template <class Order>
struct weir_fixed : weir_pool<weir::fixed_pool<typename Order::weir_queue>, Order> {
  static constexpr const char* name = "weir-fixed";
  explicit weir_fixed(std::size_t limit)
      : weir_pool<weir::fixed_pool<typename Order::weir_queue>, Order>(
            limit, weir::fixed_pool_options{.size = limit}) {}
};

/// Starts with one slot less than the limit, up to which it may grow.
template <class Order>
struct weir_autoscale : weir_pool<weir::autoscale_pool<typename Order::weir_queue>, Order> {
  static constexpr const char* name = "weir-autoscale";
  explicit weir_autoscale(std::size_t limit)
      : weir_pool<weir::autoscale_pool<typename Order::weir_queue>, Order>(limit, options(limit)) {}

 private:
  static weir::autoscale_options options(std::size_t limit) {
    weir::autoscale_options made;
    made.min_size = limit - 1;
    made.max_size = limit;
    return made;
  }
};

/// As many threads as jobs may run, around a queue with a mutex and a condition variable.
template <class Order>
class locked_pool {
 public:
  static constexpr const char* name = "mutex";

  explicit locked_pool(std::size_t limit) {
    for (std::size_t i = 0; i < limit; ++i)
      threads_.emplace_back([this] { work(); });
  }
  locked_pool(const locked_pool&) = delete;
  locked_pool& operator=(const locked_pool&) = delete;
  ~locked_pool() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
    for (auto& t : threads_)
      t.join();
  }

  template <class F>
  void post(F f, int weight) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push(std::move(f), weight);
    }
    ready_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ready_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty())
        return;
      const any_job job = waiting_.pop();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  Order waiting_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// A count and a queue under a mutex in front of a thread pool that could run more.
template <class Peer, class Order>
class gated {
 public:
  explicit gated(std::size_t limit) : limit_(limit), peer_(limit) {}
  gated(const gated&) = delete;
  gated& operator=(const gated&) = delete;
  ~gated() {
    // A library may not wait for what it was given last, which still looks here for more.
    while (is_busy())
      std::this_thread::yield();
  }

  template <class F>
  void post(F f, int weight) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push(std::move(f), weight);
      if (running_ == limit_)
        return;
      ++running_;
    }
    peer_.post([this] { run_next(); });
  }

 private:
  bool is_busy() {
    const std::scoped_lock lock(mutex_);
    return running_ != 0;
  }
  void run_next() {
    any_job job;
    {
      const std::scoped_lock lock(mutex_);
      if (waiting_.empty()) {
        --running_;
        return;
      }
      job = waiting_.pop();
    }
    job();
    peer_.post([this] { run_next(); });
  }

  std::size_t limit_;
  std::mutex mutex_;
  Order waiting_;
  std::size_t running_ = 0;
  Peer peer_; // the last, so that it goes first
};

#ifdef BENCH_HAS_ASIO
template <class Order>
struct asio_gate : gated<asio_pool, Order> {
  static constexpr const char* name = "asio-gate";
  using gated<asio_pool, Order>::gated;
};
#endif
#ifdef BENCH_HAS_TBB
template <class Order>
struct tbb_gate : gated<tbb_arena, Order> {
  static constexpr const char* name = "onetbb-gate";
  using gated<tbb_arena, Order>::gated;
};
#endif

} // namespace bench
