// SPDX-License-Identifier: MIT
/// \file
/// Cooperative stopping without allocation: the interface of C++26's `inplace_stop_source`,
/// `inplace_stop_token` and `inplace_stop_callback` ([stoptoken.inplace]).
#pragma once

#include <weir/detail/sync.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace weir {

class inplace_stop_source;
class inplace_stop_token;
template <class Callback>
class inplace_stop_callback;

namespace detail {

/// A registered callback: a link of the source's list. Fields belong to whoever holds the source's
/// lock bit.
class stop_callback_base {
 public:
  stop_callback_base(const stop_callback_base&) = delete;
  stop_callback_base& operator=(const stop_callback_base&) = delete;

 protected:
  using invoke_function = void (*)(stop_callback_base&) noexcept;

  stop_callback_base(const inplace_stop_source* source, invoke_function invoke) noexcept
      : source_(source), invoke_(invoke) {}
  ~stop_callback_base() = default;

  const inplace_stop_source* source_;

 private:
  friend class weir::inplace_stop_source;

  invoke_function invoke_;
  stop_callback_base* next_ = nullptr;
  stop_callback_base* previous_ = nullptr;
  // Set by the destructor when it runs inside the callback itself.
  bool* gone_ = nullptr;
  sync::atomic<std::uint32_t> finished_{0};
  bool listed_ = false;
};

} // namespace detail

/// A stop state that lives where it is declared: it must outlive its tokens and callbacks.
/// Thread safety: all members may be called from any thread, except the destructor.
class inplace_stop_source {
 public:
  constexpr inplace_stop_source() noexcept {}
  inplace_stop_source(const inplace_stop_source&) = delete;
  inplace_stop_source& operator=(const inplace_stop_source&) = delete;
  ~inplace_stop_source() = default;

  [[nodiscard]] inplace_stop_token get_token() const noexcept;
  [[nodiscard]] static constexpr bool stop_possible() noexcept { return true; }

  [[nodiscard]] bool stop_requested() const noexcept {
    // Seq_cst: pairs with the store in request_stop, so that what happened before the request is
    // seen; and C3 of task_scope.hpp.
    return (word_.load(std::memory_order_seq_cst) & requested) != 0;
  }

  /// Requests stop and calls the registered callbacks on this thread, the newest first.
  /// \return true for the one call that made the request.
  WEIR_API bool request_stop() noexcept;

 private:
  friend class inplace_stop_token;
  template <class>
  friend class inplace_stop_callback;

  static constexpr std::uintptr_t locked = 1;
  static constexpr std::uintptr_t requested = 2;
  static constexpr std::uintptr_t pointer_mask = ~std::uintptr_t{3};

  /// Spins for the lock bit, which is held for a few instructions and never over user code.
  /// \return the word without it.
  std::uintptr_t lock() const noexcept;
  void unlock(std::uintptr_t word) const noexcept;

  /// \return false if stop had been requested already; then the callback is not registered.
  WEIR_API bool add(detail::stop_callback_base& callback) const noexcept;
  /// Waits while the callback runs on another thread.
  WEIR_API void remove(detail::stop_callback_base& callback) const noexcept;

  // While callbacks are called: on which thread, which one, and those left. On that thread's stack.
  struct notification {
    const void* thread;
    detail::stop_callback_base* running;
    detail::stop_callback_base* head;
  };
  // Besides the bits: the first callback; once stop was requested, the notification or nothing.
  mutable detail::sync::atomic<std::uintptr_t> word_{0};
};

/// Tells whether stop was requested from its source; an empty token never does. One
/// pointer, no reference count: the source must live longer.
class inplace_stop_token {
 public:
  template <class Callback>
  using callback_type = inplace_stop_callback<Callback>;

  constexpr inplace_stop_token() noexcept {}

  [[nodiscard]] bool stop_requested() const noexcept {
    return source_ != nullptr && source_->stop_requested();
  }
  [[nodiscard]] bool stop_possible() const noexcept { return source_ != nullptr; }
  void swap(inplace_stop_token& other) noexcept { std::swap(source_, other.source_); }
  friend bool operator==(const inplace_stop_token&, const inplace_stop_token&) noexcept = default;

 private:
  friend class inplace_stop_source;
  template <class>
  friend class inplace_stop_callback;

  explicit inplace_stop_token(const inplace_stop_source* source) noexcept : source_(source) {}

  const inplace_stop_source* source_ = nullptr;
};

inline inplace_stop_token inplace_stop_source::get_token() const noexcept {
  return inplace_stop_token(this);
}

/// Calls `Callback` once when stop is requested, at once if it has been requested already.
/// An exception out of the callback ends the process. The destructor waits while the callback runs
/// on another thread, so that nothing it uses is gone. Allocates nothing.
template <class Callback>
class inplace_stop_callback : detail::stop_callback_base {
  static_assert(std::invocable<Callback>, "a stop callback must be callable without arguments");
  static_assert(std::destructible<Callback>);

 public:
  using callback_type = Callback;

  template <class Initializer>
    requires std::constructible_from<Callback, Initializer>
  explicit inplace_stop_callback(inplace_stop_token token, Initializer&& callback) noexcept(
      std::is_nothrow_constructible_v<Callback, Initializer>)
      : stop_callback_base(token.source_, &invoke), callback_(std::forward<Initializer>(callback)) {
    if (source_ != nullptr && !source_->add(*this)) {
      source_ = nullptr;
      invoke(*this);
    }
  }
  ~inplace_stop_callback() {
    if (source_ != nullptr)
      source_->remove(*this);
  }

 private:
  static void invoke(stop_callback_base& self) noexcept {
    std::forward<Callback>(static_cast<inplace_stop_callback&>(self).callback_)();
  }

  Callback callback_;
};

template <class Callback>
inplace_stop_callback(inplace_stop_token, Callback) -> inplace_stop_callback<Callback>;

} // namespace weir
