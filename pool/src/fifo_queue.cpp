// SPDX-License-Identifier: MIT
#include "concurrent_queue.hpp"
#include "taking.hpp"

#include <weir/pool/detail/front_queue.hpp>

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace weir::detail {

front_queue::~front_queue() = default;

void front_queue::push(packet&) {
  std::terminate(); // not a queue of packets
}

namespace {

/// moodycamel's queue, and in front of it those that clearing husks has moved out of it.
class fifo_queue final : public front_queue {
 public:
  void push(pool_item& item) override {
    packet p;
    p.run = &stands_for_item;
    p.relocate = nullptr;
    const auto which = reinterpret_cast<std::uintptr_t>(&item);
    std::memcpy(p.storage, &which, sizeof which);
    push(p);
  }
  void push(packet& callable) override {
    if (!queue_.enqueue(std::move(callable)))
      throw std::bad_alloc();
  }

  pool_item* pop(packet& callable) noexcept override {
    // Acquire: pairs with take_husks. Who misses its mark takes one later item at the most.
    if (first_.load(std::memory_order_acquire) != nullptr) {
      const taking_flag::guard guard(taking_);
      if (moved* const oldest = first_.load(std::memory_order_relaxed)) {
        first_.store(oldest->next, std::memory_order_relaxed);
        callable = std::move(oldest->what);
        delete oldest;
        return item_of(callable);
      }
    }
    return queue_.try_dequeue(callable) ? item_of(callable) : nullptr;
  }

  pool_item* take_husks() noexcept override {
    const taking_flag::guard guard(taking_);
    pool_item* husks = nullptr;
    // Marked before anything leaves the queue: who pops meanwhile waits, and finds what was moved.
    // Seq_cst: so that no removal below comes before it.
    moved* first = first_.exchange(&moving_, std::memory_order_seq_cst);
    moved** end = &first;
    while (moved* const at = *end) {
      if (!take_husk(at->what, husks)) {
        end = &at->next;
        continue;
      }
      *end = at->next;
      delete at;
    }
    // What is pushed meanwhile need not be moved.
    for (auto left = queue_.size_approx(); left != 0; --left) {
      std::unique_ptr<moved> place(new (std::nothrow) moved);
      if (place == nullptr)
        break; // another time
      if (!queue_.try_dequeue(place->what))
        break;
      if (take_husk(place->what, husks))
        continue;
      *end = place.release();
      end = &(*end)->next;
    }
    first_.store(first, std::memory_order_release); // pairs with pop
    return husks;
  }

 private:
  struct moved {
    packet what;
    moved* next = nullptr;
  };

  static void stands_for_item(job&, thread_state&) noexcept {}

  static pool_item* item_of(const packet& p) noexcept {
    if (p.run != &stands_for_item)
      return in_packet();
    std::uintptr_t which = 0;
    std::memcpy(&which, p.storage, sizeof which);
    return reinterpret_cast<pool_item*>(which);
  }
  static bool take_husk(const packet& p, pool_item*& husks) noexcept {
    pool_item* const item = item_of(p);
    if (item == in_packet() || !item->is_husk())
      return false;
    item->next = husks;
    husks = item;
    return true;
  }

  moodycamel::ConcurrentQueue<packet> queue_;
  alignas(sync::line_size) sync::atomic<moved*> first_{nullptr};
  moved moving_; // a mark
  taking_flag taking_;
};

} // namespace

std::unique_ptr<front_queue> make_fifo_queue() {
  return std::make_unique<fifo_queue>();
}

} // namespace weir::detail
