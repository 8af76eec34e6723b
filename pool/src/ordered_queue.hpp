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
//     at the same time. If the order is empty, who takes waits for half of that moment to pass:
//     looks that follow each other at once find a task or two each, and take the lines of the
//     inbox from those who push.
#pragma once

#include "queue_traits.hpp"
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <memory>
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

/// The same in a slot of moodycamel's queue.
struct queued_call : queue_slot, timed_call {
  explicit queued_call(const timed_call& call) noexcept : queue_slot(), timed_call(call) {}
  queued_call(queued_call&& other) noexcept : queue_slot(), timed_call(other) {
    prefetch_later_slot();
  }
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

/// Memory of deques of calls. Comes from the allocator in pieces that double, since what other
/// threads than the first get from glibc's grows page by page; and is kept for the next time that
/// as many wait, as moodycamel's queue does.
class order_memory {
 public:
  order_memory() noexcept {}
  order_memory(const order_memory&) = delete;
  order_memory& operator=(const order_memory&) = delete;
  ~order_memory() {
    while (pieces_ != nullptr)
      ::operator delete(std::exchange(pieces_, pieces_->next));
  }

  /// Throws `std::bad_alloc`.
  [[nodiscard]] void* take(std::size_t size) {
    if (!is_node(size))
      return ::operator new(size);
    if (free_ == nullptr)
      add_piece();
    return std::exchange(free_, free_->next);
  }
  void give_back(void* memory, std::size_t size) noexcept {
    if (is_node(size))
      free_ = ::new (memory) link{free_};
    else
      ::operator delete(memory);
  }

 private:
  struct link {
    link* next;
  };
  /// Of a deque of libstdc++; it also has an array of pointers to them.
  static constexpr std::size_t node_size = 512;
  static constexpr std::size_t most_nodes = 512;
  static constexpr bool is_node(std::size_t size) noexcept {
    return size <= node_size && size > node_size / 2;
  }

  void add_piece() {
    auto* const memory = static_cast<std::byte*>(::operator new((nodes_ + 1) * node_size));
    pieces_ = ::new (static_cast<void*>(memory)) link{pieces_};
    for (std::size_t i = nodes_; i != 0; --i)
      give_back(memory + i * node_size, node_size);
    nodes_ = std::min(2 * nodes_, most_nodes);
  }

  link* free_ = nullptr;
  link* pieces_ = nullptr;
  std::size_t nodes_ = 4; // of the next piece
};

template <class T>
class order_allocator {
 public:
  using value_type = T;

  explicit order_allocator(order_memory& memory) noexcept : memory_(&memory) {}
  template <class U>
  order_allocator(const order_allocator<U>& other) noexcept // NOLINT: as allocators are
      : memory_(&other.memory()) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(memory_->take(size_of(count)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    memory_->give_back(static_cast<void*>(memory), size_of(count));
  }
  [[nodiscard]] order_memory& memory() const noexcept { return *memory_; }
  template <class U>
  bool operator==(const order_allocator<U>& other) const noexcept {
    return memory_ == &other.memory();
  }

 private:
  static constexpr std::size_t size_of(std::size_t count) noexcept {
    return count * sizeof(T); // NOLINT(bugprone-sizeof-expression): T may be a pointer
  }

  order_memory* memory_;
};

template <class Call>
using calls_of = std::deque<Call, order_allocator<Call>>;

inline constexpr auto is_earlier = [](const auto& a, const auto& b) { return a.time < b.time; };

/// Adds calls to a sequence, both of which are in the order of their times, and takes them off the
/// span. The first `closed` elements stay.
/// \return false if there was no memory for all of them.
template <class Sequence>
bool add_by_time(Sequence& to, std::span<const fresh_call>& calls,
                 std::size_t closed = 0) noexcept {
  const auto before = to.size();
  try {
    for (; !calls.empty(); calls = calls.subspan(1))
      to.emplace_back(calls.front());
  } catch (...) { // the rest stays in the span
  }
  if (before != closed && before != to.size() && is_earlier(to[before], to[before - 1])) {
    const auto added = to.begin() + static_cast<std::ptrdiff_t>(before);
    const auto first = std::upper_bound(to.begin() + static_cast<std::ptrdiff_t>(closed), added,
                                        *added, is_earlier);
    std::inplace_merge(first, added, to.end(), is_earlier);
  }
  return calls.empty();
}

/// An `Order` keeps calls, for one thread at a time:
///
///     static constexpr bool weighs;    // whether it needs weights
///     // Adds the first call and maybe more, and takes them off the span; false: no more memory.
///     bool add(std::span<const fresh_call>&) noexcept;
///     bool empty() const noexcept;
///     taken_call take() noexcept;      // the best, if it is not empty
///     bool take_husks(pool_item*& husks, unsigned most) noexcept; // some of them; false: no more
template <class Order>
class ordered_queue final : public front_queue {
 public:
  ordered_queue()
      : consumer_(inbox_), fresh_(std::make_unique<fresh_call[]>(room_)),
        merged_(std::make_unique<fresh_call[]>(room_)) {}

  void push(pool_item& item) override {
    push(waiting_call(item), Order::weighs ? item.weight() : 0);
  }
  void push(const word_call& callable) override { push(waiting_call(callable), callable.weight); }

  taken_call pop(pool_slot& slot) noexcept override {
    std::uint64_t last_look = 0;
    for (bool has_waited = false;; has_waited = true) {
      {
        const taking_flag::guard guard(taking_, &taken_);
        const auto now = self().now();
        const bool has_pushed = now - self().last < moment;
        const bool empty = order_.empty() && left_.empty();
        if (!empty || has_pushed || now - looked_ >= moment / 2 || looked_ == last_look) {
          if (empty || has_pushed || now - looked_ >= moment)
            look(now);
          return take(slot, now);
        }
        if (has_waited)
          return {}; // somebody else has looked
        last_look = looked_;
      }
      sync::relax_until(last_look, moment / 2); // O3
    }
  }

  std::uint32_t taken() const noexcept override { return taken_.value(); }
  void wait_for_takers() noexcept override { const taking_flag::guard guard(taking_); }

  pool_item* take_husks(bool& more) noexcept override {
    const taking_flag::guard guard(taking_);
    const auto now = self().now();
    fetch();
    sort_in(now);
    pool_item* husks = nullptr;
    more = order_.take_husks(husks, husk_batch);
    return husks;
  }

 private:
  static constexpr std::size_t first_room = 256;
  static constexpr std::uint64_t moment = sync::ticks_in_a_moment;

  /// Of a thread.
  struct pusher {
    std::uint64_t last = 0; // time of a push
    std::uint32_t random = 1;

    /// Times of one thread are all different, whatever its clock.
    [[nodiscard]] std::uint64_t time() noexcept { return last = std::max(sync::ticks(), last + 1); }
    /// Not before what it has pushed.
    [[nodiscard]] std::uint64_t now() const noexcept { return std::max(sync::ticks(), last); }
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
    if (by.looks() && taking_.try_take()) {
      fetch();
      sort_in(by.last);
      taking_.leave();
    }
  }

  void look(std::uint64_t now) noexcept {
    fetch();
    looked_ = now;
  }

  taken_call take(pool_slot& slot, std::uint64_t now) noexcept {
    sort_in(now);
    if (order_.empty() && !left_.empty())
      sort_in(left_.back().time); // all was pushed meanwhile
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

  /// Moves what was pushed until `now`, before the inbox was looked into. What is younger waits for
  /// the next time: the inbox may have some that is older than that.
  void sort_in(std::uint64_t now) noexcept {
    // Not by much: a clock that is far off must not keep calls from being sorted in.
    constexpr std::uint64_t much = std::uint64_t{1} << 24;
    const auto younger = [&](const fresh_call& call) { return call.time - now - 1 < much; };
    auto end = left_.end();
    while (end != left_.begin() && younger(*std::prev(end)))
      --end;
    std::span<const fresh_call> older(left_.begin(), end);
    while (!older.empty() && order_.add(older)) {
    }
    left_ = {end - static_cast<std::ptrdiff_t>(older.size()), left_.end()};
  }

  /// Takes out what is in the inbox, beside what is left, all in order.
  void fetch() noexcept {
    std::copy(left_.begin(), left_.end(), fresh_.get());
    std::size_t count = left_.size();
    // Those who push may be faster.
    const std::size_t enough = count + 2 * inbox_.size_approx() + first_room;
    for (bool all = false; !all && count < enough;) {
      if (count == room_ && !make_room())
        break;
      const auto most = std::min(room_, enough) - count;
      const auto got = inbox_.try_dequeue_bulk(consumer_, fresh_.get() + count, most);
      count += got;
      all = got != most;
    }
    left_ = {fresh_.get(), count};
    while (merge_runs()) {
    }
  }

  /// Merges every two runs of what is left, which has one or a few of each thread that pushes.
  /// \return false if there was but one.
  bool merge_runs() noexcept {
    const auto end = left_.end();
    auto second = std::is_sorted_until(left_.begin(), end, is_earlier);
    if (second == end)
      return false;
    auto first = left_.begin();
    for (fresh_call* to = merged_.get(); first != end;) {
      const auto rest = std::is_sorted_until(second, end, is_earlier);
      to = std::merge(first, second, second, rest, to, is_earlier);
      first = rest;
      second = std::is_sorted_until(first, end, is_earlier);
    }
    fresh_.swap(merged_);
    left_ = {fresh_.get(), left_.size()};
    return true;
  }

  bool make_room() noexcept {
    std::unique_ptr<fresh_call[]> larger(new (std::nothrow) fresh_call[2 * room_]);
    std::unique_ptr<fresh_call[]> as_large(new (std::nothrow) fresh_call[2 * room_]);
    if (larger == nullptr || as_large == nullptr)
      return false;
    std::copy_n(fresh_.get(), room_, larger.get());
    fresh_ = std::move(larger);
    merged_ = std::move(as_large);
    room_ *= 2;
    return true;
  }

  moodycamel::ConcurrentQueue<queued_call, queue_traits> inbox_;
  // Of those who take.
  alignas(sync::line_size) taking_flag taking_;
  taken_count taken_;
  moodycamel::ConsumerToken consumer_;
  std::size_t room_ = first_room;
  std::unique_ptr<fresh_call[]> fresh_;
  std::unique_ptr<fresh_call[]> merged_; // for merge_runs
  std::span<fresh_call> left_;           // of `fresh_`, not yet in the order
  Order order_;
  std::uint64_t looked_ = 0; // when somebody last looked into the inbox
};

} // namespace weir::detail
