// SPDX-License-Identifier: MIT
// Threads instead of tasks behind the benchmarks' common face (face.hpp): one for each, which
// waits by a mutex and a condition variable.
#pragma once

#include "face.hpp"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace bench {

class plain_threads {
 public:
  static constexpr const char* name = "threads";

  explicit plain_threads(std::size_t) {}
  plain_threads(const plain_threads&) = delete;
  plain_threads& operator=(const plain_threads&) = delete;
  ~plain_threads() {
    cancel_waiting();
    for (auto& t : threads_)
      t.join();
  }

  long ping_pong(long trips) {
    box to;
    box fro;
    std::thread answering([&, trips] {
      for (long i = 0; i < trips; ++i)
        fro.put(to.take());
    });
    long last = 0;
    for (long i = 1; i <= trips; ++i) {
      to.put(i);
      last = fro.take();
    }
    answering.join();
    return last;
  }

  void start_waiting(long n) {
    gate waiting(n);
    for (long i = 0; i < n; ++i) {
      threads_.emplace_back([this, &waiting] {
        waiting.arrive();
        std::unique_lock lock(mutex_);
        end_.wait(lock, [&] { return cancelled_; });
      });
    }
    waiting.wait();
  }
  void cancel_waiting() {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
    end_.notify_all();
  }

 private:
  /// Holds one number at a time.
  class box {
   public:
    void put(long value) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !value_; });
      value_ = value;
      changed_.notify_one();
    }
    long take() {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return value_.has_value(); });
      const long value = *value_;
      value_.reset();
      changed_.notify_one();
      return value;
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<long> value_;
  };

  std::mutex mutex_;
  std::condition_variable end_;
  bool cancelled_ = false;
  std::vector<std::thread> threads_;
};

} // namespace bench
