// SPDX-License-Identifier: MIT
/// \file
/// A queue in one growing array. It keeps the memory of its longest backlog.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// Not synchronised. `T` must move without throwing; it is moved when the array grows.
template <class T>
class ring_buffer {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  ring_buffer() noexcept {}
  ring_buffer(const ring_buffer&) = delete;
  ring_buffer& operator=(const ring_buffer&) = delete;
  ~ring_buffer() {
    while (size_ != 0)
      drop_front();
    if (data_ != nullptr)
      std::allocator<T>().deallocate(data_, capacity_);
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// The element that is `index` places behind the first one.
  [[nodiscard]] T& at(std::size_t index) noexcept {
    return data_[(first_ + index) & (capacity_ - 1)];
  }

  /// Throws `std::bad_alloc`; then `value` is untouched. Never throws after a `pop_front()`.
  void push_back(T&& value) {
    if (size_ == capacity_)
      grow();
    std::construct_at(&at(size_), std::move(value));
    ++size_;
  }

  /// The buffer must not be empty.
  T pop_front() noexcept {
    T taken(std::move(at(0)));
    drop_front();
    return taken;
  }

 private:
  void drop_front() noexcept {
    std::destroy_at(&at(0));
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
  }

  void grow() {
    const std::size_t wanted = capacity_ == 0 ? 8 : 2 * capacity_; // a power of two
    T* const larger = std::allocator<T>().allocate(wanted);
    for (std::size_t i = 0; i < size_; ++i) {
      std::construct_at(larger + i, std::move(at(i)));
      std::destroy_at(&at(i));
    }
    if (data_ != nullptr)
      std::allocator<T>().deallocate(data_, capacity_);
    data_ = larger;
    capacity_ = wanted;
    first_ = 0;
  }

  T* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

} // namespace weir::detail
