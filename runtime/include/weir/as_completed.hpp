// SPDX-License-Identifier: MIT
/// \file
/// `as_completed`: results of several tasks, each as soon as it is there.
#pragma once

#include <weir/when_all.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

namespace detail {

/// Ended children that wait for the one coroutine that takes them, first in, first out.
class WEIR_API completion_queue {
 public:
  completion_queue() noexcept {}
  completion_queue(const completion_queue&) = delete;
  completion_queue& operator=(const completion_queue&) = delete;

  void push(child& ended, thread_state& thread) noexcept;

  class WEIR_API pop_awaiter : suspension {
   public:
    explicit pop_awaiter(completion_queue& from) noexcept : suspension(&withdraw), from_(&from) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      return suspend(weir_promise_of(parent));
    }
    [[nodiscard]] child& await_resume();

   private:
    friend class completion_queue;
    bool suspend(promise_base& promise) noexcept;
    static bool withdraw(suspension& self) noexcept;

    completion_queue* from_;
    child* taken_ = nullptr;
  };

  /// Awaiting it gives the child that has ended first of those not taken yet.
  [[nodiscard]] pop_awaiter pop() noexcept { return pop_awaiter(*this); }

 private:
  sync::mutex mutex_;
  child* first_ = nullptr; // linked by next_ended
  child* last_ = nullptr;
  pop_awaiter* waiting_ = nullptr;
};

/// The body is called by one more child, so that a failing task stops the body and the other way
/// round.
template <class T, class F>
class as_completed_awaiter final : all_join {
 public:
  as_completed_awaiter(std::vector<task<T>>&& tasks, F&& body)
      : all_join(true), body_(std::move(body)), children_(std::move(tasks)),
        consumer_(consume(*this)) {
    for (std::size_t i = 0; i < children_.size(); ++i)
      this->add(children_[i]);
    this->add(consumer_);
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> parent) {
    return this->launch(weir_promise_of(parent));
  }
  void await_resume() { this->check_failures(); }

 private:
  bool child_ended(child& which, child_end how, thread_state& thread) noexcept override {
    if (how != child_end::value)
      this->failed(which, how);
    else if (&which != &consumer_)
      ended_.push(which, thread);
    return true;
  }

  static task<> consume(as_completed_awaiter& self) {
    for (std::size_t left = self.children_.size(); left != 0; --left) {
      child& next = co_await self.ended_.pop();
      const std::size_t index = self.children_.index_of(next);
      auto& ended = self.children_[index];
      if constexpr (std::is_void_v<T>) {
        ended.take();
        if constexpr (is_task<std::invoke_result_t<F&, std::size_t>>) {
          auto call = std::invoke(self.body_, index);
          co_await call;
        } else {
          (void)std::invoke(self.body_, index);
        }
      } else {
        // Named: GCC 12 destroys some temporaries of a co_await expression twice.
        T value = ended.take();
        if constexpr (is_task<std::invoke_result_t<F&, std::size_t, T>>) {
          auto call = std::invoke(self.body_, index, std::forward<T>(value));
          co_await call;
        } else {
          (void)std::invoke(self.body_, index, std::forward<T>(value));
        }
      }
    }
  }

  F body_;
  completion_queue ended_;
  child_array<T> children_;
  task_child<void> consumer_;
};

} // namespace detail

/// What `as_completed` gives: await it, once.
template <class T, class F>
class [[nodiscard("await this: nothing has been started yet")]] as_completed_awaitable {
 public:
  as_completed_awaitable(std::vector<task<T>> tasks, F body)
      : tasks_(std::move(tasks)), body_(std::move(body)) {}
  [[nodiscard]] auto operator co_await() {
    return detail::as_completed_awaiter<T, F>(std::move(tasks_), std::move(body_));
  }

 private:
  std::vector<task<T>> tasks_;
  F body_;
};

/// What `as_completed` calls: with the task's index in the range, and its value unless it is
/// `task<>`.
template <class F, class T>
concept completion_body = (std::is_void_v<T> && std::invocable<std::decay_t<F>&, std::size_t>) ||
                          (!std::is_void_v<T> && std::invocable<std::decay_t<F>&, std::size_t, T>);

/// `co_await as_completed(std::move(tasks), [&](std::size_t index, T value) { ... });` runs all
/// tasks of a range at once and calls the body with each result in the order in which they come,
/// one at a time; the body may return a `task<>`, which is awaited before the next call. It goes on
/// when all tasks and calls have ended.
///
/// The first exception, of a task or of the body, stops all others by `stop_cause::sibling_failed`,
/// the body too; results that have not come to it then are dropped. That exception is thrown when
/// all have ended, further ones are counted in `runtime_stats::suppressed_exceptions`. Stop
/// requested of the awaiting task is handed on to the tasks and the body. Allocates one array and
/// one frame, and an array for the tasks unless they come as a `std::vector`.
template <task_range Range, class F>
  requires completion_body<F, detail::range_task_t<Range>>
[[nodiscard]] auto as_completed(Range&& tasks, F&& body) {
  using value = detail::range_task_t<Range>;
  return as_completed_awaitable<value, std::decay_t<F>>(
      detail::tasks_of<value>(std::forward<Range>(tasks)), std::forward<F>(body));
}

} // namespace weir
