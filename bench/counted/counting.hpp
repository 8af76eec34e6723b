// SPDX-License-Identifier: MIT
// What operations are counted with: under a tool that counts instructions, threads take turns by
// chance, so a count can be repeated only if what the threads do does not depend on their turns.
// There is one worker, and what others submit to it waits behind a gate until all is submitted.
// Each file of operations is compiled by itself, because what compilers inline depends on the rest
// of a file: operations that are added elsewhere do not change its counts.
#pragma once

#include <weir/weir.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <span>

namespace bench::counted {

/// What can be counted, by question/peer.
struct operation {
  const char* name;
  /// Two sizes that are far enough from each other.
  long small;
  long large;
  /// Does it, checks the result and says how many operations that were.
  long (*run)(long size);
};

/// Those of each file.
std::span<const operation> forks();
std::span<const operation> forks_of_peers();
std::span<const operation> jobs();
std::span<const operation> jobs_of_peers();
std::span<const operation> jobs_of_pools();
std::span<const operation> tasks();
std::span<const operation> tasks_of_peers();
std::span<const operation> task_pools();

/// Ends the program if something has not been done as it should.
inline void expect(bool correct) {
  if (!correct) {
    std::fputs("wrong result\n", stderr);
    std::exit(1);
  }
}

/// Keeps threads waiting, asleep, until it is opened.
class gate {
 public:
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Keeps the only worker of a peer in a job, so that nothing runs and nobody has to be woken.
class held_worker {
 public:
  template <class Peer>
  explicit held_worker(Peer& peer) {
    peer.post([this] {
      held_.open();
      end_.wait();
    });
    held_.wait();
  }
  void release() { end_.open(); }

 private:
  gate held_;
  gate end_;
};

/// A runtime of one worker that does not look for work before it sleeps.
class one_worker : public weir::runtime {
 public:
  one_worker() : runtime({.workers = 1, .spin = std::chrono::nanoseconds(0)}) {}
};

} // namespace bench::counted
