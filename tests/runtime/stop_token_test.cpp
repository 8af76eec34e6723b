// SPDX-License-Identifier: MIT
// inplace_stop_source, inplace_stop_token and inplace_stop_callback: the interface of C++26, and
// registration, request and deregistration racing with each other.
#include "catch.hpp"

#include <weir/stop_token.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using weir::inplace_stop_callback;
using weir::inplace_stop_source;
using weir::inplace_stop_token;

using function = std::function<void()>;
using callback = inplace_stop_callback<function>;

template <class T>
constexpr bool can_be_copied_or_moved =
    std::is_copy_constructible_v<T> || std::is_move_constructible_v<T> ||
    std::is_copy_assignable_v<T> || std::is_move_assignable_v<T>;

static_assert(inplace_stop_source::stop_possible());
static_assert(std::is_nothrow_default_constructible_v<inplace_stop_source>);
static_assert(!can_be_copied_or_moved<inplace_stop_source>);
static_assert(noexcept(std::declval<inplace_stop_source&>().request_stop()));
static_assert(noexcept(std::declval<const inplace_stop_source&>().get_token()));
static_assert(noexcept(std::declval<const inplace_stop_source&>().stop_requested()));

static_assert(std::is_nothrow_default_constructible_v<inplace_stop_token>);
static_assert(std::is_trivially_copyable_v<inplace_stop_token>);
static_assert(!std::is_constructible_v<inplace_stop_token, const inplace_stop_source*>);
static_assert(std::is_same_v<inplace_stop_token::callback_type<function>, callback>);

static_assert(!can_be_copied_or_moved<callback>);
static_assert(std::is_same_v<callback::callback_type, function>);
static_assert(std::is_constructible_v<callback, inplace_stop_token, void (*)()>);
static_assert(!std::is_constructible_v<callback, inplace_stop_token, int>);
static_assert(!std::is_convertible_v<std::pair<inplace_stop_token, function>, callback>);

struct throws_when_made {
  throws_when_made() = default;
  throws_when_made(const throws_when_made&) {} // not noexcept
  void operator()() const {}
};
static_assert(std::is_nothrow_constructible_v<inplace_stop_callback<void (*)() noexcept>,
                                              inplace_stop_token, void (*)() noexcept>);
static_assert(!std::is_nothrow_constructible_v<inplace_stop_callback<throws_when_made>,
                                               inplace_stop_token, const throws_when_made&>);

/// Lets two threads start each round together.
class rendezvous {
 public:
  void meet() {
    const auto round = round_.load();
    if (arrived_.fetch_add(1) == 1) {
      arrived_.store(0);
      round_.store(round + 1);
      return;
    }
    while (round_.load() == round)
      std::this_thread::yield();
  }

 private:
  std::atomic<int> arrived_{0};
  std::atomic<int> round_{0};
};

} // namespace

TEST_CASE("an empty token never stops", "[stop_token]") {
  inplace_stop_token token;
  CHECK_FALSE(token.stop_possible());
  CHECK_FALSE(token.stop_requested());
  int calls = 0;
  {
    const inplace_stop_callback registered(token, [&] { ++calls; });
  }
  CHECK(calls == 0);
}

TEST_CASE("tokens see the request of their source only", "[stop_token]") {
  inplace_stop_source source;
  inplace_stop_source other;
  const auto before = source.get_token();
  CHECK(before.stop_possible());
  CHECK_FALSE(before.stop_requested());
  CHECK_FALSE(source.stop_requested());
  CHECK(source.request_stop());
  CHECK(source.stop_requested());
  CHECK(before.stop_requested());
  CHECK(before.stop_possible());
  CHECK(source.get_token().stop_requested());
  CHECK_FALSE(other.stop_requested());
  CHECK_FALSE(other.get_token().stop_requested());
}

TEST_CASE("tokens are equal if they are of the same source", "[stop_token]") {
  inplace_stop_source source;
  inplace_stop_source other;
  CHECK(source.get_token() == source.get_token());
  CHECK(source.get_token() != other.get_token());
  CHECK(source.get_token() != inplace_stop_token());
  CHECK(inplace_stop_token() == inplace_stop_token());

  auto a = source.get_token();
  auto b = other.get_token();
  a.swap(b);
  CHECK(a == other.get_token());
  CHECK(b == source.get_token());
  a = inplace_stop_token();
  CHECK_FALSE(a.stop_possible());
}

TEST_CASE("stop is requested once and callbacks run once", "[stop_token]") {
  inplace_stop_source source;
  int calls = 0;
  const inplace_stop_callback registered(source.get_token(), [&] { ++calls; });
  CHECK(calls == 0);
  CHECK(source.request_stop());
  CHECK(calls == 1);
  CHECK_FALSE(source.request_stop());
  CHECK(calls == 1);
}

TEST_CASE("of many threads that request stop one succeeds", "[stop_token]") {
  for (int round = 0; round < 300; ++round) {
    inplace_stop_source source;
    std::atomic<int> calls{0};
    std::atomic<int> winners{0};
    const inplace_stop_callback registered(source.get_token(), [&] { ++calls; });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&] { winners += source.request_stop() ? 1 : 0; });
    for (auto& t : threads)
      t.join();
    REQUIRE(winners == 1);
    REQUIRE(calls == 1);
  }
}

TEST_CASE("callbacks run on the requesting thread, the newest first", "[stop_token]") {
  inplace_stop_source source;
  std::string order;
  std::thread::id ran_on;
  const inplace_stop_callback a(source.get_token(), [&] { order += 'a'; });
  const inplace_stop_callback b(source.get_token(), [&] { order += 'b'; });
  const inplace_stop_callback c(source.get_token(), [&] {
    order += 'c';
    ran_on = std::this_thread::get_id();
  });
  std::thread requester([&] { source.request_stop(); });
  const auto requester_id = requester.get_id();
  requester.join();
  CHECK(order == "cba");
  CHECK(ran_on == requester_id);
}

TEST_CASE("the stop is visible inside a callback, and cannot be requested again", "[stop_token]") {
  inplace_stop_source source;
  bool visible = false;
  bool again = true;
  const inplace_stop_callback registered(source.get_token(), [&] {
    visible = source.stop_requested();
    again = source.request_stop();
  });
  CHECK(source.request_stop());
  CHECK(visible);
  CHECK_FALSE(again);
}

TEST_CASE("a callback that is registered after the request runs at once", "[stop_token]") {
  inplace_stop_source source;
  source.request_stop();
  std::thread::id ran_on;
  {
    const inplace_stop_callback late(source.get_token(),
                                     [&] { ran_on = std::this_thread::get_id(); });
    CHECK(ran_on == std::this_thread::get_id());
  }

  // Also while the callbacks of the request run.
  inplace_stop_source second;
  std::string order;
  const inplace_stop_callback outer(second.get_token(), [&] {
    const inplace_stop_callback inner(second.get_token(), [&] { order += "inner "; });
    order += "outer";
  });
  second.request_stop();
  CHECK(order == "inner outer");
}

TEST_CASE("a destroyed callback does not run, wherever it is in the list", "[stop_token]") {
  for (std::size_t removed = 0; removed < 4; ++removed) {
    inplace_stop_source source;
    std::string order;
    std::array<std::optional<callback>, 4> callbacks;
    for (std::size_t i = 0; i < callbacks.size(); ++i)
      callbacks[i].emplace(source.get_token(), [&order, i] { order += std::to_string(i); });
    callbacks[removed].reset();
    source.request_stop();
    std::string expected = "3210";
    expected.erase(expected.find(std::to_string(removed)), 1);
    CHECK(order == expected);
  }
}

TEST_CASE("callbacks come and go in any order, as in a model", "[stop_token]") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    inplace_stop_source source;
    std::array<std::optional<callback>, 8> callbacks;
    std::vector<std::size_t> model; // oldest first
    std::vector<std::size_t> called;
    for (int step = 0; step < 40; ++step) {
      const std::size_t i = random() % callbacks.size();
      if (callbacks[i]) {
        callbacks[i].reset();
        std::erase(model, i);
      } else {
        callbacks[i].emplace(source.get_token(), [&called, i] { called.push_back(i); });
        model.push_back(i);
      }
    }
    source.request_stop();
    REQUIRE(called == std::vector<std::size_t>(model.rbegin(), model.rend()));
  }
}

TEST_CASE("a callback may destroy itself", "[stop_token]") {
  inplace_stop_source source;
  std::string order;
  // Of a kind that knows when it is destroyed: the callable must die once, by the callback's hand.
  auto alive = std::make_shared<int>(0);
  std::optional<callback> self;
  const inplace_stop_callback last(source.get_token(), [&] { order += "last"; });
  self.emplace(source.get_token(), [&, alive] {
    order += "self ";
    auto& order_outside = order; // the captures go with the callback
    self.reset();
    order_outside += "gone ";
  });
  CHECK(alive.use_count() == 2);
  CHECK(source.request_stop());
  CHECK(order == "self gone last");
  CHECK_FALSE(self.has_value());
  CHECK(alive.use_count() == 1);
}

TEST_CASE("a callback may destroy those that have not run and those that have", "[stop_token]") {
  inplace_stop_source source;
  std::string order;
  std::optional<callback> older;
  std::optional<callback> newer;
  older.emplace(source.get_token(), [&] { order += "older "; });
  const inplace_stop_callback middle(source.get_token(), [&] {
    newer.reset();
    older.reset();
    order += "middle ";
  });
  newer.emplace(source.get_token(), [&] { order += "newer "; });
  source.request_stop();
  CHECK(order == "newer middle ");
}

TEST_CASE("a callback may be destroyed long after it ran", "[stop_token]") {
  inplace_stop_source source;
  int calls = 0;
  std::optional<callback> registered;
  registered.emplace(source.get_token(), [&] { ++calls; });
  std::thread([&] { source.request_stop(); }).join();
  registered.reset();
  CHECK(calls == 1);
}

TEST_CASE("callables keep their value category", "[stop_token]") {
  struct counts {
    int* plain;
    int* moved;
    void operator()() & { ++*plain; }
    void operator()() && { ++*moved; }
  };
  int plain = 0;
  int moved = 0;
  counts callable{&plain, &moved};
  inplace_stop_source source;
  const inplace_stop_callback<counts> by_value(source.get_token(), callable);
  const inplace_stop_callback<counts&> by_reference(source.get_token(), callable);
  source.request_stop();
  CHECK(moved == 1);
  CHECK(plain == 1);
  const inplace_stop_callback<counts> late_by_value(source.get_token(), callable);
  const inplace_stop_callback<counts&> late_by_reference(source.get_token(), callable);
  CHECK(moved == 2);
  CHECK(plain == 2);
}

TEST_CASE("a move-only callable and the deduction guide work", "[stop_token]") {
  inplace_stop_source source;
  int got = 0;
  auto lambda = [&got, value = std::make_unique<int>(42)] { got = *value; };
  const inplace_stop_callback registered(source.get_token(), std::move(lambda));
  static_assert(
      std::is_same_v<decltype(registered), const inplace_stop_callback<decltype(lambda)>>);
  source.request_stop();
  CHECK(got == 42);
}

TEST_CASE("what happened before the request is seen by who sees the request", "[stop_token]") {
  // Plain data: ThreadSanitizer tells if the order is missing.
  for (int round = 0; round < 200; ++round) {
    inplace_stop_source source;
    int data = 0;
    int seen = 0;
    std::thread reader([&, token = source.get_token()] {
      while (!token.stop_requested())
        std::this_thread::yield();
      seen = data;
    });
    data = round + 1;
    source.request_stop();
    reader.join();
    REQUIRE(seen == round + 1);
  }
}

TEST_CASE("the destructor waits for a callback that runs on another thread", "[stop_token]") {
  for (int round = 0; round < 50; ++round) {
    inplace_stop_source source;
    std::atomic<bool> entered{false};
    std::atomic<bool> destroying{false};
    std::atomic<bool> left{false};
    std::optional<callback> registered;
    registered.emplace(source.get_token(), [&] {
      entered = true;
      while (!destroying)
        std::this_thread::yield();
      // The other thread is in the destructor now or soon; give it the chance to leave too early.
      for (int i = 0; i < 100; ++i)
        std::this_thread::yield();
      left = true;
    });
    std::thread requester([&] { source.request_stop(); });
    while (!entered)
      std::this_thread::yield();
    destroying = true;
    registered.reset();
    const bool waited = left;
    requester.join();
    REQUIRE(waited);
  }
}

TEST_CASE("deregistration races with the request", "[stop_token]") {
  // The captured memory goes right after the callback: a call that comes too late touches freed
  // memory and makes `late` true.
  constexpr int rounds = 10000;
  rendezvous both;
  std::optional<inplace_stop_source> source;
  std::atomic<bool> late{false};
  int called = 0;
  int wrong = 0;
  std::thread requester([&] {
    for (int i = 0; i < rounds; ++i) {
      both.meet();
      source->request_stop();
      both.meet();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    source.emplace();
    std::atomic<int> calls{0};
    std::atomic<bool> gone{false};
    auto data = std::make_unique<int>(0);
    {
      std::optional<callback> first;
      std::optional<callback> second;
      const auto touch = [&calls, &gone, &late, p = data.get()] {
        if (gone)
          late = true;
        ++*p;
        ++calls;
      };
      first.emplace(source->get_token(), touch);
      second.emplace(source->get_token(), touch);
      both.meet();
      for (int spin = 0; spin < i % 50; ++spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      // Both ends of the list.
      (i % 2 == 0 ? first : second).reset();
      (i % 2 == 0 ? second : first).reset();
    }
    gone = true;
    const int before = calls;
    data.reset();
    both.meet();
    wrong += calls == before && calls <= 2 ? 0 : 1;
    called += calls;
  }
  requester.join();
  CHECK(wrong == 0);
  CHECK_FALSE(late);
  // Not a race if one side always wins.
  if (called == 0 || called == 2 * rounds)
    WARN("the threads never met");
}

TEST_CASE("registration races with the request and no callback is forgotten", "[stop_token]") {
  constexpr int rounds = 10000;
  rendezvous both;
  std::optional<inplace_stop_source> source;
  int wrong = 0;
  std::thread requester([&] {
    for (int i = 0; i < rounds; ++i) {
      both.meet();
      source->request_stop();
      both.meet();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    source.emplace();
    std::array<std::atomic<int>, 3> calls{};
    both.meet();
    for (int spin = 0; spin < i % 50; ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    const inplace_stop_callback a(source->get_token(), [&] { ++calls[0]; });
    const inplace_stop_callback b(source->get_token(), [&] { ++calls[1]; });
    const inplace_stop_callback c(source->get_token(), [&] { ++calls[2]; });
    both.meet();
    // Whether registered in time or called at once: exactly once each.
    for (const auto& n : calls)
      wrong += n == 1 ? 0 : 1;
  }
  requester.join();
  CHECK(wrong == 0);
}

TEST_CASE("callbacks that destroy themselves race with their neighbours", "[stop_token]") {
  constexpr int rounds = 5000;
  rendezvous both;
  std::optional<inplace_stop_source> source;
  int wrong = 0;
  std::thread requester([&] {
    for (int i = 0; i < rounds; ++i) {
      both.meet();
      source->request_stop();
      both.meet();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    source.emplace();
    std::atomic<int> selves{0};
    std::atomic<int> others{0};
    std::array<std::unique_ptr<callback>, 2> self;
    std::optional<callback> other;
    const auto destroy_self = [&](std::size_t n) {
      return [&self, &selves, n] {
        auto& count = selves;
        self[n].reset();
        ++count;
      };
    };
    self[0] = std::make_unique<callback>(source->get_token(), destroy_self(0));
    other.emplace(source->get_token(), [&others] { ++others; });
    self[1] = std::make_unique<callback>(source->get_token(), destroy_self(1));
    both.meet();
    other.reset();
    both.meet();
    wrong += selves == 2 && others <= 1 && !self[0] && !self[1] ? 0 : 1;
  }
  requester.join();
  CHECK(wrong == 0);
}
