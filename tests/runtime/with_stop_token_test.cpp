// SPDX-License-Identifier: MIT
// Stop tokens of others: with_stop_token, stop_callback_for_t, callables that take std::stop_token.
#include <weir/weir.hpp>

#include <atomic>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using weir::stop_cause;

namespace {

struct nothing {
  void operator()() const noexcept {}
};

static_assert(weir::stoppable_token<weir::inplace_stop_token>);
static_assert(weir::stoppable_token<std::stop_token>);
static_assert(!weir::stoppable_token<int>);
static_assert(!weir::stoppable_token<std::stop_source>);
static_assert(std::is_same_v<weir::stop_callback_for_t<std::stop_token, nothing>,
                             std::stop_callback<nothing>>);
static_assert(std::is_same_v<weir::stop_callback_for_t<weir::inplace_stop_token, nothing>,
                             weir::inplace_stop_callback<nothing>>);

weir::task<int> waits(std::atomic<int>& waiting, std::atomic<int>& stopped) {
  co_await test::waits(waiting, stopped, stop_cause::requested);
  co_return 0;
}

template <class Source>
void stops_by_token() {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    Source source;
    std::atomic<int> stopped{0};
    std::atomic<int> waiting{0};
    bool parent_stopped = true;
    const auto parent = [&]() -> weir::task<int> {
      int got = 0;
      try {
        got = co_await weir::with_stop_token(source.get_token(), waits(waiting, stopped));
      } catch (const weir::task_cancelled&) {
        got = -1;
      }
      parent_stopped = weir::this_task::stop_requested();
      co_await weir::yield(); // nobody has stopped the parent
      co_return got;
    };
    auto handle = rt.spawn(parent());
    test::eventually([&] { return waiting == 1; });
    source.request_stop();
    CHECK(handle.get() == -1);
    CHECK(stopped == 1);
    CHECK_FALSE(parent_stopped);

    // A token that was stopped before: it never starts.
    CHECK_THROWS_AS(rt.block_on(weir::with_stop_token(source.get_token(), waits(waiting, stopped))),
                    weir::task_cancelled);
    CHECK(waiting == 1);
  }
}

} // namespace

TEST_CASE("a weir token stops what is awaited with it", "[with_stop_token]") {
  stops_by_token<weir::inplace_stop_source>();
}

TEST_CASE("a standard token stops what is awaited with it", "[with_stop_token]") {
  stops_by_token<std::stop_source>();
}

TEST_CASE("with_stop_token gives the result, and stop of the parent works too",
          "[with_stop_token]") {
  weir::runtime rt{{.workers = 2}};
  CHECK(rt.block_on(weir::with_stop_token(std::stop_token(), test::number(5))) == 5);
  std::stop_source source;
  CHECK_THROWS_WITH(rt.block_on(weir::with_stop_token(source.get_token(), test::fails("inside"))),
                    "inside");
  std::atomic<int> stopped{0};
  std::atomic<int> waiting{0};
  auto handle = rt.spawn(
      [](std::stop_token token, std::atomic<int>& w, std::atomic<int>& s) -> weir::task<int> {
        co_return co_await weir::with_stop_token(token, waits(w, s));
      }(source.get_token(), waiting, stopped));
  test::eventually([&] { return waiting == 1; });
  handle.request_stop();
  CHECK_THROWS_AS(handle.get(), weir::task_cancelled);
  CHECK(stopped == 1);
}

TEST_CASE("the token's request races with the end and with the parent's stop",
          "[with_stop_token]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    int wrong = 0;
    const int rounds = test::rounds(3000);
    for (int i = 0; i < rounds; ++i) {
      std::optional<weir::inplace_stop_source> source;
      source.emplace();
      std::atomic<int> live{0};
      auto handle = rt.spawn(test::racing_parent(live, i, [&](std::atomic<int>& l, int r) {
        return weir::with_stop_token(source->get_token(), test::tracked(l, r % 3, false));
      }));
      for (int spin = 0; spin < i % 64; ++spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      if (i % 3 == 0)
        handle.request_stop();
      source->request_stop();
      try {
        handle.get();
      } catch (const weir::task_cancelled&) {
      }
      wrong += live == 0 ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a submitted callable that takes a std::stop_token is given its task's",
          "[with_stop_token]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> ready{false};
  const auto polls = [&](std::stop_token token, int value) {
    ready = true;
    while (!token.stop_requested())
      std::this_thread::yield();
    return value;
  };
  static_assert(weir::submittable<decltype(polls), int>);
  auto handle = rt.submit(polls, 7);
  test::eventually([&] { return ready.load(); });
  handle.request_stop();
  CHECK(handle.get() == 7);

  ready = false;
  const auto coroutine = [&](std::stop_token token) -> weir::task<bool> {
    ready = true;
    while (!token.stop_requested())
      std::this_thread::yield();
    co_return weir::this_task::stop_requested();
  };
  auto second = rt.submit(coroutine);
  test::eventually([&] { return ready.load(); });
  second.request_stop();
  CHECK(second.get());

  // One that can do without, or that takes weir's, is not given the standard one.
  const auto any = [](auto... arguments) { return sizeof...(arguments); };
  CHECK(rt.submit(any).get() == 0);
  struct both {
    int operator()(std::stop_token) const { return 1; }
    int operator()(weir::inplace_stop_token) const { return 2; }
  };
  CHECK(rt.submit(both()).get() == 2);
}
