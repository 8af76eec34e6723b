// SPDX-License-Identifier: MIT
// moodycamel's queue, and in front of it a short ring that is filled in bulk: taking from a queue
// of many producers costs much, and taking one from the ring a single compare-and-swap.
//
//   ring  <-  chunks that clearing husks has moved out of the queue, mostly none  <-  queue
//
// F1  What leaves the queue or the chunks goes on by whoever holds `filling_`, in order. A cell of
//     the ring is written only by the holder, after `head_` has passed it, and is read before
//     `head_` is moved: who read a cell that has been filled again meanwhile fails to move it.
// F2  `head_` counts in its upper half how many words were taken: so a word is taken and counted by
//     one operation. Items are counted afterwards, since a husk does not count.
// F3  After a look that did not fill the ring the next one waits a little: looks that follow each
//     other at once find a task or two each, and take the lines of the queue from those who push.
//     It does not wait if the thread has pushed itself, as a task does that submits the next one.
#include "queue_traits.hpp"
#include "taking.hpp"

#include <weir/detail/thread_state.hpp>
#include <weir/pool/detail/front_queue.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

namespace weir::detail {

front_queue::~front_queue() = default;

namespace {

/// An item, or a word with the function that takes it.
struct element : queue_slot {
  element() noexcept {}
  explicit element(pool_item& which) noexcept : second(reinterpret_cast<std::uintptr_t>(&which)) {}
  explicit element(const word_call& call) noexcept
      : first(reinterpret_cast<std::uintptr_t>(call.run)), second(call.word) {}
  element(element&& other) noexcept : queue_slot(), first(other.first), second(other.second) {
    prefetch_later_slot();
  }
  element& operator=(element&& other) noexcept {
    first = other.first;
    second = other.second;
    sync::tell_tsan_released(&other);
    return *this;
  }
  ~element() = default;

  [[nodiscard]] bool is_item() const noexcept { return first == 0; }
  [[nodiscard]] pool_item* item() const noexcept { return reinterpret_cast<pool_item*>(second); }

  std::uintptr_t first = 0;
  std::uintptr_t second = 0;
};

class fifo_queue final : public front_queue {
  using queue = moodycamel::ConcurrentQueue<element, queue_traits>;

 public:
  fifo_queue() : consumer_(queue_) {}
  ~fifo_queue() override {
    while (first_ != nullptr)
      delete std::exchange(first_, first_->next);
  }

  void push(pool_item& item) override { push(element(item)); }
  void push(const word_call& callable) override { push(element(callable)); }

  taken_call pop(pool_slot& slot) noexcept override {
    auto seen = head_.load(std::memory_order_acquire);
    for (;;) {
      // Acquire: pairs with fill.
      if (index_of(seen) == tail_.load(std::memory_order_acquire)) {
        if (!fill())
          return {};
        seen = head_.load(std::memory_order_acquire);
        continue;
      }
      const cell& at = ring_[index_of(seen) % ring_size];
      const auto first = at.first.load(std::memory_order_relaxed);
      const auto second = at.second.load(std::memory_order_relaxed);
      const auto passed = (seen & ~index_mask) | ((seen + 1) & index_mask);
      // Acquire-release: F1; the cell was read before. Seq_cst: P4.
      if (!head_.compare_exchange_weak(seen, first == 0 ? passed : passed + one_word,
                                       std::memory_order_seq_cst, std::memory_order_acquire)) {
        // Who takes so often does it at the least cost if left alone for a while.
        sync::relax(64);
        seen = head_.load(std::memory_order_acquire);
        continue;
      }
      if (first != 0) {
        word_call call;
        call.run = reinterpret_cast<word_call::function>(first);
        call.word = second;
        return taken_call(call);
      }
      auto* const item = reinterpret_cast<pool_item*>(second);
      if (arrives(*item, slot))
        items_taken_.fetch_add(1, std::memory_order_seq_cst); // P4
      return taken_call(item);
    }
  }

  std::uint32_t taken() const noexcept override {
    // Seq_cst: P4.
    const auto words = head_.load(std::memory_order_seq_cst) / one_word;
    return static_cast<std::uint32_t>(words) + items_taken_.load(std::memory_order_seq_cst);
  }
  void wait_for_takers() noexcept override {} // all that they change is sequentially consistent

  pool_item* take_husks(bool& more) noexcept override {
    std::unique_ptr<chunk> fresh(new (std::nothrow) chunk);
    const taking_flag::guard guard(filling_);
    if (!clearing_) {
      clearing_ = true;
      at_ = first_;
      left_ = queue_.size_approx(); // what is pushed meanwhile need not be moved
    }
    pool_item* husks = nullptr;
    if (at_ != nullptr) {
      chunk& old = *std::exchange(at_, at_->next);
      remove_husks(old, husks);
    } else if (left_ != 0 && fresh != nullptr) {
      fresh->end = static_cast<unsigned>(queue_.try_dequeue_bulk(
          consumer_, fresh->elements.begin(), std::min<std::size_t>(left_, husk_batch)));
      left_ = fresh->end == 0 ? 0 : left_ - fresh->end;
      remove_husks(*fresh, husks);
      if (fresh->begin != fresh->end) {
        (first_ == nullptr ? first_ : last_->next) = fresh.get();
        last_ = fresh.release();
      }
    } else {
      left_ = 0;
    }
    more = at_ != nullptr || left_ != 0;
    clearing_ = more;
    return husks;
  }

 private:
  static constexpr std::uint32_t ring_size = 128;
  static constexpr std::uint32_t fill_size = 64;
  static constexpr std::uint64_t index_mask = 0xffffffff;
  static constexpr std::uint64_t one_word = std::uint64_t{1} << 32;

  struct cell {
    sync::atomic<std::uintptr_t> first{0};
    sync::atomic<std::uintptr_t> second{0};
    cell& operator=(const element& e) noexcept {
      // Relaxed: published by the index.
      first.store(e.first, std::memory_order_relaxed);
      second.store(e.second, std::memory_order_relaxed);
      return *this;
    }
    cell& operator=(element&& e) noexcept {
      *this = std::as_const(e);
      sync::tell_tsan_released(&e);
      return *this;
    }
  };

  /// The ring's cells from an index on.
  class cell_iterator {
   public:
    using iterator_category = std::output_iterator_tag;
    using value_type = void;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = void;

    cell_iterator(fifo_queue& owner, std::uint32_t at) noexcept : owner_(&owner), at_(at) {}
    cell& operator*() const noexcept { return owner_->ring_[at_ % ring_size]; }
    cell_iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    cell_iterator operator++(int) noexcept {
      auto old = *this;
      ++at_;
      return old;
    }

   private:
    fifo_queue* owner_;
    std::uint32_t at_;
  };

  struct chunk {
    std::array<element, husk_batch> elements;
    unsigned begin = 0;
    unsigned end = 0;
    chunk* next = nullptr;
  };

  static std::uint32_t index_of(std::uint64_t head) noexcept {
    return static_cast<std::uint32_t>(head);
  }

  void push(element&& e) {
    if (!queue_.enqueue(std::move(e)))
      throw std::bad_alloc();
    this_thread().has_pushed = true;
  }

  /// Fills the empty ring. \return whether there is something in it, by whoever.
  [[nodiscard]] bool fill() noexcept {
    if (!filling_.try_take())
      return false;
    std::unique_ptr<chunk> used; // goes after the flag was left
    const auto tail = tail_.load(std::memory_order_relaxed);
    // Acquire: F1, pairs with pop.
    std::uint32_t count = tail - index_of(head_.load(std::memory_order_acquire));
    if (count == 0) {
      const bool from_chunk = first_ != nullptr;
      if (!std::exchange(this_thread().has_pushed, false) && !from_chunk)
        sync::relax_until(looked_, sync::ticks_in_a_moment() / 2); // F3
      const cell_iterator out(*this, tail);
      count = from_chunk
                  ? take_chunk(out, used)
                  : static_cast<std::uint32_t>(queue_.try_dequeue_bulk(consumer_, out, fill_size));
      tail_.store(tail + count, std::memory_order_release); // pairs with pop
      looked_ = from_chunk || count == fill_size ? 0 : sync::ticks();
    }
    filling_.leave();
    return count != 0;
  }

  std::uint32_t take_chunk(cell_iterator out, std::unique_ptr<chunk>& used) noexcept {
    std::uint32_t count = 0;
    while (first_ != nullptr && count == 0) { // husks may have left nothing of it
      chunk& oldest = *first_;
      for (; oldest.begin != oldest.end; ++count)
        *out++ = std::as_const(oldest.elements[oldest.begin++]);
      if (at_ == &oldest)
        at_ = oldest.next;
      first_ = oldest.next;
      used.reset(&oldest);
    }
    return count;
  }

  static void remove_husks(chunk& from, pool_item*& husks) noexcept {
    unsigned kept = from.begin;
    for (unsigned i = from.begin; i != from.end; ++i) {
      element& e = from.elements[i];
      if (e.is_item() && e.item()->is_husk()) {
        e.item()->set_next(husks);
        husks = e.item();
      } else {
        from.elements[kept++] = std::move(e);
      }
    }
    from.end = kept;
  }

  queue queue_;
  // Of those who take.
  alignas(sync::line_size) sync::atomic<std::uint64_t> head_{0};
  sync::atomic<std::uint32_t> items_taken_{0};
  alignas(sync::line_size) sync::atomic<std::uint32_t> tail_{0};
  std::array<cell, ring_size> ring_{};
  // Of who fills.
  alignas(sync::line_size) taking_flag filling_;
  moodycamel::ConsumerToken consumer_;
  std::uint64_t looked_ = 0; // F3
  chunk* first_ = nullptr;
  chunk* last_ = nullptr;
  bool clearing_ = false; // a pass over the chunks and the queue, at `at_` or with so many left
  chunk* at_ = nullptr;
  std::size_t left_ = 0;
};

} // namespace

std::unique_ptr<front_queue> make_fifo_queue() {
  return std::make_unique<fifo_queue>();
}

} // namespace weir::detail
