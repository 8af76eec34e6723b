// SPDX-License-Identifier: MIT
// A runtime's timers: one queue for each worker, under a lock that others rarely want, and a word
// that says when to look there next. With a manual clock there is one queue only, so that equal
// deadlines fire in the order of their arming whoever armed them.
//
// Who looks: workers at their beat, at their own queue and one other; workers that search, at all;
// and while somebody sleeps, one sleeper, the keeper, sleeps no longer than until the next look.
//
// K1  Arming writes the queue's `next_look`, then reads who is the keeper, and then how long that
//     worker sleeps. A worker becomes the keeper, writes how long it sleeps, and then reads all
//     `next_look`s again. All of it is sequentially consistent: the keeper sees the timer, or is
//     poked by whoever armed it. Each worker has such a word of its own, so that one that is not
//     the keeper any more cannot speak for the present one.
// K2  While timers are armed and somebody sleeps there is a keeper, or a worker that will see that
//     there is none: a worker that goes to sleep becomes the keeper if there is none; the keeper is
//     woken for work only when nobody else sleeps; and whoever arms a timer or leaves the search
//     while others sleep without a keeper wakes one of them.
#pragma once

#include "timer_queue.hpp"

#include <weir/clock.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/timer.hpp>

#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace weir::detail {

/// Orders time points as unsigned numbers.
[[nodiscard]] constexpr timer_queue::key key_of(clock_source::time_point at) noexcept {
  return static_cast<std::uint64_t>(at.time_since_epoch().count()) ^ (std::uint64_t{1} << 63);
}
[[nodiscard]] constexpr clock_source::time_point time_of(timer_queue::key key) noexcept {
  return clock_source::time_point(clock_source::duration(
      static_cast<clock_source::duration::rep>(key ^ (std::uint64_t{1} << 63))));
}

class timer_shard {
 public:
  explicit timer_shard(timer_queue::key now) : queue_(now) {}

  void arm(timer& t, timer_queue::key deadline) noexcept {
    const std::scoped_lock lock(mutex_);
    t.shard_ = this;
    queue_.insert(t, deadline);
    publish();
  }
  [[nodiscard]] bool cancel(timer& t) noexcept {
    const std::scoped_lock lock(mutex_);
    if (!queue_.remove(t))
      return false;
    publish();
    return true;
  }
  /// Takes timers that are due to `out`, in their order. \return how many.
  [[nodiscard]] std::size_t take_due(timer_queue::key now, std::span<timer*> out) noexcept {
    // Relaxed: a hint; what matters is K1.
    if (next_look_.load(std::memory_order_relaxed) > now)
      return 0;
    const std::scoped_lock lock(mutex_);
    std::size_t taken = 0;
    while (taken < out.size()) {
      timer* const due = queue_.pop(now);
      if (due == nullptr)
        break;
      out[taken++] = due;
    }
    publish();
    return taken;
  }

  /// When somebody must look here; `never` if no timer is armed.
  [[nodiscard]] timer_queue::key next_look() const noexcept {
    // Seq_cst: K1.
    return next_look_.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] timer_queue::key next_deadline() noexcept {
    const std::scoped_lock lock(mutex_);
    return queue_.next_deadline();
  }

 private:
  void publish() noexcept {
    const auto look = queue_.next_look();
    // Seq_cst: K1; written under the lock only, so that an unchanged value needs no new store.
    if (look != next_look_.load(std::memory_order_relaxed))
      next_look_.store(look, std::memory_order_seq_cst);
  }

  alignas(sync::line_size) sync::atomic<timer_queue::key> next_look_{timer_queue::never};
  sync::mutex mutex_;
  timer_queue queue_;
};

class timers {
 public:
  timers(std::size_t count, timer_queue::key now) {
    for (std::size_t i = 0; i < count; ++i)
      shards_.push_back(std::make_unique<timer_shard>(now));
  }

  [[nodiscard]] timer_shard& of_worker(std::size_t index) noexcept {
    return *shards_[index % shards_.size()];
  }
  [[nodiscard]] std::size_t count() const noexcept { return shards_.size(); }

  /// The earliest next look of all; `never` if no timer is armed.
  [[nodiscard]] timer_queue::key next_look() const noexcept {
    auto least = timer_queue::never;
    for (const auto& s : shards_)
      least = std::min(least, s->next_look());
    return least;
  }
  [[nodiscard]] timer_queue::key next_deadline() noexcept {
    auto least = timer_queue::never;
    for (const auto& s : shards_)
      least = std::min(least, s->next_deadline());
    return least;
  }
  /// By the keeper: says in its own word until when it will sleep. \return that; `never` for no
  /// limit.
  [[nodiscard]] timer_queue::key
  announce_sleep(sync::atomic<timer_queue::key>& announced) const noexcept {
    auto until = next_look();
    for (;;) {
      // Seq_cst: K1.
      announced.store(until, std::memory_order_seq_cst);
      const auto again = next_look();
      if (again >= until)
        return until;
      until = again;
    }
  }

 private:
  std::vector<std::unique_ptr<timer_shard>> shards_;
};

} // namespace weir::detail
