// SPDX-License-Identifier: MIT
// Boost.Fiber's work-stealing scheduler: a fiber for each fork, which begins at once, so that few
// are alive. The calling thread is one of those that run them. Idle threads search all the time,
// which is the scheduler's default; asleep they would not hear of fibers to steal.
#pragma once

#include "fiber_stack.hpp"
#include "fork_face.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <boost/fiber/algo/work_stealing.hpp>
#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/fiber/operations.hpp>

namespace bench {

class fork_fibers {
 public:
  static constexpr const char* name = "boost-fiber";
  static constexpr long most_forks = 500'000; // microseconds each
  static constexpr bool cpus_only = true;     // idle threads take CPUs from the others
  static constexpr bool own_process = true; // the scheduler's threads are numbered once and for all

  explicit fork_fibers(int threads) {
    keep_fiber_stacks();
    const auto count = static_cast<std::uint32_t>(threads);
    for (std::uint32_t i = 1; i < count; ++i) {
      threads_.emplace_back([this, count] {
        boost::fibers::use_scheduling_algorithm<boost::fibers::algo::work_stealing>(count);
        std::unique_lock lock(mutex_);
        end_.wait(lock, [this] { return ended_; }); // other fibers run meanwhile
      });
    }
    // Returns when all threads are there.
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::work_stealing>(count);
  }
  fork_fibers(const fork_fibers&) = delete;
  fork_fibers& operator=(const fork_fibers&) = delete;
  ~fork_fibers() {
    {
      const std::scoped_lock lock(mutex_);
      ended_ = true;
    }
    end_.notify_all();
    for (auto& thread : threads_)
      thread.join();
  }

  template <class F>
  auto run(F f) {
    return f();
  }

  template <class F, class G>
  static auto both(const F& f, const G& g) {
    std::pair<decltype(f()), decltype(g())> results;
    boost::fibers::fiber second(boost::fibers::launch::dispatch, std::allocator_arg, fiber_stack(),
                                [&] { results.second = g(); });
    results.first = f();
    second.join();
    return results;
  }
  template <class F>
  static auto fold(std::size_t count, const F& f) {
    child_results<decltype(f(count))> results(count);
    std::vector<boost::fibers::fiber> others;
    others.reserve(count - 1);
    for (std::size_t i = 1; i < count; ++i)
      others.emplace_back(boost::fibers::launch::dispatch, std::allocator_arg, fiber_stack(),
                          [&f, i, &result = results[i]] { result = f(i); });
    results[0] = f(0);
    for (auto& each : others)
      each.join();
    return results.sum();
  }
  /// A fiber for each stage, and channels between them.
  template <class Stream>
  static void pipeline(Stream& stream) {
    using channel = boost::fibers::buffered_channel<typename Stream::item>;
    // One place of a channel stays free, and their number is a power of two.
    static_assert(Stream::between == 7);
    std::vector<std::unique_ptr<channel>> channels;
    for (std::size_t s = 0; s < Stream::stages; ++s)
      channels.push_back(std::make_unique<channel>(Stream::between + 1));
    std::vector<boost::fibers::fiber> stages;
    for (std::size_t s = 0; s < Stream::stages; ++s) {
      stages.emplace_back(
          boost::fibers::launch::post, std::allocator_arg, fiber_stack(), [&stream, &channels, s] {
            for (std::size_t i = 0; i < Stream::items; ++i)
              channels[s]->push(
                  stream.stage(s, s == 0 ? stream.source(i) : channels[s - 1]->value_pop()));
          });
    }
    for (std::size_t i = 0; i < Stream::items; ++i)
      stream.sink(channels.back()->value_pop());
    for (auto& stage : stages)
      stage.join();
  }

 private:
  boost::fibers::mutex mutex_;
  boost::fibers::condition_variable end_;
  bool ended_ = false; // guarded by the mutex
  std::vector<std::thread> threads_;
};

} // namespace bench
