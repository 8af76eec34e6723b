// SPDX-License-Identifier: MIT
/// \file
/// The request context of a task: an immutable list of values, shared by the tasks that inherit it.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

namespace weir::detail {

struct context_node;

/// A share of a context; null is the empty one.
class context_ref {
 public:
  context_ref() noexcept {}
  context_ref(const context_ref& other) noexcept : node_(other.node_) {
    if (node_ != nullptr)
      retain();
  }
  context_ref(context_ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  context_ref& operator=(context_ref other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~context_ref() {
    if (node_ != nullptr)
      release();
  }

  /// Takes over the reference that a new node comes with.
  [[nodiscard]] static context_ref adopt(context_node* node) noexcept {
    context_ref taken;
    taken.node_ = node;
    return taken;
  }
  /// Takes a reference of its own.
  [[nodiscard]] static context_ref of(context_node* node) noexcept {
    context_ref taken = adopt(node);
    if (node != nullptr)
      taken.retain();
    return taken;
  }
  [[nodiscard]] context_node* get() const noexcept { return node_; }
  [[nodiscard]] context_node* give_up() noexcept { return std::exchange(node_, nullptr); }

 private:
  inline void retain() const noexcept;
  inline void release() const noexcept;

  context_node* node_ = nullptr;
};

/// One value, before those that were set earlier.
struct context_node {
  context_node(const void* which, context_ref before) noexcept
      : key(which), next(std::move(before)) {}
  context_node(const context_node&) = delete;
  context_node& operator=(const context_node&) = delete;
  virtual ~context_node() = default;

  const void* key;
  context_ref next;
  sync::atomic<std::uint32_t> references{1};
};

void context_ref::retain() const noexcept {
  // Relaxed: the caller holds a reference already.
  node_->references.fetch_add(1, std::memory_order_relaxed);
}

void context_ref::release() const noexcept {
  // Acquire-release: the last one deletes after everybody else's reads.
  if (node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete node_;
}

/// The context of what runs on this thread; null if it is empty.
[[nodiscard]] inline context_node* current_context(const thread_state& thread) noexcept;

/// Where the context of what runs on this thread is kept.
[[nodiscard]] inline context_node*& context_place(thread_state& thread) noexcept;

/// Makes `context` that of the calling thread outside of tasks, for as long as it lives.
class ambient_context {
 public:
  explicit ambient_context(context_node* context) noexcept
      : before_(std::exchange(this_thread().ambient, context)) {}
  ambient_context(const ambient_context&) = delete;
  ambient_context& operator=(const ambient_context&) = delete;
  ~ambient_context() { this_thread().ambient = before_; }

 private:
  context_node* before_;
};

/// A posted callable with the context of whoever posted it.
template <class F>
class call_in_context {
 public:
  template <class G>
  call_in_context(context_ref context, G&& f) noexcept(std::is_nothrow_constructible_v<F, G>)
      : context_(std::move(context)), f_(std::forward<G>(f)) {}

  void operator()() && {
    const ambient_context here(context_.get());
    std::invoke(std::move(f_));
  }

 private:
  context_ref context_;
  F f_;
};

} // namespace weir::detail
