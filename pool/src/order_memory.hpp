// SPDX-License-Identifier: MIT
#pragma once

#include "waiting_call.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <new>
#include <utility>

namespace weir::detail {

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
    void* const taken = std::exchange(free_, free_->next);
    sync::prefetch_for_write(reinterpret_cast<std::uintptr_t>(free_)); // of old, by whoever took
    return taken;
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

} // namespace weir::detail
