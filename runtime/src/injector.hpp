// SPDX-License-Identifier: MIT
// Where work from outside a runtime enters: moodycamel's ConcurrentQueue, and what weir needs to
// know beside it. That queue is neither linearizable nor does a failed try_dequeue mean "empty", so
// whether to sleep is decided by weir's own counters: packets published, packets taken.
//
// I1  A producer counts a packet as published after it is in the queue, and then looks for
//     sleepers.
// I2  A worker counts packets as taken after they are where other workers can see or steal them.
// I3  may_have_work() reads "taken" before "published". If it says no although a packet X is in
//     the queue, then "taken" counted a packet whose producer has not counted it as published yet;
//     that producer will, and will then look for sleepers (W1). So X is not forgotten.
//
// Order: first in, first out for each producer. One producer per outside thread and runtime, given
// back when the thread ends.
#pragma once

#include "concurrent_queue.hpp"

#include <weir/detail/job.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace weir::detail {

/// Allocation through `operator new`, so that programs (and tests) that replace it see everything.
struct queue_traits : moodycamel::ConcurrentQueueDefaultTraits {
  /// How many packets workers take from one producer before they turn to the next: part of the
  /// fairness bound in docs/scheduler.md.
  // NOLINTNEXTLINE(readability-identifier-naming): the queue's name
  static const std::uint32_t EXPLICIT_CONSUMER_CONSUMPTION_QUOTA_BEFORE_ROTATE = 128;

  static void*(malloc)(std::size_t size) { return ::operator new(size, std::nothrow); }
  static void(free)(void* memory) { ::operator delete(memory); }
};

class injector {
 public:
  using queue = moodycamel::ConcurrentQueue<packet, queue_traits>;

  /// One thread's entrance. Counters are written by the thread that holds it.
  struct producer {
    explicit producer(queue& q) : token(q) {}

    /// Announces that the thread is about to touch the scheduler, so that a runtime that closes can
    /// wait until everybody who found it open has left, and so that a runtime's destructor can wait
    /// for the submitter of the very task that ended it. Calls nest.
    void enter() noexcept {
      // Seq_cst: the announcement comes before the look at the scheduler's state (S2). Only this
      // thread writes it.
      calls.store(calls.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    }
    void leave() noexcept {
      // Release: pairs with the acquire in wait_for_submitters.
      calls.store(calls.load(std::memory_order_relaxed) - 1, std::memory_order_release);
    }

    moodycamel::ProducerToken token;
    alignas(sync::line_size) sync::atomic<std::uint64_t> published{0};
    sync::atomic<std::uint64_t> accepted{0};
    sync::atomic<std::uint32_t> calls{0};
    /// The outside thread that has leased it.
    sync::atomic<const thread_state*> holder{nullptr};
    producer* next = nullptr;      // of all producers, fixed once linked
    producer* next_free = nullptr; // guarded by the registry's mutex
  };

  /// What a thread's lease needs when the thread ends, perhaps after the runtime.
  struct registry {
    sync::mutex mutex;
    injector* owner = nullptr;
    const int process = sync::process_id();
  };

  injector();
  injector(const injector&) = delete;
  injector& operator=(const injector&) = delete;
  ~injector();

  /// The calling thread's producer; leases one on first use. Throws `std::bad_alloc`.
  [[nodiscard]] producer& of_thread(thread_state& thread) {
    return thread.producer_id == id_ ? *static_cast<producer*>(thread.producer) : lease(thread);
  }

  /// Leases a producer for a worker, for the injector's life.
  [[nodiscard]] producer& add_producer();

  /// Moves `p` into the queue. \return false if memory is short; then `p` is untouched.
  [[nodiscard]] bool push(producer& from, packet& p) noexcept;
  [[nodiscard]] bool push(producer& from, packet_source& source, std::size_t count) noexcept;

  /// Takes up to `count` packets to `out`. May miss packets while others take.
  template <class Iterator>
  [[nodiscard]] std::size_t take(moodycamel::ConsumerToken& token, Iterator out,
                                 std::size_t count) noexcept {
    return queue_.try_dequeue_bulk(token, out, count);
  }
  [[nodiscard]] moodycamel::ConsumerToken consumer() { return moodycamel::ConsumerToken(queue_); }

  /// Sums over all producers. `published` loads seq_cst: W2's and W3's "read theirs".
  [[nodiscard]] std::uint64_t published() const noexcept;
  [[nodiscard]] std::uint64_t accepted() const noexcept;

  /// Waits until no other thread is inside a submission any more.
  void wait_for_submitters(const thread_state& thread) const noexcept;

 private:
  friend struct producer_leases;

  [[nodiscard]] producer& lease(thread_state& thread);
  producer& use(thread_state& thread, producer& p) noexcept;

  queue queue_;
  std::uint64_t id_;
  // Grows under the registry's mutex, read by anybody; seq_cst, see I3.
  sync::atomic<producer*> producers_{nullptr};
  producer* free_ = nullptr;
  std::shared_ptr<registry> registry_;
};

/// Held by an outside thread while it touches the scheduler.
class submission_guard {
 public:
  explicit submission_guard(injector::producer& through) noexcept : producer_(through) {
    producer_.enter();
  }
  submission_guard(const submission_guard&) = delete;
  submission_guard& operator=(const submission_guard&) = delete;
  ~submission_guard() { producer_.leave(); }

 private:
  injector::producer& producer_;
};

} // namespace weir::detail
