// SPDX-License-Identifier: MIT
// std::async: a thread for each fork, on as many CPUs as there are to be workers.
#pragma once

#include "fork_face.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <future>
#include <mutex>
#include <utility>
#include <vector>

#include <sched.h>

namespace bench {

class std_async {
 public:
  static constexpr const char* name = "std-async";
  static constexpr long most_forks = 5'000; // all of them could be alive at once
  static constexpr bool cpus_only = true;

  /// Threads that are started later inherit the CPUs.
  explicit std_async(int cpus) {
    sched_getaffinity(0, sizeof(before_), &before_);
    cpu_set_t some;
    CPU_ZERO(&some);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&some) < cpus; ++cpu) {
      if (CPU_ISSET(cpu, &before_))
        CPU_SET(cpu, &some);
    }
    sched_setaffinity(0, sizeof(some), &some);
  }
  std_async(const std_async&) = delete;
  std_async& operator=(const std_async&) = delete;
  ~std_async() { sched_setaffinity(0, sizeof(before_), &before_); }

  template <class F>
  auto run(F f) {
    return f();
  }

  template <class F, class G>
  static auto both(const F& f, const G& g) {
    auto second = std::async(std::launch::async, [&g] { return g(); });
    std::pair<decltype(f()), decltype(g())> results;
    results.first = f();
    results.second = second.get();
    return results;
  }
  template <class F>
  static auto fold(std::size_t count, const F& f) {
    std::vector<std::future<decltype(f(count))>> others;
    for (std::size_t i = 1; i < count; ++i)
      others.push_back(std::async(std::launch::async, [&f, i] { return f(i); }));
    auto total = f(0);
    for (auto& each : others)
      total += each.get();
    return total;
  }
  /// A thread for each stage, and queues between them.
  template <class Stream>
  static void pipeline(Stream& stream) {
    using item = typename Stream::item;
    std::vector<bounded_queue<item>> queues(Stream::stages);
    std::vector<std::future<void>> stages;
    for (std::size_t s = 0; s < Stream::stages; ++s) {
      stages.push_back(std::async(std::launch::async, [&stream, &queues, s] {
        for (std::size_t i = 0; i < Stream::items; ++i)
          queues[s].push(stream.stage(s, s == 0 ? stream.source(i) : queues[s - 1].pop()),
                         Stream::between);
      }));
    }
    for (std::size_t i = 0; i < Stream::items; ++i)
      stream.sink(queues.back().pop());
  }

 private:
  template <class T>
  class bounded_queue {
   public:
    void push(T value, std::size_t bound) {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] { return values_.size() < bound; });
      values_.push_back(value);
      lock.unlock();
      filled_.notify_one();
    }
    T pop() {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [&] { return !values_.empty(); });
      const T value = values_.front();
      values_.pop_front();
      lock.unlock();
      room_.notify_one();
      return value;
    }

   private:
    std::mutex mutex_;
    std::condition_variable filled_;
    std::condition_variable room_;
    std::deque<T> values_;
  };

  cpu_set_t before_;
};

} // namespace bench
