// SPDX-License-Identifier: MIT
/// \file
/// The outcome of a task: nothing yet, a value, an exception, or cancelled.
#pragma once

#include <weir/error.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace weir::detail {

template <class T>
struct result_storage {
  using type = T;
};
template <class T>
struct result_storage<T&> {
  using type = T*;
};
template <>
struct result_storage<void> {
  struct type {};
};

/// How a child's result is kept together with others.
template <class T>
using element_t =
    std::conditional_t<std::is_void_v<T>, std::monostate,
                       std::conditional_t<std::is_reference_v<T>,
                                          std::reference_wrapper<std::remove_reference_t<T>>, T>>;

/// Where a task leaves its outcome. Not synchronised: the task's completion orders the accesses.
template <class T>
class result {
  static_assert(std::is_void_v<T> || std::is_reference_v<T> || std::is_nothrow_destructible_v<T>,
                "a task's result type must have a destructor that does not throw");
  static_assert(!std::is_rvalue_reference_v<T>,
                "a task cannot return an rvalue reference: what it refers to would be gone");
  using stored = typename result_storage<T>::type;
  static_assert(alignof(stored) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned results are not supported: return a std::unique_ptr to one");

 public:
  result() noexcept : kind_(kind::empty) {}
  struct unset {};
  /// Where nothing is asked or set but the first outcome before there is one, and nobody destroys
  /// it. Spares a store if there is nothing to destroy in a value either.
  [[gnu::always_inline]] explicit result(unset) noexcept {
    if constexpr (!std::is_trivially_destructible_v<stored>)
      kind_ = kind::empty;
  }
  result(const result&) = delete;
  result& operator=(const result&) = delete;
  [[gnu::always_inline]] ~result() {
    if (kind_ > kind::value) [[unlikely]]
      reset();
    else if constexpr (!std::is_trivially_destructible_v<stored>) {
      if (kind_ == kind::value)
        std::destroy_at(&value_);
    }
  }

  template <class... Args>
  void emplace(Args&&... args) {
    if constexpr (std::is_reference_v<T>)
      ::new (static_cast<void*>(&value_)) stored(std::addressof(args)...);
    else
      ::new (static_cast<void*>(&value_)) stored(std::forward<Args>(args)...);
    kind_ = kind::value;
  }
  void set_error(std::exception_ptr error) noexcept {
    reset();
    put_error(std::move(error));
  }
  /// As a coroutine's or a call's outcome, also if it was unset.
  void end_by_error(std::exception_ptr error) noexcept {
    // A local's destructor may throw after the value was returned.
    if constexpr (!std::is_trivially_destructible_v<stored>)
      reset();
    put_error(std::move(error));
  }
  /// As the outcome of what never started, also if it was unset.
  void end_unstarted(stop_reason reason) noexcept {
    if constexpr (!std::is_trivially_destructible_v<stored>)
      reset(); // a task that is ready has left its value before
    put_reason(std::move(reason));
  }
  void set_cancelled(stop_reason reason) noexcept {
    reset();
    put_reason(std::move(reason));
  }

  /// Room for something of the owner's, which must be gone before there is an outcome.
  static constexpr std::size_t lent_size = sizeof(void*);
  [[nodiscard]] std::byte* lend() noexcept { return lent_; }

  [[nodiscard]] bool has_value() const noexcept { return kind_ == kind::value; }
  [[nodiscard]] bool failed() const noexcept { return kind_ == kind::error; }
  [[nodiscard]] std::exception_ptr& error() noexcept { return error_; }
  [[nodiscard]] bool cancelled() const noexcept { return kind_ == kind::cancelled; }
  /// Only if `cancelled()`.
  [[nodiscard]] const stop_reason& reason() const noexcept { return reason_; }

  /// The value, moved out, if there is one; what is left of it goes with the result.
  [[gnu::always_inline]] T take_value() {
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (std::is_reference_v<T>) {
      return *value_;
    } else {
#if defined(__GNUC__) && !defined(__clang__)
      // A load for each: GCC would read two results together with what is beside them, which had to
      // wait until all of that has left the store buffer.
      if constexpr ((std::is_integral_v<T> || std::is_pointer_v<T>) && sizeof(T) <= sizeof(void*)) {
        T value = value_;
        asm("" : "+r"(value));
        return value;
      }
#endif
      return std::move(value_);
    }
  }
  /// The value, moved out; or throws what the task threw.
  T take() {
    switch (kind_) {
    case kind::value:
      if constexpr (std::is_void_v<T>)
        return;
      else if constexpr (std::is_reference_v<T>) {
        return *value_;
      } else {
        // What is left of the value goes here and now, not when the last reference to the task
        // does.
        struct clear {
          ~clear() { self->reset(); }
          result* self;
        } const at_exit{this};
        return std::move(value_);
      }
    case kind::error: {
      // Moved out, so that the exception's last owner is the thread that handles it.
      std::exception_ptr taken = std::move(error_);
      reset();
      std::rethrow_exception(std::move(taken));
    }
    case kind::cancelled: {
      stop_reason taken = std::move(reason_);
      reset();
      throw task_cancelled(std::move(taken));
    }
    case kind::empty:
      break;
    }
    throw_error(errc::no_state, "the task has no result: it was taken already");
  }

  /// Takes over the outcome of `other`. A throwing move becomes the outcome.
  void take_over(result& other) noexcept {
    switch (other.kind_) {
    case kind::value:
      try {
        if constexpr (std::is_reference_v<T>)
          emplace(*other.value_);
        else
          emplace(std::move(other.value_));
      } catch (...) {
        set_error(std::current_exception());
      }
      break;
    case kind::error:
      set_error_or_cancelled(std::move(other.error_));
      break;
    case kind::cancelled:
      set_cancelled(std::move(other.reason_));
      break;
    case kind::empty:
      break;
    }
    other.reset();
  }

  /// A task that ends by `task_cancelled` has been cancelled; anything else is an error.
  void set_error_or_cancelled(std::exception_ptr error) noexcept {
    try {
      std::rethrow_exception(error);
    } catch (const task_cancelled& cancelled) {
      set_cancelled(cancelled.reason());
    } catch (...) {
      set_error(std::move(error));
    }
  }

  void reset() noexcept {
    if (kind_ == kind::value)
      std::destroy_at(&value_);
    else if (kind_ == kind::error)
      std::destroy_at(&error_);
    else if (kind_ == kind::cancelled)
      std::destroy_at(&reason_);
    kind_ = kind::empty;
  }

 private:
  enum class kind : std::uint8_t { empty, value, error, cancelled };

  void put_error(std::exception_ptr error) noexcept {
    ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
    kind_ = kind::error;
  }
  void put_reason(stop_reason reason) noexcept {
    ::new (static_cast<void*>(&reason_)) stop_reason(std::move(reason));
    kind_ = kind::cancelled;
  }

  union {
    stored value_;
    std::exception_ptr error_;
    stop_reason reason_;
    alignas(void*) std::byte lent_[lent_size];
  };
  kind kind_;
};

template <class T>
[[gnu::always_inline]] inline element_t<T> take_element(result<T>& ended) {
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return element_t<T>(ended.take_value());
}

} // namespace weir::detail
