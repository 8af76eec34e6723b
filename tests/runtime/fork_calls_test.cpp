// SPDX-License-Identifier: MIT
// `fork` and `join`: coroutines that are called when their turn comes.
#include "support/children.hpp"
#include "support/support.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <catch.hpp>

using namespace std::chrono_literals;
using weir::fork;
using weir::join;

namespace {

weir::task<long> fib(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await join(fork(fib, n - 1), fork(fib, n - 2));
  co_return a + b;
}

/// The same with a constant for each child's function.
weir::task<long> constant_fib(int n) {
  if (n < 2)
    co_return n;
  auto [a, b] = co_await join(fork<constant_fib>(n - 1), fork<constant_fib>(n - 2));
  co_return a + b;
}

/// A tree some of whose nodes wait, for a clock, a lock or a turn. \return its leaves.
weir::task<long> restless(unsigned seed, int depth, weir::mutex& lock) {
  std::minstd_rand random(seed * 7919 + 17);
  const auto pause = random() % 24;
  if (pause == 0)
    co_await weir::sleep_for(1us);
  else if (pause == 1)
    co_await weir::yield();
  else if (pause < 8) {
    const auto held = co_await lock.scoped_lock();
  }
  if (depth == 0)
    co_return 1;
  auto [a, b, c] =
      co_await join(fork([=, &lock] { return restless(seed * 3 + 1, depth - 1, lock); }),
                    fork(restless, seed * 3 + 2, depth - 1, std::ref(lock)),
                    fork([=, &lock] { return restless(seed * 3 + 3, depth - 1, lock); }));
  const long again = co_await fork(restless, seed + 1, 0, std::ref(lock));
  co_return a + b + c + again - 1;
}

/// A tree of calls of one type, every seventh leaf of which waits. \return its leaves' texts in
/// order, without those of the five under the node one of whose children throws.
weir::task<std::string> text_of(int first, int size, int throwing_leaf) {
  if (size == 1) {
    if (first % 7 == 0)
      co_await weir::yield();
    if (first == throwing_leaf)
      throw std::out_of_range("this leaf");
    co_return std::string(20, static_cast<char>('a' + first % 26));
  }
  const int part = size / 5;
  const auto child = [=](int i) {
    return fork([=] { return text_of(first + i * part, part, throwing_leaf); });
  };
  try {
    const auto texts = co_await join(child(0), child(1), child(2), child(3), child(4));
    co_return std::apply([](auto&... each) { return (each + ...); }, texts);
  } catch (const std::out_of_range&) {
    co_return std::string();
  }
}

weir::task<std::unique_ptr<int>> sum_of(std::unique_ptr<int> a, std::unique_ptr<int> b) {
  co_return std::make_unique<int>(*a + *b);
}

weir::task<int> chain(int depth) {
  if (depth == 0)
    co_return 0;
  const int below = co_await fork(chain, depth - 1);
  co_return below + 1;
}

weir::task<int> joined_chain(int depth) {
  if (depth == 0)
    co_return 0;
  auto [below, beside] = co_await join(fork(joined_chain, depth - 1), fork(test::number, 1));
  co_return below + beside;
}

/// A function that is no coroutine.
weir::task<int> refuses(int value) {
  if (value < 0)
    throw std::invalid_argument("negative");
  return test::number(value);
}

weir::task<int&> refer(int& to) {
  co_return to;
}

struct counts {
  std::atomic<std::uint64_t> thrown{0};
  std::atomic<std::uint64_t> caught{0};
};

/// A tree that throws at its leaves or instead of them, now or later, and catches one level above.
weir::task<> throwing(unsigned seed, int depth, counts& all) {
  std::minstd_rand random(seed * 7919 + 17);
  if (random() % 8 == 0)
    co_await weir::yield();
  if (depth == 0) {
    if (random() % 3 != 0)
      co_return;
    ++all.thrown;
    throw std::runtime_error("leaf");
  }
  const auto child = [&all, depth](unsigned its_seed) {
    if (its_seed % 7 == 3) {
      ++all.thrown;
      throw std::runtime_error("call");
    }
    return throwing(its_seed, depth - 1, all);
  };
  try {
    co_await join(fork(child, seed * 2 + 1), fork(child, seed * 2 + 2));
  } catch (const std::runtime_error&) {
    ++all.caught;
  }
}

constexpr std::size_t all_worker_counts[] = {1, 2, 3, 16};

} // namespace

TEST_CASE("join gives the results in the order of its forks", "[fork]") {
  weir::runtime rt({.workers = 2});
  int target = 7;
  std::atomic<bool> flag{false};
  const auto parent = [&]() -> weir::task<bool> {
    auto [number, text, nothing, reference] =
        co_await join(fork(test::number, 42), fork(test::text, "hello"),
                      fork(test::set, std::ref(flag)), fork(refer, std::ref(target)));
    static_assert(std::is_same_v<decltype(nothing), std::monostate>);
    co_return number == 42 && text == "hello" && &reference.get() == &target;
  };
  CHECK(rt.block_on(parent()));
  CHECK(flag.load());
}

TEST_CASE("one fork gives its value, whatever that is", "[fork]") {
  weir::runtime rt({.workers = 1});
  int target = 7;
  const auto parent = [&]() -> weir::task<bool> {
    const int number = co_await fork(test::number, 1);
    std::atomic<int> calls{0};
    co_await fork(test::count_after_yields, std::ref(calls), 3);
    int& reference = co_await fork(refer, std::ref(target));
    auto box = co_await fork(sum_of, std::make_unique<int>(2), std::make_unique<int>(3));
    co_return number == 1 && calls == 1 && &reference == &target && *box == 5;
  };
  CHECK(rt.block_on(parent()));
}

TEST_CASE("a recursion of calls gives the right result", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    CHECK(rt.block_on(fib(20)) == 6765);
  }
}

TEST_CASE("what a fork calls may be a constant", "[fork]") {
  struct counter {
    weir::task<int> add(int n) {
      co_await weir::yield();
      co_return value += n;
    }
    int value = 0;
  };
  constexpr auto length = [](std::unique_ptr<std::string> text) -> weir::task<std::size_t> {
    co_return text->size();
  };
  constexpr auto refuse = [](int& calls) -> weir::task<> {
    ++calls;
    throw std::out_of_range("this one");
    co_return;
  };
  // Stateless: there is nothing to keep but the arguments.
  static_assert(sizeof(fork<constant_fib>(1)) == sizeof(int));
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.block_on(constant_fib(20)) == 6765);
    rt.block_on([=]() -> weir::task<> {
      counter all;
      const int alone = co_await fork<&counter::add>(&all, 3);
      auto [size, sum, value] = co_await join(fork<length>(std::make_unique<std::string>("four")),
                                              fork<&counter::add>(std::ref(all), 4), fork<fib>(10));
      CHECK((alone == 3 && size == 4 && sum == 7 && value == 55));
      int calls = 0;
      CHECK_THROWS_AS((co_await join(fork<refuse>(std::ref(calls)), fork<fib>(5))),
                      std::out_of_range);
      CHECK(calls == 1);
    }());
  }
}

TEST_CASE("called children that wait in the midst of a recursion", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    weir::mutex lock;
    for (int round = 0; round < test::rounds(10); ++round)
      CHECK(rt.block_on(restless(static_cast<unsigned>(round), 6, lock)) == 729);
  }
}

TEST_CASE("many calls of one type give their results in order", "[fork]") {
  constexpr int leaves = 625;
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(20); ++round) {
      std::string all;
      const int throwing = round * 31 % leaves;
      for (int i = 0; i < leaves; ++i) {
        if (i / 5 != throwing / 5)
          all += std::string(20, static_cast<char>('a' + i % 26));
      }
      CHECK(rt.block_on(text_of(0, leaves, throwing)) == all);
    }
  }
}

TEST_CASE("a join may be moved before it is awaited, and need not be awaited", "[fork]") {
  weir::runtime rt({.workers = 2});
  auto kept = std::make_shared<int>(5); // not const: so calls are moved, not copied
  const auto parent = [&]() -> weir::task<bool> {
    const auto call = [&] {
      return fork([kept]() -> weir::task<std::string> { return test::text("moved"); });
    };
    {
      auto first = join(call(), call(), call());
      const bool owned = kept.use_count() == 4;
      auto moved = std::move(first);
      const auto [a, b, c] = co_await moved;
      if (!owned || kept.use_count() != 4 || a + b + c != "movedmovedmoved")
        co_return false;
    }
    {
      const auto never = join(call(), call());
      if (kept.use_count() != 3)
        co_return false;
    }
    const auto [a, b] = co_await join(call(), call());
    co_return a + b == "movedmoved" && kept.use_count() == 1;
  };
  CHECK(rt.block_on(parent()));
}

TEST_CASE("chains of calls are longer than the native stack", "[fork]") {
  for (const std::size_t workers : {1U, 2U}) {
    weir::runtime rt({.workers = workers});
    CHECK(rt.block_on(chain(100'000)) == 100'000);
    CHECK(rt.block_on(joined_chain(100'000)) == 100'000);
  }
}

TEST_CASE("what a call throws is its child's exception", "[fork]") {
  weir::runtime rt({.workers = 2});
  for (int round = 0; round < test::rounds(200); ++round) {
    std::atomic<int> calls{0};
    const auto parent = [&]() -> weir::task<> {
      (void)co_await join(fork(test::count, std::ref(calls)), fork(refuses, -1),
                          fork(test::count_after_yields, std::ref(calls), 2));
    };
    CHECK_THROWS_AS(rt.block_on(parent()), std::invalid_argument);
    CHECK(calls.load() == 2);
    const auto alone = [&]() -> weir::task<> { (void)co_await fork(refuses, -1); };
    CHECK_THROWS_AS(rt.block_on(alone()), std::invalid_argument);
  }
}

TEST_CASE("each exception of a recursion of calls is thrown or counted once", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    counts all;
    for (int round = 0; round < test::rounds(20); ++round)
      rt.block_on(throwing(static_cast<unsigned>(round) + 1, 7, all));
    CHECK(all.thrown.load() != 0);
    CHECK(all.thrown.load() == all.caught.load() + rt.stats().suppressed_exceptions);
  }
}

TEST_CASE("calls may give tasks that were made before", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    const auto parent = []() -> weir::task<int> {
      auto early = [made = test::number_after_yields(20, 1)]() mutable { return std::move(made); };
      auto late = [made = test::number(22)]() mutable { return std::move(made); };
      auto [a, b] = co_await join(fork(std::move(early)), fork(std::move(late)));
      co_return a + b;
    };
    CHECK(rt.block_on(parent()) == 42);
  }
}

TEST_CASE("a call that gives an empty task is refused by name", "[fork]") {
  weir::runtime rt({.workers = 2});
  std::atomic<int> calls{0};
  const auto parent = [&calls]() -> weir::task<> {
    const auto none = [] { return weir::task<int>(); };
    (void)co_await join(fork(test::count, std::ref(calls)), fork(none));
  };
  CHECK(test::code_of([&] { rt.block_on(parent()); }) == weir::errc::no_state);
  CHECK(calls.load() == 1);
}

TEST_CASE("results of different kinds in a join that is moved, refused or not awaited", "[fork]") {
  weir::runtime rt({.workers = 2});
  const auto make = [] {
    return join(fork(test::number, 1), fork(test::text, "one"), fork(test::number, 2));
  };
  // Where outcomes will be, what would be taken for one if anybody looked.
  const auto fill_stack = [] {
    std::array<unsigned char, 4096> stack;
    stack.fill(2);
    asm volatile("" : : "r"(stack.data()) : "memory"); // compilers leave it out otherwise
  };
  for (int round = 0; round < 3; ++round) {
    fill_stack();
    {
      auto first = make();
      const auto second = std::move(first);
    }
    fill_stack();
    const auto [a, text, b] = rt.block_on(make());
    CHECK((a == 1 && text == "one" && b == 2));
    const auto refused = [&]() -> weir::task<bool> {
      auto all = make();
      weir::inplace_stop_source source;
      source.request_stop();
      bool cancelled = false;
      try {
        (void)co_await weir::with_stop_token(source.get_token(), std::move(all));
      } catch (const weir::task_cancelled&) {
        cancelled = true;
      }
      co_return cancelled;
    };
    CHECK(rt.block_on(refused()));
  }
}

TEST_CASE("the children of a join have gone when it has been awaited", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    const auto parent = []() -> weir::task<bool> {
      auto held = std::make_shared<int>(1);
      const std::weak_ptr<int> watch = held;
      const auto child = [](std::shared_ptr<int> kept) -> weir::task<int> {
        co_await weir::yield();
        co_return *kept;
      };
      auto both = join(fork(child, std::move(held)), fork(child, std::make_shared<int>(2)));
      const auto [a, b] = co_await both;
      co_return a + b == 3 && watch.expired();
    };
    CHECK(rt.block_on(parent()));
  }
}

TEST_CASE("a join that is awaited a second time is refused by name", "[fork]") {
  weir::runtime rt({.workers = 2});
  std::atomic<int> calls{0};
  const auto parent = [&calls](bool waits) -> weir::task<> {
    const int yields = waits ? 2 : 0;
    auto both = join(fork(test::count_after_yields, std::ref(calls), yields),
                     fork(test::count_after_yields, std::ref(calls), yields));
    (void)co_await both;
    (void)co_await both;
  };
  CHECK(test::code_of([&] { rt.block_on(parent(false)); }) == weir::errc::no_state);
  CHECK(test::code_of([&] { rt.block_on(parent(true)); }) == weir::errc::no_state);
  CHECK(calls.load() == 4);
}

TEST_CASE("lambda coroutines with captures live as long as their child", "[fork]") {
  for (const std::size_t workers : all_worker_counts) {
    weir::runtime rt({.workers = workers});
    const auto parent = [](std::string text) -> weir::task<std::string> {
      const auto slow = [text](int times) -> weir::task<std::string> {
        for (int i = 0; i < times; ++i)
          co_await weir::yield();
        co_return text;
      };
      auto [a, b, c] = co_await join(fork(slow, 3), fork(slow, 0), fork(slow, 5));
      co_return a + b + c;
    };
    CHECK(rt.block_on(parent("a string too long to be kept in place ")).size() == 3 * 38);
  }
}

TEST_CASE("calls that need each other run on two workers", "[fork]") {
  for (const std::size_t workers : {2U, 16U}) {
    weir::runtime rt({.workers = workers});
    for (int round = 0; round < test::rounds(20); ++round) {
      std::atomic<int> arrived{0};
      const auto meets = [&arrived]() -> weir::task<> {
        ++arrived;
        test::eventually([&] { return arrived.load() == 2; });
        co_return;
      };
      const auto both = [&meets]() -> weir::task<> {
        (void)co_await join(fork(std::ref(meets)), fork(std::ref(meets)));
      };
      rt.block_on(both());
      CHECK(arrived.load() == 2);
    }
  }
}

TEST_CASE("a stopped task calls no further children", "[fork]") {
  weir::runtime rt({.workers = 1});
  std::atomic<int> calls{0};
  const auto stopped = [&calls](weir::inplace_stop_token) -> weir::task<> {
    const auto stops_all = [&calls]() -> weir::task<> {
      ++calls;
      co_await test::endless();
    };
    (void)co_await join(fork(stops_all), fork(test::count, std::ref(calls)));
  };
  auto handle = rt.submit(stopped);
  test::eventually([&] { return calls.load() == 2; });
  (void)handle.request_stop();
  CHECK_THROWS_AS(handle.get(), weir::task_cancelled);

  std::atomic<bool> waiting{false};
  const auto before = [&calls, &waiting]() -> weir::task<bool> {
    waiting = true;
    try {
      co_await test::endless();
    } catch (const weir::task_cancelled&) {
    }
    try {
      (void)co_await join(fork(test::count, std::ref(calls)), fork(test::count, std::ref(calls)));
    } catch (const weir::task_cancelled&) {
      co_return true;
    }
    co_return false;
  };
  auto second = rt.spawn(before());
  test::eventually([&] { return waiting.load(); });
  (void)second.request_stop();
  CHECK(second.get());
  CHECK(calls.load() == 2);
}

TEST_CASE("forks and joins are awaitables for the combinators", "[fork]") {
  weir::runtime rt({.workers = 2});
  const auto parent = []() -> weir::task<int> {
    auto [both, third] = co_await weir::when_all(join(fork(test::number, 1), fork(test::number, 2)),
                                                 fork(test::number, 3));
    const auto [a, b] = both;
    const int fourth = co_await weir::with_timeout(fork(test::number, 4), 1h);
    co_return a + b + third + fourth;
  };
  CHECK(rt.block_on(parent()) == 10);
}
