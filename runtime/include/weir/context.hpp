// SPDX-License-Identifier: MIT
/// \file
/// Values that follow a request through its tasks: a request id, a tenant, a trace.
#pragma once

#include <weir/detail/context.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/task_scope.hpp>

#include <concepts>
#include <utility>

namespace weir {

/// A slot of the context. Its address is its identity: declare one for each kind of value, mostly
/// as an `inline` or static variable.
///
///     inline constinit weir::context_key<std::string> request_id;
///
/// A task inherits the context of whoever submits, spawns, posts or forks it, at that moment, also
/// through pools and timers. Reading goes through the values that were set, the newest first.
/// Costs nothing where no value is set, except for one test for each new task.
///
/// Thread safety: any thread. The values are shared by all who inherit them, and `const`.
template <std::destructible T>
class context_key {
 public:
  constexpr context_key() noexcept {}
  context_key(const context_key&) = delete;
  context_key& operator=(const context_key&) = delete;

  /// The value for what runs on this thread; null if none was set. Valid as long as the scope that
  /// set it, or any task that inherited it.
  [[nodiscard]] const T* get() const noexcept {
    const auto* node = detail::current_context(detail::this_thread());
    while (node != nullptr && node->key != this)
      node = node->next.get();
    return node == nullptr ? nullptr : &static_cast<const value_node*>(node)->value;
  }

 private:
  template <class>
  friend class context_scope;

  struct value_node final : detail::context_node {
    template <class... Args>
    value_node(const context_key& slot, detail::context_ref before, Args&&... args)
        : context_node(&slot, std::move(before)), value(std::forward<Args>(args)...) {}
    const T value;
  };
};

/// Sets a value for the rest of a block: of a task, whose awaited children see it too, or of a
/// thread that is no worker. It must be destroyed by the task or thread that made it, in reverse
/// order.
/// Allocates one node; throws `std::bad_alloc` and what making the value throws.
template <class T>
class [[nodiscard("the value is set as long as this lives")]] context_scope {
 public:
  template <class... Args>
    requires std::constructible_from<T, Args...>
  explicit context_scope(const context_key<T>& key, Args&&... args) {
    // What was forked before does not see the value.
    detail::this_forks->pin_all();
    auto*& place = detail::context_place(detail::this_thread());
    auto* const node = new typename context_key<T>::value_node(key, detail::context_ref::of(place),
                                                               std::forward<Args>(args)...);
    before_ = std::exchange(place, node);
  }
  context_scope(const context_scope&) = delete;
  context_scope& operator=(const context_scope&) = delete;
  ~context_scope() {
    auto*& place = detail::context_place(detail::this_thread());
    (void)detail::context_ref::adopt(std::exchange(place, before_));
  }

 private:
  detail::context_node* before_;
};

} // namespace weir
