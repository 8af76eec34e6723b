// SPDX-License-Identifier: MIT
// What the questions ask of a peer that runs jobs, and what stands in for what a peer does not
// have.
//
// A peer has `name`, a constructor from the number of workers, which starts them, and a destructor,
// which returns after the last job. All else is optional; a peer answers the questions it can:
//   post(f)                    from any thread: runs f() on a worker at some time
//   run(f)                     instead of post: f() and all that it starts, then returns
//   post_from_job(f)           as post, in a job; otherwise post is called there too
//   post_bulk(span of f)       many at once, if the library has a call for that
//   round_trip(f)              runs f() on a worker, blocks, returns its result
//   fan_out(rounds, width, f)  calls f() in width jobs and waits for them, rounds times; blocks
//   ping_pong(trips)           two suspending tasks hand a number to and fro; blocks, returns it
//   start_waiting(n)           n tasks that wait for what never comes; returns when all wait
//   cancel_waiting()           tells these to end; each counts itself
//   cancel_queued(n, hold)     see cancel.cpp
//   resize(workers)            more workers, may return before they run
//   region(n, body)            calls body(i) for i < n on the workers; blocks
#pragma once

#include "tally.hpp"

#include <atomic>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>

namespace bench {

/// Opens after so many arrivals. May go as soon as wait() has returned.
class gate {
 public:
  explicit gate(long arrivals = 1) : left_(arrivals) {}
  void arrive() {
    const std::scoped_lock lock(mutex_);
    if (--left_ == 0)
      open_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    open_.wait(lock, [&] { return left_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable open_;
  long left_;
};

template <class Peer>
concept takes_jobs = requires(Peer& peer, empty_job job) { peer.post(job); };
template <class Peer>
concept runs_jobs = requires(Peer& peer, empty_job job) { peer.run(job); };
template <class Peer>
concept takes_bulk = requires(Peer& peer, std::span<empty_job> jobs) { peer.post_bulk(jobs); };
template <class Peer>
concept answers = requires(Peer& peer) {
  {
    peer.round_trip([] { return 1; })
  } -> std::same_as<int>;
};
template <class Peer>
concept resizes = requires(Peer& peer) { peer.resize(std::size_t{}); };
template <class Peer>
concept has_waiting_tasks = requires(Peer& peer) { peer.start_waiting(1L); };

/// Whether each job gets a thread of its own, so that millions of them are no question.
template <class Peer>
concept thread_per_job = requires { requires Peer::thread_per_job; };

template <class Peer, class F>
void post_from_job(Peer& peer, F f) {
  if constexpr (requires { peer.post_from_job(std::move(f)); })
    peer.post_from_job(std::move(f));
  else
    peer.post(std::move(f));
}

/// Starts a job that starts others.
template <class Peer, class F>
void start(Peer& peer, F f) {
  if constexpr (requires { peer.run(std::move(f)); })
    peer.run(std::move(f));
  else
    peer.post(std::move(f));
}

/// Fan-out of a peer whose jobs cannot wait for others: the last job of a round starts the next.
template <class Peer, class F>
class counted_fan_out {
 public:
  counted_fan_out(Peer& peer, long rounds, long width, F f)
      : peer_(peer), rounds_(rounds), width_(width), f_(std::move(f)) {}
  void run() {
    peer_.post([this] { next_round(); });
    done_.wait();
  }

 private:
  void next_round() {
    // Relaxed: the jobs get it by being posted.
    left_.store(width_, std::memory_order_relaxed);
    for (long i = 0; i < width_; ++i)
      bench::post_from_job(peer_, [this] { child(); });
  }
  void child() {
    f_();
    // Acquire and release: the last job sees what all others have done.
    if (left_.fetch_sub(1, std::memory_order_acq_rel) != 1)
      return;
    if (--rounds_ > 0)
      next_round();
    else
      done_.arrive();
  }

  Peer& peer_;
  long rounds_; // touched by the last job of a round only
  long width_;
  F f_;
  std::atomic<long> left_{0};
  gate done_;
};

template <class Peer, class F>
void fan_out(Peer& peer, long rounds, long width, F f) {
  if constexpr (requires { peer.fan_out(rounds, width, f); })
    peer.fan_out(rounds, width, f);
  else
    counted_fan_out<Peer, F>(peer, rounds, width, f).run();
}

/// Calls `body(i)` for i < n on the workers and waits; as jobs if the peer has no loops.
template <class Peer, class F>
void region(Peer& peer, long n, const F& body) {
  if constexpr (requires { peer.region(n, body); }) {
    peer.region(n, body);
  } else {
    gate done;
    std::atomic<long> left{n};
    for (long i = 0; i < n; ++i) {
      peer.post([i, &body, &left, &done] {
        body(i);
        if (left.fetch_sub(1, std::memory_order_relaxed) == 1)
          done.arrive();
      });
    }
    done.wait();
  }
}

} // namespace bench
