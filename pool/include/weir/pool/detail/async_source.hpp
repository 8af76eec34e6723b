// SPDX-License-Identifier: MIT
/// \file
/// Tasks of a pool from arguments that are awaited.
#pragma once

#include <weir/awaitable.hpp>
#include <weir/handle.hpp>
#include <weir/pool/detail/call_source.hpp>
#include <weir/pool/detail/task_pool_core.hpp>
#include <weir/stop_reason.hpp>
#include <weir/task.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

namespace weir::detail {

/// One wait for the next argument: a root task of its own, so that it can be stopped.
class WEIR_API argument_wait {
 public:
  argument_wait() noexcept {}
  argument_wait(const argument_wait&) = delete;
  argument_wait& operator=(const argument_wait&) = delete;
  ~argument_wait();

  /// If it does not begin, `failed` says why before `waits` is destroyed.
  void begin(scheduler& home, task<> waits) noexcept;
  void interrupt(const stop_reason& reason) noexcept;

  std::exception_ptr failed; // for want of memory, not because the runtime has ended

 private:
  void begin_or_throw(scheduler& home, task<>& waits);

  sync::mutex mutex_;
  handle<void> waits_;
  bool interrupted_ = false;
};

/// Tells the pool what has become of an argument, at the end of the coroutine that waits for it,
/// also if that never started. The one that has been moved into a coroutine tells, so that nothing
/// is told if there was no memory for the coroutine.
class WEIR_API argument_promise {
 public:
  argument_promise(task_pool_core& core, pool_group& group, const argument_wait& wait) noexcept;
  argument_promise(argument_promise&& other) noexcept;
  argument_promise& operator=(argument_promise&&) = delete;
  ~argument_promise();

  [[nodiscard]] task_pool_core& core() const noexcept { return *core_; }
  [[nodiscard]] pool_group& group() const noexcept { return *group_; }

  task_source::step how = task_source::step::interrupted;
  pool_task* made = nullptr;
  result_slot* slot = nullptr;
  std::exception_ptr error;

 private:
  std::shared_ptr<task_pool_core> core_;
  pool_group* group_;         // which lives as long as it prepares
  const argument_wait* wait_; // likewise
  bool tells_ = false;
};

/// An awaitable for the next argument: an optional, empty at the end.
template <class S>
[[nodiscard]] auto next_argument(S& source) {
  if constexpr (requires { source.next(); })
    return source.next();
  else
    return source.pop();
}

template <class S>
concept async_arguments =
    !std::ranges::range<S> && (requires(S& s) { s.next(); } || requires(S& s) { s.pop(); });

template <class S>
using async_element_t =
    std::remove_cvref_t<decltype(*std::declval<await_result_t<decltype(next_argument(
                                     std::declval<kept_arguments_t<S>&>()))>&>())>;

template <class T, stars Stars, class F, class S>
class async_source final : public argument_source<T, Stars, F, async_element_t<S>> {
  using base = argument_source<T, Stars, F, async_element_t<S>>;

 public:
  async_source(F f, std::string name, typed_results<T>& results, S from)
      : base(std::move(f), std::move(name), results), source_(std::move(from)) {}

  task_source::step produce(task_pool_core& core, pool_group& group, pool_task*&,
                            result_slot*&) override {
    wait_.begin(core.home(), pull(*this, argument_promise(core, group, wait_)));
    return task_source::step::later;
  }
  void interrupt(const stop_reason& reason) noexcept override { wait_.interrupt(reason); }

 private:
  static task<> pull(async_source& self, argument_promise promise) {
    try {
      auto next = co_await next_argument(self.source_.get());
      if (!next)
        promise.how = task_source::step::exhausted;
      else
        promise.how = self.take(promise.core(), promise.group(), promise.made, promise.slot,
                                std::move(*next));
      if (promise.how == task_source::step::stopped)
        promise.error = self.stopped_by;
    } catch (const task_cancelled&) { // interrupted
    } catch (...) {
      promise.how = task_source::step::exhausted;
      promise.error = std::current_exception();
    }
  }

  argument_keeper<S> source_;
  argument_wait wait_;
};

} // namespace weir::detail
