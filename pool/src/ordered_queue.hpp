// SPDX-License-Identifier: MIT
// The frame of queues with an order of their own. Each thread that pushes has a stripe: a ring
// that it fills, and an order into which it moves what is in the ring. As long as nobody takes, it
// meets nobody else. Who takes looks for the best of all orders.
//
// O1  Calls have the time of their push, which rises within a stripe. So the order across stripes
//     is as exact as the clocks of the CPUs.
// O2  The far end of a stripe's ring, and its order, belong to whoever holds the stripe's `taking`.
//     Those who take keep it for each other; `adopted_` has the bits of such stripes, and changes
//     only under the queue's `taking_`. A thread that has filled a chunk of its ring moves it into
//     the order if nobody else holds the stripe, and takes the stripe back if nobody has taken
//     anything since it filled the last one. So rings stay short however long nobody takes, and
//     nobody who takes finds a million to be moved. Who takes waits for who moves a chunk: to pass
//     by the stripe could break the order.
// O3  Who takes looks into the rings if the orders are empty, if the thread itself has pushed
//     since, or if there are news, but not again in the same moment: what came in it is as good as
//     pushed at the same time. If nothing is there, who takes waits for half of that moment to
//     pass: looks that follow each other at once find a task or two each, and take the lines of the
//     rings from those who push.
// O4  A look adopts all stripes, then reads the time, and moves what was pushed until then. What is
//     younger waits for the next look: a ring that was looked into before may have got older calls.
// O5  `has_news_` is set by who has pushed, and cleared by a look that has found nothing. Neither
//     is ordered with the rings: who pushes may find it still set while that look does not see the
//     call yet. So there is one more look when a moment has passed since, which is longer than CPUs
//     keep a store to themselves. Should that miss it too, the call is found when the orders are
//     empty or something else is pushed.
#pragma once

#include "call_ring.hpp"
#include "taking.hpp"

#include <weir/detail/thread_state.hpp>
#include <weir/pool/detail/front_queue.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

namespace weir::detail {

/// What is to be taken first has the smallest.
struct order_key {
  std::int64_t weight = std::numeric_limits<std::int64_t>::max();
  std::uint64_t rank = 0;

  [[nodiscard]] friend bool operator<(const order_key& a, const order_key& b) noexcept {
    return a.weight != b.weight ? a.weight < b.weight : a.rank < b.rank;
  }
};

/// An `Order` keeps calls that are added by rising times, for one thread at a time:
///
///     static constexpr bool weighs;    // whether it needs weights
///     bool add(const timed_call&) noexcept;  // false: there is no memory
///     bool empty() const noexcept;
///     order_key best() const noexcept; // and the same with take, if it is not empty
///     taken_call take() noexcept;
///     bool take_husks(pool_item*& husks, unsigned most) noexcept; // some of them; false: no more
template <class Order>
class ordered_queue final : public front_queue {
 public:
  ordered_queue() noexcept {}
  ~ordered_queue() override {
    for (auto& each : stripes_)
      delete each.load(std::memory_order_relaxed); // nobody else is there any more
  }

  void push(pool_item& item) override {
    push(waiting_call(item), Order::weighs ? item.weight() : 0);
  }
  void push(const word_call& callable) override { push(waiting_call(callable), callable.weight); }

  taken_call pop(pool_slot& slot) noexcept override {
    std::uint64_t last_look = 0;
    for (bool has_waited = false;; has_waited = true) {
      {
        const taking_flag::guard guard(taking_, &taken_);
        const bool empty = filled_ == 0;
        if (!empty || has_pushed() || looked_ == last_look ||
            sync::have_passed(looked_, moment() / 2)) {
          const bool unordered = (empty || has_pushed() || has_news()) && !look();
          return best_ != none ? take_best(slot) : unordered ? take_unordered(slot) : taken_call();
        }
        if (has_waited)
          return {}; // somebody else has looked
        last_look = looked_;
      }
      sync::relax_until(last_look, moment() / 2); // O3
    }
  }

  std::uint32_t taken() const noexcept override { return taken_.value(); }
  void wait_for_takers() noexcept override { const taking_flag::guard guard(taking_); }

  pool_item* take_husks(bool& more) noexcept override {
    const taking_flag::guard guard(taking_);
    (void)look();
    pool_item* husks = nullptr;
    more = false;
    for (; clearing_ != most_stripes && !more; clearing_ += more ? 0 : 1) {
      if ((adopted_ & bit_of(clearing_)) == 0)
        continue;
      more = stripe_at(clearing_).order.take_husks(husks, husk_batch);
      has_changed(clearing_);
    }
    if (!more)
      clearing_ = 0;
    choose();
    return husks;
  }

 private:
  static constexpr unsigned most_stripes = 64;
  static constexpr unsigned none = most_stripes;

  static std::uint64_t moment() noexcept { return sync::ticks_in_a_moment(); }

  struct stripe {
    /// \return whether this has filled a chunk.
    bool push(thread_state& thread, const waiting_call& call, int weight) {
      // All of a thread differ, whatever its clock.
      last = std::max({sync::ticks(), last + 1, thread.last_pushed + 1});
      thread.last_pushed = last;
      return ring.push(call, last, weight);
    }

    void move_all() noexcept {
      (void)move_unless([](const timed_call&) { return false; });
    }
    /// Moves what is not younger into the order. \return the time of the first that stays.
    std::optional<std::uint64_t> move_until(std::uint64_t time) noexcept {
      // Not by much: a clock that is far off must not keep calls from being moved.
      const auto much = sync::ticks_of_skew();
      return move_unless([&](const timed_call& call) { return call.time - time - 1 < much; });
    }
    template <class Stays>
    std::optional<std::uint64_t> move_unless(const Stays& stays) noexcept {
      for (auto calls = ring.front(); !calls.empty(); calls = ring.front()) {
        std::size_t count = 0;
        while (count != calls.size() && !stays(calls[count]) && order.add(calls[count]))
          ++count;
        ring.drop_front(count);
        if (count != calls.size())
          return calls[count].time;
      }
      return std::nullopt;
    }

    // Of who pushes: threads whose numbers are the same modulo `most_stripes` share the stripe.
    taking_flag pushing;
    std::uint32_t taken = 0; // by the queue, when a chunk was full
    std::uint64_t last = 0;  // time of a push
    // O2.
    alignas(sync::line_size) taking_flag taking;
    Order order;
    call_ring ring;
  };

  void push(const waiting_call& call, int weight) {
    thread_state& thread = this_thread();
    const auto own = number_of(thread) % most_stripes;
    auto i = own;
    while (!stripe_for(i).pushing.try_take())
      i = (i + 1) % most_stripes;
    stripe& mine = stripe_at(i);
    {
      const taking_flag::guard guard(mine.pushing, std::adopt_lock);
      if (mine.push(thread, call, weight))
        tidy(mine, i);
    }
    if (i != own) [[unlikely]]
      elsewhere_.store(true, std::memory_order_release); // pairs with look
    announce();
  }

  void announce() noexcept {
    // Relaxed: O5. The load spares the line.
    if (!has_news_.load(std::memory_order_relaxed))
      has_news_.store(true, std::memory_order_relaxed);
  }

  /// O2.
  void tidy(stripe& mine, unsigned i) noexcept {
    if (mine.taking.try_take()) {
      mine.move_all();
      mine.taking.leave();
      return;
    }
    const auto taken = taken_.value();
    if (std::exchange(mine.taken, taken) != taken || !taking_.try_take())
      return;
    if (const auto bit = bit_of(i); (adopted_ & bit) != 0) {
      mine.move_all();
      adopted_ &= ~bit;
      filled_ &= ~bit;
      looked_ = 0;
      look_again_ = true;
      choose();
      mine.taking.leave();
    }
    taking_.leave();
  }

  /// Whether this thread has pushed something that nobody has found yet.
  [[nodiscard]] bool has_pushed() const noexcept {
    // Relaxed: this thread's own store is seen.
    if (elsewhere_.load(std::memory_order_relaxed)) [[unlikely]]
      return true;
    const auto i = number_of(this_thread()) % most_stripes;
    // Acquire: pairs with add_stripe.
    if ((known_.load(std::memory_order_acquire) & bit_of(i)) == 0)
      return false;
    return (adopted_ & bit_of(i)) == 0 || !stripe_at(i).ring.empty();
  }
  /// O3.
  [[nodiscard]] bool has_news() const noexcept {
    return look_again_ ? sync::have_passed(looked_, moment())
                       : has_news_.load(std::memory_order_relaxed); // O5
  }

  static constexpr std::uint64_t bit_of(unsigned i) noexcept { return std::uint64_t{1} << i; }
  stripe& stripe_at(unsigned i) const noexcept {
    return *stripes_[i].load(std::memory_order_relaxed);
  }
  stripe& stripe_for(unsigned i) {
    // Acquire: pairs with add_stripe.
    if ((known_.load(std::memory_order_acquire) & bit_of(i)) == 0) [[unlikely]]
      add_stripe(i);
    return stripe_at(i);
  }
  void add_stripe(unsigned i) {
    auto made = std::make_unique<stripe>();
    stripe* other = nullptr;
    // Acquire-release: pairs with itself; who was first has made it.
    if (stripes_[i].compare_exchange_strong(other, made.get(), std::memory_order_acq_rel))
      (void)made.release();
    // Release: pairs with stripe_for, has_pushed and adopt_all.
    known_.fetch_or(bit_of(i), std::memory_order_acq_rel);
  }

  void adopt_all() noexcept {
    // Acquire: pairs with add_stripe.
    while (const auto others = known_.load(std::memory_order_acquire) & ~adopted_) {
      const auto i = static_cast<unsigned>(std::countr_zero(others));
      stripe_at(i).taking.take();
      adopted_ |= bit_of(i);
      has_changed(i);
    }
  }

  /// O3, O4. \return false if some stay in the rings because there is no memory.
  [[nodiscard]] bool look() noexcept {
    // Acquire: pairs with push, so that what has set it is found.
    if (elsewhere_.load(std::memory_order_relaxed)) [[unlikely]]
      (void)elsewhere_.exchange(false, std::memory_order_acquire);
    adopt_all();
    looked_ = std::max(sync::ticks(), this_thread().last_pushed); // O4
    bool found = false;
    bool fits = true;
    std::optional<std::uint64_t> left = looked_;
    do {
      const auto until = *std::exchange(left, std::nullopt);
      for (auto all = adopted_; all != 0; all &= all - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(all));
        stripe& each = stripe_at(i);
        if (each.ring.front().empty())
          continue;
        found = true;
        const auto stays = each.move_until(until);
        if (stays && (!left || *stays < *left))
          left = stays;
        has_changed(i);
      }
      fits = !left || *left > until;
    } while (filled_ == 0 && left && fits); // all was pushed meanwhile
    look_again_ = found || has_news_.load(std::memory_order_relaxed); // O5
    if (!found) {
      has_news_.store(false, std::memory_order_relaxed);
      looked_ = sync::ticks(); // from here on
    }
    choose();
    return fits;
  }

  void has_changed(unsigned i) noexcept {
    const Order& order = stripe_at(i).order;
    if (order.empty()) {
      filled_ &= ~bit_of(i);
    } else {
      filled_ |= bit_of(i);
      keys_[i] = order.best();
    }
  }

  void choose() noexcept {
    best_ = none;
    second_ = {};
    for (auto all = filled_; all != 0; all &= all - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(all));
      if (best_ == none || keys_[i] < keys_[best_]) {
        if (best_ != none)
          second_ = keys_[best_];
        best_ = i;
      } else if (keys_[i] < second_) {
        second_ = keys_[i];
      }
    }
  }

  /// If there was no memory for the order.
  taken_call take_unordered(pool_slot& slot) noexcept {
    for (auto all = adopted_; all != 0; all &= all - 1) {
      call_ring& ring = stripe_at(static_cast<unsigned>(std::countr_zero(all))).ring;
      const auto calls = ring.front();
      if (calls.empty())
        continue;
      const taken_call first = calls.front().call(calls.front().weight);
      ring.drop_front(1);
      count(first, slot);
      return first;
    }
    return taken_call();
  }

  void count(const taken_call& call, pool_slot& slot) noexcept {
    if (call.item == nullptr || arrives(*call.item, slot))
      taken_.count();
  }

  taken_call take_best(pool_slot& slot) noexcept {
    Order& order = stripe_at(best_).order;
    const taken_call best = order.take();
    has_changed(best_);
    if ((filled_ & bit_of(best_)) == 0 || second_ < keys_[best_])
      choose();
    count(best, slot);
    return best;
  }

  // Changed seldom. The stripes of `known_` are there.
  std::array<sync::atomic<stripe*>, most_stripes> stripes_{};
  sync::atomic<std::uint64_t> known_{0};
  sync::atomic<bool> elsewhere_{false}; // a thread has pushed into another one's stripe
  alignas(sync::line_size) sync::atomic<bool> has_news_{false};
  // Of those who take.
  alignas(sync::line_size) taking_flag taking_;
  taken_count taken_;
  bool look_again_ = false;
  std::uint64_t looked_ = 0; // when somebody last looked into the rings
  std::uint64_t adopted_ = 0;
  std::uint64_t filled_ = 0;                 // of the adopted, those whose orders are not empty
  unsigned best_ = none;                     // of those
  unsigned clearing_ = 0;                    // where husks are to be looked for next
  order_key second_;                         // of the others
  std::array<order_key, most_stripes> keys_; // of those that are filled
};

} // namespace weir::detail
