// SPDX-License-Identifier: MIT
/// \file
/// `queue<T>`: tasks hand items to other tasks.
#pragma once

#include <weir/detail/ring_buffer.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/wait_list.hpp>
#include <weir/error.hpp>

#include <concepts>
#include <cstddef>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir {

template <class T>
class queue;

namespace detail {

/// Marks one item of a queue as processed when it ends.
template <class T>
class processed_mark {
 public:
  explicit processed_mark(queue<T>& from) noexcept : from_(&from) {}
  processed_mark(processed_mark&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
  processed_mark& operator=(processed_mark&&) = delete;
  ~processed_mark() {
    if (from_ != nullptr)
      (void)from_->mark_processed();
  }

 private:
  queue<T>* from_;
};

} // namespace detail

/// An item of a queue, which is marked as processed when this ends, after the value's end.
/// Thread safety: one thread at a time. The queue must live longer.
template <class T>
class [[nodiscard("dropping it marks the item as processed")]] queue_item {
 public:
  queue_item(queue<T>& from, T&& value) noexcept : mark_(from), value_(std::move(value)) {}
  queue_item(queue_item&& other) noexcept
      : mark_(std::move(other.mark_)), value_(std::move(other.value_)) {}
  queue_item& operator=(queue_item&&) = delete;
  ~queue_item() = default;

  [[nodiscard]] T& value() noexcept { return value_; }
  [[nodiscard]] const T& value() const noexcept { return value_; }
  [[nodiscard]] T& operator*() noexcept { return value_; }
  [[nodiscard]] const T& operator*() const noexcept { return value_; }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

 private:
  detail::processed_mark<T> mark_; // ends last
  T value_;
};

/// First in, first out, for items, for those who wait to push and for those who wait to pop: an
/// item goes to who has waited longest, and nobody overtakes, not even `try_push` and `try_pop`.
///
/// A cancelled push does not enqueue its value, a cancelled pop takes no item.
///
/// `T` may be move-only; it must move and end without throwing. Its move constructor and the
/// destructor of what was moved from run under the queue's lock, so they must not use this queue.
///
/// Thread safety: every member may be called from any thread, except the destructor: nobody may
/// wait then. Costs: one short lock for each call, and an allocation when the backlog reaches a new
/// power of two; that memory is kept. A waiter allocates nothing.
template <class T>
class queue {
  static_assert(std::is_object_v<T> && std::is_nothrow_move_constructible_v<T> &&
                    std::is_nothrow_destructible_v<T>,
                "the items of a queue must move and end without throwing, because that happens "
                "under its lock; give it std::unique_ptr to items that do not");
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned items are not supported: give the queue a std::unique_ptr");

 public:
  using value_type = T;

  /// \param capacity how many items may wait to be popped. 0: no bound.
  explicit queue(std::size_t capacity = 0) noexcept : capacity_(capacity) {}
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;
  ~queue() = default;

  class push_awaiter;
  class pop_awaiter;
  class pop_scoped_awaiter;
  class join_awaiter;

  /// Awaiting it appends `value`, waiting while the queue is full. Throws `errc::queue_closed`,
  /// also if the queue is closed while it waits, and `std::bad_alloc`; then the value is gone.
  [[nodiscard("the item is pushed when this is awaited")]] push_awaiter push(T value) noexcept {
    return push_awaiter(*this, std::move(value));
  }

  /// Awaiting it waits for an item and gives it as a `std::optional<T>`, which is empty when the
  /// queue is closed and all its items have been popped.
  [[nodiscard("an item is popped when this is awaited")]] pop_awaiter pop() noexcept {
    return pop_awaiter(*this);
  }

  /// As `pop`, but gives a `std::optional<queue_item<T>>`, which marks the item as processed when
  /// it ends, also by an exception. If more items were marked than popped by then, it does nothing.
  [[nodiscard("an item is popped when this is awaited")]] pop_scoped_awaiter pop_scoped() noexcept {
    return pop_scoped_awaiter(*this);
  }

  /// Appends `value` if there is room and nobody waits for room. Never waits.
  /// \return false if it was not appended; then `value` is untouched. Throws `errc::queue_closed`
  /// and `std::bad_alloc`, and `value` is untouched as well.
  [[nodiscard]] bool try_push(T&& value) {
    popper* receiver = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      if (!append(value, receiver))
        return false;
    }
    if (receiver != nullptr)
      receiver->complete_and_schedule(detail::this_thread());
    return true;
  }
  [[nodiscard]] bool try_push(const T& value)
    requires std::copy_constructible<T>
  {
    return try_push(T(value));
  }

  /// Takes the oldest item, if there is one. Never waits.
  [[nodiscard]] std::optional<T> try_pop() noexcept {
    std::optional<T> taken;
    pusher* admitted = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      if (!items_.empty())
        admitted = take(taken);
    }
    if (admitted != nullptr)
      admitted->complete_and_schedule(detail::this_thread());
    return taken;
  }

  /// Takes no items from now on. Pops still get what is there; then, and at once those who wait for
  /// an item, get an empty optional. Who waits to push gets `errc::queue_closed`. May be called
  /// again.
  void close() noexcept {
    detail::woken_list woken;
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
      poppers_.move_all_to(woken);
      while (auto* const refused = static_cast<pusher*>(pushers_.pop_front())) {
        refused->refused_ = true;
        woken.push_back(*refused);
      }
    }
    woken.complete_all();
  }

  /// Marks one popped item as processed. Throws `errc::limit_exceeded` if all popped items are.
  void item_processed() {
    if (!mark_processed())
      detail::throw_error(errc::limit_exceeded,
                          "more items were marked as processed than were popped; call "
                          "item_processed once for each pop, and not for pop_scoped");
  }

  /// Awaiting it waits until every item that was pushed has been popped and marked as processed.
  [[nodiscard("the items are waited for when this is awaited")]] join_awaiter join() noexcept {
    return join_awaiter(*this);
  }

  [[nodiscard]] bool closed() const noexcept {
    const std::scoped_lock lock(mutex_);
    return closed_;
  }
  /// A moment's number of items that wait to be popped.
  [[nodiscard]] std::size_t size() const noexcept {
    const std::scoped_lock lock(mutex_);
    return items_.size();
  }
  /// The bound; 0: none.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  friend class detail::processed_mark<T>;

  /// A push; it holds its value until there is room.
  class pusher : public detail::list_awaiter<pusher> {
   public:
    pusher(queue& into, T&& value) noexcept
        : detail::list_awaiter<pusher>(&withdraw), into_(&into), value_(std::move(value)) {}

    [[nodiscard]] bool wait_or_take() {
      popper* receiver = nullptr;
      {
        const std::scoped_lock lock(into_->mutex_);
        if (!into_->append(value_, receiver)) {
          into_->pushers_.push_back(*this);
          return true;
        }
      }
      if (receiver != nullptr)
        receiver->complete_and_schedule(detail::this_thread());
      return false;
    }

   protected:
    friend class queue;

    static bool withdraw(detail::suspension& self) noexcept {
      auto& node = static_cast<pusher&>(self);
      const std::scoped_lock lock(node.into_->mutex_);
      return node.into_->pushers_.remove(node);
    }

    queue* into_;
    bool refused_ = false;
    T value_;
  };

  /// A pop; it gets its item while it waits.
  class popper : public detail::list_awaiter<popper> {
   public:
    explicit popper(queue& from) noexcept : detail::list_awaiter<popper>(&withdraw), from_(&from) {}

    [[nodiscard]] bool wait_or_take() noexcept {
      pusher* admitted = nullptr;
      {
        const std::scoped_lock lock(from_->mutex_);
        if (!from_->items_.empty()) {
          admitted = from_->take(taken_);
        } else if (!from_->closed_) {
          from_->poppers_.push_back(*this);
          return true;
        }
      }
      if (admitted != nullptr)
        admitted->complete_and_schedule(detail::this_thread());
      return false;
    }

   protected:
    friend class queue;

    static bool withdraw(detail::suspension& self) noexcept {
      auto& node = static_cast<popper&>(self);
      const std::scoped_lock lock(node.from_->mutex_);
      return node.from_->poppers_.remove(node);
    }

    queue* from_;
    std::optional<T> taken_;
  };

  // Called under the lock. Somebody waits to pop only while there are no items, and to push only
  // while there are as many as may be.

  /// \return false if `value` must wait for room, else whom to complete afterwards in `receiver`.
  bool append(T& value, popper*& receiver) {
    if (closed_)
      detail::throw_error(errc::queue_closed, "the queue is closed and takes no new items");
    if (auto* const oldest = static_cast<popper*>(poppers_.pop_front())) {
      oldest->taken_.emplace(std::move(value));
      ++unprocessed_;
      receiver = oldest;
      return true;
    }
    if (capacity_ != 0 && items_.size() == capacity_)
      return false;
    items_.push_back(std::move(value));
    return true;
  }

  /// \return whom to complete afterwards, or null.
  pusher* take(std::optional<T>& taken) noexcept {
    taken.emplace(items_.pop_front());
    ++unprocessed_;
    auto* const oldest = static_cast<pusher*>(pushers_.pop_front());
    if (oldest != nullptr)
      items_.push_back(std::move(oldest->value_));
    return oldest;
  }

  /// \return false if nothing is to be marked.
  bool mark_processed() noexcept {
    detail::woken_list woken;
    {
      const std::scoped_lock lock(mutex_);
      if (unprocessed_ == 0)
        return false;
      --unprocessed_;
      if (idle())
        joiners_.move_all_to(woken);
    }
    woken.complete_all();
    return true;
  }

  [[nodiscard]] bool idle() const noexcept { return unprocessed_ == 0 && items_.empty(); }

  mutable detail::sync::mutex mutex_;
  const std::size_t capacity_;
  bool closed_ = false;
  std::size_t unprocessed_ = 0; // popped and not marked
  detail::ring_buffer<T> items_;
  detail::wait_list pushers_;
  detail::wait_list poppers_;
  detail::wait_list joiners_;
};

template <class T>
class queue<T>::push_awaiter : public queue<T>::pusher {
 public:
  using pusher::pusher;
  void await_resume() const {
    this->check();
    if (this->refused_)
      detail::throw_error(errc::queue_closed, "the queue was closed while a push waited for room");
  }
};

template <class T>
class queue<T>::pop_awaiter : public queue<T>::popper {
 public:
  using popper::popper;
  std::optional<T> await_resume() {
    this->check();
    return std::move(this->taken_);
  }
};

template <class T>
class queue<T>::pop_scoped_awaiter : public queue<T>::popper {
 public:
  using popper::popper;
  std::optional<queue_item<T>> await_resume() {
    this->check();
    std::optional<queue_item<T>> item;
    if (this->taken_)
      item.emplace(*this->from_, std::move(*this->taken_));
    return item;
  }
};

template <class T>
class queue<T>::join_awaiter : public detail::list_awaiter<join_awaiter> {
 public:
  explicit join_awaiter(queue& joined) noexcept
      : detail::list_awaiter<join_awaiter>(&withdraw), joined_(&joined) {}

  [[nodiscard]] bool wait_or_take() noexcept {
    const std::scoped_lock lock(joined_->mutex_);
    if (joined_->idle())
      return false;
    joined_->joiners_.push_back(*this);
    return true;
  }
  void await_resume() const { this->check(); }

 private:
  static bool withdraw(detail::suspension& self) noexcept {
    auto& node = static_cast<join_awaiter&>(self);
    const std::scoped_lock lock(node.joined_->mutex_);
    return node.joined_->joiners_.remove(node);
  }

  queue* joined_;
};

} // namespace weir
