// SPDX-License-Identifier: MIT
// The frame of queues with an order of their own: an inbox for those who push, and the order for
// those who take.
//
// O1  The inbox is moodycamel's queue, in which those who push meet neither each other nor those
//     who take. What is in it carries the time of its push. Whoever holds `taking_` moves all of it
//     into the order first, sorted by time: so an order across threads is as exact as their clocks.
//     One that is pushed meanwhile may come after younger ones: an order looks where it belongs.
// O2  At about one in so many of its pushes a thread does that itself, unless somebody else is at
//     it. So the inbox stays short however long nobody takes, and nobody who takes finds a million
//     to be moved.
// O3  Who takes need not look into the inbox if somebody has done so just before, unless the order
//     is empty or the thread itself has pushed since: what came in that moment is as good as pushed
//     at the same time.
#pragma once

#include "queue_traits.hpp"
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <utility>

namespace weir::detail {

/// An item, or a word with the function that takes it.
struct waiting_call {
  waiting_call() noexcept {} // to be filled
  explicit waiting_call(pool_item& which) noexcept
      : first(0), second(reinterpret_cast<std::uintptr_t>(&which)) {}
  explicit waiting_call(const word_call& call) noexcept
      : first(reinterpret_cast<std::uintptr_t>(call.run)), second(call.word) {}

  [[nodiscard]] pool_item* item() const noexcept {
    return first == 0 ? reinterpret_cast<pool_item*>(second) : nullptr;
  }
  [[nodiscard]] bool is_husk() const noexcept {
    const pool_item* const one = item();
    return one != nullptr && one->is_husk();
  }
  /// Adds it to a list of husks.
  void join(pool_item*& husks) const noexcept {
    item()->set_next(husks);
    husks = item();
  }
  /// What it was made of; a word with that weight.
  [[nodiscard]] taken_call call(int weight) const noexcept {
    if (pool_item* const one = item())
      return taken_call(one);
    word_call word;
    word.run = reinterpret_cast<word_call::function>(first);
    word.word = second;
    word.weight = weight;
    return taken_call(word);
  }

  std::uintptr_t first;
  std::uintptr_t second;
};

/// One with all that an order may want to know.
struct timed_call : waiting_call {
  timed_call() noexcept {}
  timed_call(const waiting_call& call, std::uint64_t pushed, int at_weight) noexcept
      : waiting_call(call), time(pushed), weight(at_weight) {}

  std::uint64_t time;
  int weight;
};

/// What an order keeps, if it needs no weight.
struct placed_call : waiting_call {
  explicit placed_call(const timed_call& call) noexcept : waiting_call(call), time(call.time) {}
  std::uint64_t time;
};

/// Puts a call behind those that are older, in a sequence whose first `closed` elements stay.
template <class Sequence>
void add_by_time(Sequence& to, const timed_call& call, std::size_t closed = 0) {
  auto at = to.end();
  while (static_cast<std::size_t>(at - to.begin()) > closed && std::prev(at)->time > call.time)
    --at;
  to.emplace(at, call);
}

/// The same in a slot of moodycamel's queue.
struct queued_call : queue_slot, timed_call {
  explicit queued_call(const timed_call& call) noexcept : queue_slot(), timed_call(call) {}
  queued_call(queued_call&& other) noexcept : queue_slot(), timed_call(other) {}
  queued_call& operator=(queued_call&&) = delete;
  ~queued_call() = default;
};

/// Calls in the memory of who takes them out of the inbox.
struct fresh_call : timed_call {
  fresh_call() noexcept {}
  fresh_call(const fresh_call&) noexcept = default;
  fresh_call& operator=(const fresh_call&) noexcept = default;
  fresh_call& operator=(queued_call&& from) noexcept {
    static_cast<timed_call&>(*this) = from;
    sync::tell_tsan_released(&from);
    return *this;
  }
};

/// For a deque of calls: takes from the allocator in large pieces, and keeps them for the next
/// time that many wait, as moodycamel's queue does.
class order_memory final : public std::pmr::unsynchronized_pool_resource {
 public:
  order_memory() : unsynchronized_pool_resource({0, 1024}, std::pmr::new_delete_resource()) {}
};

/// An `Order` keeps calls, for one thread at a time:
///
///     static constexpr bool weighs;    // whether it needs weights
///     void add(const timed_call&);     // later ones mostly have later times; may throw bad_alloc
///     bool empty() const noexcept;
///     taken_call take() noexcept;      // the best, if it is not empty
///     bool take_husks(pool_item*& husks, unsigned most) noexcept; // some of them; false: no more
template <class Order>
class ordered_queue final : public front_queue {
 public:
  ordered_queue() : consumer_(inbox_), fresh_(std::make_unique<fresh_call[]>(room_)) {}

  void push(pool_item& item) override {
    push(waiting_call(item), Order::weighs ? item.weight() : 0);
  }
  void push(const word_call& callable) override { push(waiting_call(callable), callable.weight); }

  taken_call pop(pool_slot& slot) noexcept override {
    const taking_flag::guard guard(taking_, &taken_);
    if (const auto now = sync::ticks();
        order_.empty() || now - looked_ >= sync::ticks_in_a_moment || self().pushed) {
      self().pushed = false;
      sort_in();
      looked_ = now;
    }
    taken_call best;
    if (!order_.empty()) {
      best = order_.take();
    } else if (!left_.empty()) { // there was no memory to sort it in
      best = left_.front().call(left_.front().weight);
      left_ = left_.subspan(1);
    } else {
      return best;
    }
    if (best.item == nullptr || arrives(*best.item, slot))
      taken_.count();
    return best;
  }

  std::uint32_t taken() const noexcept override { return taken_.value(); }
  void wait_for_takers() noexcept override { const taking_flag::guard guard(taking_, &taken_); }

  pool_item* take_husks(bool& more) noexcept override {
    const taking_flag::guard guard(taking_, &taken_);
    sort_in();
    pool_item* husks = nullptr;
    more = order_.take_husks(husks, husk_batch);
    return husks;
  }

 private:
  static constexpr std::size_t first_room = 256;

  /// Of a thread.
  struct pusher {
    std::uint64_t last = 0;
    std::uint32_t random = 1;
    bool pushed = false; // since it last looked into an inbox

    /// Times of one thread are all different, whatever its clock.
    [[nodiscard]] std::uint64_t time() noexcept { return last = std::max(sync::ticks(), last + 1); }
    /// O2. By chance, because a thread may push to several queues in turn.
    [[nodiscard]] bool looks() noexcept {
      random = random * 1664525U + 1013904223U;
      return random >> 24 == 0;
    }
  };

  static pusher& self() noexcept {
    static thread_local constinit pusher mine;
    return mine;
  }

  void push(const waiting_call& call, int weight) {
    pusher& by = self();
    if (!inbox_.enqueue(queued_call({call, by.time(), weight})))
      throw std::bad_alloc();
    by.pushed = true;
    if (by.looks() && taking_.try_take()) {
      sort_in();
      taking_.leave();
    }
  }

  void sort_in() noexcept {
    for (bool all = false; !all;) {
      if (left_.empty())
        all = fetch();
      try {
        for (; !left_.empty(); left_ = left_.subspan(1))
          order_.add(left_.front());
      } catch (...) {
        return; // no memory: the rest waits here
      }
    }
  }

  /// Takes out what is in the inbox. \return false if there was no memory for all of it.
  bool fetch() noexcept {
    std::size_t count = 0;
    bool all = false;
    for (;;) {
      count += inbox_.try_dequeue_bulk(consumer_, fresh_.get() + count, room_ - count);
      all = count != room_;
      if (all)
        break;
      std::unique_ptr<fresh_call[]> larger(new (std::nothrow) fresh_call[2 * room_]);
      if (larger == nullptr)
        break;
      std::copy_n(fresh_.get(), count, larger.get());
      fresh_ = std::move(larger);
      room_ *= 2;
    }
    left_ = {fresh_.get(), count};
    const auto earlier = [](const fresh_call& a, const fresh_call& b) { return a.time < b.time; };
    if (!std::is_sorted(left_.begin(), left_.end(), earlier))
      std::sort(left_.begin(), left_.end(), earlier);
    return all;
  }

  moodycamel::ConcurrentQueue<queued_call, queue_traits> inbox_;
  // Of those who take.
  alignas(sync::line_size) taking_flag taking_;
  taken_count taken_;
  moodycamel::ConsumerToken consumer_;
  std::size_t room_ = first_room;
  std::unique_ptr<fresh_call[]> fresh_;
  std::span<fresh_call> left_; // of `fresh_`, not yet in the order
  Order order_;
  std::uint64_t looked_ = 0; // when somebody last looked into the inbox
};

} // namespace weir::detail
