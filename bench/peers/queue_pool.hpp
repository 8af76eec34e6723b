// SPDX-License-Identifier: MIT
// Threads around a queue behind the benchmarks' common face (face.hpp), twice: moodycamel's
// blocking queue as it comes, and the mutex and condition variable that everyone writes first.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#ifdef BENCH_HAS_BLOCKING_QUEUE
#include <concurrentqueue/blockingconcurrentqueue.h>
#endif

namespace bench {

#ifdef BENCH_HAS_BLOCKING_QUEUE
class moodycamel_queue {
 public:
  static constexpr const char* name = "moodycamel";
  using job = std::function<void()>;

  void push(job j) { queue_.enqueue(std::move(j)); }
  template <class F>
  void push_bulk(std::span<F> jobs) {
    queue_.enqueue_bulk(jobs.begin(), jobs.size());
  }
  job pop() {
    job j;
    queue_.wait_dequeue(j);
    return j;
  }

 private:
  moodycamel::BlockingConcurrentQueue<job> queue_;
};
#endif

class mutex_queue {
 public:
  static constexpr const char* name = "mutex";
  using job = std::function<void()>;

  void push(job j) {
    {
      const std::scoped_lock lock(mutex_);
      queue_.push_back(std::move(j));
    }
    ready_.notify_one();
  }
  job pop() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return !queue_.empty(); });
    job j = std::move(queue_.front());
    queue_.pop_front();
    return j;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<job> queue_;
};

template <class Queue>
class queue_pool {
 public:
  static constexpr const char* name = Queue::name;

  explicit queue_pool(std::size_t workers) { resize(workers); }
  queue_pool(const queue_pool&) = delete;
  queue_pool& operator=(const queue_pool&) = delete;
  ~queue_pool() {
    for (std::size_t i = 0; i < threads_.size(); ++i)
      queue_.push(std::function<void()>()); // an empty job ends one thread
    for (auto& t : threads_)
      t.join();
  }

  template <class F>
  void post(F f) {
    queue_.push(std::move(f));
  }
  template <class F>
  void post_bulk(std::span<F> jobs)
    requires requires(Queue& queue) { queue.push_bulk(jobs); }
  {
    queue_.push_bulk(jobs);
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    queue_.push([&] { result.set_value(f()); });
    return got.get();
  }
  void resize(std::size_t workers) {
    while (threads_.size() < workers) {
      threads_.emplace_back([this] {
        while (auto job = queue_.pop())
          job();
      });
    }
  }

 private:
  Queue queue_;
  std::vector<std::thread> threads_;
};

#ifdef BENCH_HAS_BLOCKING_QUEUE
using moodycamel_pool = queue_pool<moodycamel_queue>;
#endif
using mutex_pool = queue_pool<mutex_queue>;

} // namespace bench
