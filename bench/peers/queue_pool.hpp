// SPDX-License-Identifier: MIT
// Threads around a queue, twice: moodycamel's blocking queue as it comes, and the mutex and
// condition variable that everyone writes first.
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

#include <concurrentqueue/blockingconcurrentqueue.h>

namespace bench {

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
  static constexpr bool has_bulk =
      requires(Queue& queue, std::span<std::function<void()>> jobs) { queue.push_bulk(jobs); };

  explicit queue_pool(std::size_t workers) {
    for (std::size_t i = 0; i < workers; ++i) {
      threads_.emplace_back([this] {
        while (auto job = queue_.pop())
          job();
      });
    }
  }
  queue_pool(const queue_pool&) = delete;
  queue_pool& operator=(const queue_pool&) = delete;
  ~queue_pool() {
    for (std::size_t i = 0; i < threads_.size(); ++i)
      queue_.push({}); // an empty job ends one thread
    for (auto& t : threads_)
      t.join();
  }

  template <class F>
  void post(F f) {
    queue_.push(std::move(f));
  }
  template <class F>
  void post_bulk(std::span<F> jobs) {
    queue_.push_bulk(jobs);
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    queue_.push([&] { result.set_value(f()); });
    return got.get();
  }

 private:
  Queue queue_;
  std::vector<std::thread> threads_;
};

using moodycamel_pool = queue_pool<moodycamel_queue>;
using mutex_pool = queue_pool<mutex_queue>;

} // namespace bench
