// SPDX-License-Identifier: MIT
// Tasks that the tests of the combinators run.
#pragma once

#include <weir/weir.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

namespace test {

inline weir::task<int> number(int value) {
  co_return value;
}

inline weir::task<int> number_after_yields(int value, int yields) {
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  co_return value;
}

inline weir::task<std::string> text(std::string value) {
  co_return value;
}

inline weir::task<> set(std::atomic<bool>& flag) {
  flag = true;
  co_return;
}

inline weir::task<> count(std::atomic<int>& calls) {
  ++calls;
  co_return;
}

inline weir::task<> count_after_yields(std::atomic<int>& calls, int yields) {
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  ++calls;
}

inline weir::task<int> fails(std::string what) {
  throw std::runtime_error(what);
  co_return 0;
}

inline weir::task<int> fails_after_yields(std::string what, int yields) {
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  throw std::runtime_error(what);
}

/// A wait that only a stop request ends.
class endless : weir::detail::suspension {
 public:
  endless() noexcept : suspension([](suspension&) noexcept { return true; }) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
    weir::detail::promise_base& promise = self.promise();
    return prepare(promise.scope(), promise) && commit();
  }
  void await_resume() const { check(); }
};

/// Counts itself as waiting, waits until it is stopped, and counts that if it was for this cause.
inline weir::task<> waits(std::atomic<int>& waiting, std::atomic<int>& stopped,
                          weir::stop_cause expected) {
  try {
    ++waiting;
    co_await endless();
  } catch (const weir::task_cancelled& cancelled) {
    stopped += cancelled.reason().cause() == expected ? 1 : 0;
    throw;
  }
}

/// As `waits`.
inline weir::task<> forever(std::atomic<int>& stopped, weir::stop_cause expected) {
  std::atomic<int> waiting{0};
  co_await waits(waiting, stopped, expected);
}

/// Requests stop of the task that runs here.
inline void stop_this_task(weir::stop_reason reason = {}) {
  (void)weir::detail::this_thread().current->request_stop(std::move(reason));
}

/// Counts while it is alive.
class presence {
 public:
  explicit presence(std::atomic<int>& live) : live_(&live) { ++*live_; }
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;
  ~presence() { --*live_; }

 private:
  std::atomic<int>* live_;
};

inline weir::task<int> tracked(std::atomic<int>& live, int yields, bool fail) {
  const presence here(live);
  for (int i = 0; i < yields; ++i)
    co_await weir::yield();
  if (fail)
    throw std::runtime_error("as asked");
  co_return yields;
}

/// Awaits what `make` gives and sees that nothing of it is left afterwards.
template <class Make>
weir::task<> racing_parent(std::atomic<int>& live, int round, Make make) {
  const auto require_none = [&live] {
    if (live != 0)
      live = 1'000'000; // a child has outlived the combinator
  };
  try {
    co_await make(live, round);
  } catch (...) {
    require_none();
    throw;
  }
  require_none();
}

} // namespace test
