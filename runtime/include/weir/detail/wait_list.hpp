// SPDX-License-Identifier: MIT
/// \file
/// Suspensions in the order in which they came: what every primitive keeps its waiters in.
///
/// The lists are not synchronised. A source guards its `wait_list` with its own lock, moves whom it
/// lets go on into a `woken_list` of its caller, and completes those outside the lock. A node that
/// has left its `wait_list` cannot be cancelled any more (C2), and stays until it is completed.
#pragma once

#include <weir/detail/task_scope.hpp>
#include <weir/task.hpp>

#include <coroutine>
#include <utility>

namespace weir::detail {

/// A suspension that can stand in a list. Lives in the awaiter, so that waiting allocates nothing.
class wait_node : public suspension {
 public:
  explicit wait_node(withdraw_function withdraw) noexcept : suspension(withdraw) {}
  /// Moves only before it is used.
  wait_node(wait_node&& unused) noexcept : suspension(std::move(unused)) {}

 private:
  friend class wait_list;
  friend class woken_list;

  wait_node* next_ = nullptr;
  wait_node* previous_ = nullptr;
  bool linked_ = false;
};

/// Nodes that have been taken from their source, to be completed in this order.
class woken_list {
 public:
  woken_list() noexcept {}
  /// Moves only before it is used.
  woken_list(woken_list&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), last_(std::exchange(other.last_, nullptr)) {}
  woken_list& operator=(woken_list&&) = delete;

  void push_back(wait_node& node) noexcept {
    node.next_ = nullptr;
    (first_ == nullptr ? first_ : last_->next_) = &node;
    last_ = &node;
  }

  /// \return null if the list is empty.
  [[nodiscard]] wait_node* pop_front() noexcept {
    wait_node* const node = first_;
    if (node != nullptr)
      first_ = node->next_;
    return node;
  }

  /// Lets all of them go on. What owned the source may be gone afterwards.
  void complete_all() noexcept {
    if (first_ == nullptr)
      return;
    thread_state& thread = this_thread();
    while (wait_node* const node = pop_front())
      node->complete_and_schedule(thread);
  }

 private:
  wait_node* first_ = nullptr;
  wait_node* last_ = nullptr;
};

/// Who waits, the oldest first.
class wait_list {
 public:
  wait_list() noexcept {}
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] wait_node* front() const noexcept { return first_; }

  void push_back(wait_node& node) noexcept {
    node.next_ = nullptr;
    node.previous_ = last_;
    node.linked_ = true;
    (last_ == nullptr ? first_ : last_->next_) = &node;
    last_ = &node;
  }

  /// \return whether the node was still in the list.
  bool remove(wait_node& node) noexcept {
    if (!node.linked_)
      return false;
    node.linked_ = false;
    (node.previous_ == nullptr ? first_ : node.previous_->next_) = node.next_;
    (node.next_ == nullptr ? last_ : node.next_->previous_) = node.previous_;
    return true;
  }

  /// \return null if the list is empty.
  [[nodiscard]] wait_node* pop_front() noexcept {
    wait_node* const node = first_;
    if (node != nullptr)
      remove(*node);
    return node;
  }

  void move_all_to(woken_list& woken) noexcept {
    while (wait_node* const node = pop_front())
      woken.push_back(*node);
  }

 private:
  wait_node* first_ = nullptr;
  wait_node* last_ = nullptr;
};

/// The common part of the primitives' awaiters. `Derived::wait_or_take()` does the source's step:
/// it gives true if the node waits now, false if the coroutine can go on; it may throw.
template <class Derived, class Node = wait_node>
class list_awaiter : public Node {
 public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    static_assert(weir_promise<Promise>,
                  "this can be awaited only inside a weir::task; on a thread that is no worker use "
                  "runtime.block_on(...)");
    promise_base& promise = parent.promise();
    if (!this->prepare(promise.scope(), promise))
      return false;
    try {
      if (static_cast<Derived&>(*this).wait_or_take())
        return this->commit();
    } catch (...) {
      this->retract();
      throw;
    }
    this->retract();
    return false;
  }

 private:
  friend Derived;

  explicit list_awaiter(suspension::withdraw_function withdraw) noexcept : Node(withdraw) {}
  list_awaiter(list_awaiter&& unused) noexcept : Node(std::move(unused)) {}
};

} // namespace weir::detail
