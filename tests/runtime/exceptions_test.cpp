// SPDX-License-Identifier: MIT
// Where an exception comes from, which way it goes, that it arrives once, and that it is counted.
#include <weir/weir.hpp>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

namespace {

struct boom : std::runtime_error {
  boom() : std::runtime_error("boom") {}
};

/// Throws when it is copied for the second time: into the parameter of a coroutine.
class bad_copy {
 public:
  explicit bad_copy(const test::gate& door) noexcept : door_(&door) {}
  bad_copy(const bad_copy& other) : door_(other.door_), copies_(other.copies_ + 1) {
    if (copies_ == 2) {
      door_->pass();
      throw boom();
    }
  }
  bad_copy& operator=(const bad_copy&) = delete;

 private:
  const test::gate* door_;
  int copies_ = 0;
};

/// Throws when it is moved to where the result is kept.
class bad_result {
 public:
  bad_result() noexcept {}
  bad_result(bad_result&&) { throw boom(); }
};

weir::task<int> before_suspension(const test::gate& door) {
  door.pass();
  throw boom();
  co_return 0;
}

weir::task<int> after_suspension(const test::gate& door) {
  co_await weir::yield();
  door.pass();
  co_await weir::sleep_for(std::chrono::nanoseconds(1));
  throw boom();
}

weir::task<int> in_child_of_all(const test::gate& door) {
  auto [a, b] = co_await weir::when_all(test::number(1), after_suspension(door));
  co_return a + b;
}

weir::task<int> in_child_of_any(const test::gate& door) {
  const auto first = co_await weir::when_any(before_suspension(door));
  co_return std::get<0>(first.value);
}

weir::task<int> in_child_of_group(const test::gate& door) {
  const auto body = [&door](weir::task_group& group) -> weir::task<int> {
    group.spawn(after_suspension(door));
    co_return 1;
  };
  co_return co_await weir::with_task_group(body);
}

weir::task<int> in_body_of_group(const test::gate& door) {
  const auto body = [&door](weir::task_group& group) -> weir::task<int> {
    group.spawn(test::number(1));
    co_return co_await before_suspension(door);
  };
  co_return co_await weir::with_task_group(body);
}

weir::task<int> in_timed(const test::gate& door) {
  co_return co_await weir::with_timeout(after_suspension(door), std::chrono::hours(1));
}

using any_handle = weir::handle<int>;

struct source {
  const char* name;
  std::uint64_t grouped; // exceptions that a parent gets on the way
  std::function<any_handle(weir::runtime&, const test::gate&)> start;
};

/// A task that hands on how another one ends, whose result is no int.
template <class T>
any_handle passed_on(weir::runtime& rt, weir::handle<T> inner) {
  return rt.submit(
      [](weir::handle<T> owned) -> weir::task<int> {
        (void)co_await owned;
        co_return 1;
      },
      std::move(inner));
}

const std::vector<source>& sources() {
  static const std::vector<source> all{
      {"body of a callable", 0,
       [](weir::runtime& rt, const test::gate& door) {
         return rt.submit([&door]() -> int {
           door.pass();
           throw boom();
         });
       }},
      {"call that makes a coroutine", 0,
       [](weir::runtime& rt, const test::gate& door) {
         return rt.submit([&door]() -> weir::task<int> {
           door.pass();
           throw boom();
         });
       }},
      {"coroutine before a suspension", 0,
       [](weir::runtime& rt, const test::gate& door) {
         return rt.submit(before_suspension, std::ref(door));
       }},
      {"coroutine after a suspension", 0,
       [](weir::runtime& rt, const test::gate& door) { return rt.spawn(after_suspension(door)); }},
      {"copy of an argument", 0,
       [](weir::runtime& rt, const test::gate& door) {
         return rt.submit([](bad_copy) -> weir::task<int> { co_return 1; }, bad_copy(door));
       }},
      {"child of when_all", 1,
       [](weir::runtime& rt, const test::gate& door) { return rt.spawn(in_child_of_all(door)); }},
      {"child of when_any", 1,
       [](weir::runtime& rt, const test::gate& door) { return rt.spawn(in_child_of_any(door)); }},
      {"child of a task group", 1,
       [](weir::runtime& rt, const test::gate& door) { return rt.spawn(in_child_of_group(door)); }},
      {"body of a task group", 1,
       [](weir::runtime& rt, const test::gate& door) { return rt.spawn(in_body_of_group(door)); }},
  };
  return all;
}

struct counts {
  std::uint64_t awaited = 0;
  std::uint64_t grouped = 0;
  std::uint64_t unhandled = 0;
  std::uint64_t suppressed = 0;
  friend bool operator==(const counts&, const counts&) = default;
};

counts counts_of(const weir::runtime& rt) {
  const auto s = rt.stats();
  return {s.awaited_exceptions, s.grouped_exceptions, s.unhandled_exceptions,
          s.suppressed_exceptions};
}

/// A runtime whose handler counts what it gets.
struct fixture {
  explicit fixture(std::size_t workers)
      : rt({.workers = workers, .on_unhandled_exception = [this](const std::exception_ptr& error) {
              try {
                std::rethrow_exception(error);
              } catch (const boom&) {
                ++handled;
              } catch (...) {
                handled += 1'000'000;
              }
            }}) {}
  std::atomic<std::uint64_t> handled{0};
  weir::runtime rt;
};

bool throws_boom(any_handle& handle) {
  try {
    (void)handle.get();
  } catch (const boom&) {
    return true;
  }
  return false;
}

/// Catches `boom` where it awaits.
weir::task<int> catches(any_handle handle) {
  int caught = 0;
  try {
    (void)co_await handle;
  } catch (const boom&) {
    ++caught;
  }
  co_return caught;
}

weir::task<int> catches_from_all(any_handle handle) {
  int caught = 0;
  try {
    (void)co_await weir::when_all(std::move(handle), test::number(1));
  } catch (const boom&) {
    ++caught;
  }
  co_return caught;
}

} // namespace

TEST_CASE("each exception of each source arrives once, whichever way it is taken", "[errors]") {
  for (const auto workers : test::worker_counts) {
    for (const auto& from : sources()) {
      INFO(from.name << " on " << workers);
      {
        fixture f(workers);
        test::gate door;
        auto handle = from.start(f.rt, door);
        door.open();
        CHECK(throws_boom(handle));
        CHECK_FALSE(handle.valid());
        f.rt.drain();
        CHECK(counts_of(f.rt) == counts{.awaited = 1, .grouped = from.grouped});
        CHECK(f.handled == 0);
      }
      {
        fixture f(workers);
        test::gate door;
        auto parent = f.rt.spawn(catches(from.start(f.rt, door)));
        door.open();
        CHECK(parent.get() == 1);
        f.rt.drain();
        CHECK(counts_of(f.rt) == counts{.awaited = 1, .grouped = from.grouped});
        CHECK(f.handled == 0);
      }
      {
        fixture f(workers);
        test::gate door;
        auto parent = f.rt.spawn(catches_from_all(from.start(f.rt, door)));
        door.open();
        CHECK(parent.get() == 1);
        f.rt.drain();
        // The task's own, and that of the child that awaited it.
        CHECK(counts_of(f.rt) == counts{.awaited = 1, .grouped = from.grouped + 1});
        CHECK(f.handled == 0);
      }
      {
        fixture f(workers);
        test::gate door;
        {
          const auto dropped_before = from.start(f.rt, door);
        }
        door.open();
        f.rt.drain();
        CHECK(counts_of(f.rt) == counts{.grouped = from.grouped, .unhandled = 1});
        CHECK(f.handled == 1);
      }
      {
        fixture f(workers);
        test::gate door;
        {
          auto dropped_after = from.start(f.rt, door);
          door.open();
          dropped_after.wait();
          CHECK(f.handled == 0);
        }
        CHECK(f.handled == 1);
        f.rt.drain();
        CHECK(counts_of(f.rt) == counts{.grouped = from.grouped, .unhandled = 1});
      }
    }
  }
}

TEST_CASE("a result that cannot be moved is an exception of its task", "[errors]") {
  fixture f(2);
  CHECK_THROWS_AS(f.rt.submit([] { return bad_result(); }).get(), boom);
  {
    const auto dropped = f.rt.submit([] { return bad_result(); });
  }
  CHECK_THROWS_AS(passed_on(f.rt, f.rt.submit([] { return bad_result(); })).get(), boom);
  f.rt.drain();
  // The last one was awaited twice, by another task and here.
  CHECK(counts_of(f.rt) == counts{.awaited = 3, .unhandled = 1});
  CHECK(f.handled == 1);
}

TEST_CASE("an exception that goes up through coroutines is one until a task ends by it",
          "[errors]") {
  fixture f(2);
  test::gate door;
  door.open();
  struct levels {
    static weir::task<int> up(const test::gate& open, int depth) {
      if (depth == 0)
        co_return co_await after_suspension(open);
      co_return co_await up(open, depth - 1);
    }
  };
  auto handle = f.rt.spawn(levels::up(door, 20));
  CHECK(throws_boom(handle));
  f.rt.drain();
  CHECK(counts_of(f.rt) == counts{.awaited = 1});
}

TEST_CASE("the exception of a task under a time limit is its waiter's", "[errors]") {
  fixture f(2);
  test::gate door;
  door.open();
  auto handle = f.rt.spawn(in_timed(door));
  CHECK(throws_boom(handle));
  f.rt.drain();
  const auto seen = counts_of(f.rt);
  CHECK(seen.awaited == 1);
  CHECK(seen.unhandled == 0);
  CHECK(seen.suppressed == 0);
}

TEST_CASE("exceptions of posted callables and of the hooks go to the handler", "[errors]") {
  for (const auto workers : test::worker_counts) {
    std::atomic<std::uint64_t> handled{0};
    weir::runtime_options options;
    options.workers = workers;
    options.on_worker_start = [](std::size_t) { throw boom(); };
    options.on_worker_stop = [](std::size_t) { throw boom(); };
    options.on_unhandled_exception = [&](const std::exception_ptr&) { ++handled; };
    {
      weir::runtime rt(options);
      rt.post([] { throw boom(); });
      rt.post([large = std::array<char, 200>()] {
        if (large[0] == 0)
          throw boom();
      });
      std::vector<std::function<void()>> bulk(3, [] { throw boom(); });
      rt.post_bulk(bulk);
      rt.submit([&rt] { rt.post([] { throw boom(); }); }).get();
      rt.drain();
      const auto seen = counts_of(rt);
      CHECK(seen.awaited + seen.grouped + seen.suppressed == 0);
      CHECK(seen.unhandled >= 6 + workers);
      CHECK(seen.unhandled <= 6 + 2 * workers);
    }
    CHECK(handled == 6 + 2 * workers);
  }
}

TEST_CASE("of the children that fail one is heard, the others are counted", "[errors]") {
  for (const auto workers : test::worker_counts) {
    fixture f(workers);
    test::gate door;
    door.open();
    const auto all = [](const test::gate& open) -> weir::task<int> {
      int caught = 0;
      try {
        (void)co_await weir::when_all(after_suspension(open), before_suspension(open),
                                      test::number(1), after_suspension(open));
      } catch (const boom&) {
        ++caught;
      }
      std::vector<weir::task<int>> many;
      for (int i = 0; i < 10; ++i)
        many.push_back(after_suspension(open));
      try {
        (void)co_await weir::when_all(std::move(many));
      } catch (const boom&) {
        ++caught;
      }
      const auto body = [&open](weir::task_group& group) -> weir::task<> {
        for (int i = 0; i < 5; ++i)
          group.spawn(after_suspension(open));
        co_return;
      };
      try {
        co_await weir::with_task_group(weir::keep_going, body);
      } catch (const boom&) {
        ++caught;
      }
      co_return caught;
    };
    CHECK(f.rt.block_on(all(door)) == 3);
    f.rt.drain();
    CHECK(counts_of(f.rt) == counts{.grouped = 3, .suppressed = 2 + 9 + 4});
    CHECK(f.handled == 0);
  }
}

TEST_CASE("cancellation is no exception to count", "[errors]") {
  fixture f(1);
  test::gate door;
  auto blocker = f.rt.submit([&] { door.pass(); });
  auto queued = f.rt.submit([] {});
  CHECK(queued.request_stop());
  {
    auto dropped = f.rt.submit([] {});
    (void)dropped.request_stop();
  }
  door.open();
  CHECK_THROWS_AS(queued.get(), weir::task_cancelled);
  f.rt.post([] { throw weir::task_cancelled(); });
  std::atomic<int> stopped{0};
  auto waits = f.rt.spawn(test::forever(stopped, weir::stop_cause::shutdown));
  {
    const auto dropped = f.rt.spawn(test::forever(stopped, weir::stop_cause::shutdown));
  }
  f.rt.submit([] {}).get();
  f.rt.stop();
  CHECK_THROWS_AS(waits.get(), weir::task_cancelled);
  CHECK(counts_of(f.rt) == counts{});
  CHECK(f.handled == 0);
}

TEST_CASE("a handle that is dropped while its task fails: the exception arrives once",
          "[errors][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    fixture f(workers);
    const int rounds = test::rounds(3000);
    int caught = 0;
    for (int i = 0; i < rounds; ++i) {
      auto handle = i % 2 == 0 ? f.rt.submit([]() -> int { throw boom(); })
                               : f.rt.spawn(test::fails_after_yields("other", 1));
      for (int spin = 0; spin < (i * 13) % 300; ++spin)
        weir::detail::sync::relax();
      if (i % 2 == 0 && i % 5 != 0)
        continue; // dropped here
      try {
        (void)handle.get();
      } catch (const std::runtime_error&) {
        ++caught;
      }
    }
    f.rt.drain();
    const auto seen = counts_of(f.rt);
    CHECK(seen.awaited == static_cast<std::uint64_t>(caught));
    CHECK(seen.awaited + seen.unhandled == static_cast<std::uint64_t>(rounds));
    CHECK(seen.unhandled == f.handled);
    CHECK(seen.grouped + seen.suppressed == 0);
  }
}

TEST_CASE("under load the figures add up to what was thrown", "[errors][stress]") {
  for (const std::size_t workers : {1U, 2U, 3U, 16U}) {
    fixture f(workers);
    std::atomic<std::uint64_t> thrown{0};
    std::atomic<std::uint64_t> caught{0};
    const auto fails = [](std::atomic<std::uint64_t>& count, int yields) -> weir::task<int> {
      for (int i = 0; i < yields; ++i)
        co_await weir::yield();
      ++count;
      throw boom();
    };
    const auto group_of = [&](int number) -> weir::task<> {
      try {
        std::vector<weir::task<int>> many;
        for (int i = 0; i < number; ++i)
          many.push_back(fails(thrown, i % 3));
        (void)co_await weir::when_all(std::move(many));
      } catch (const boom&) {
        ++caught;
      }
    };
    std::vector<any_handle> kept;
    std::vector<weir::handle<void>> parents;
    for (int i = 0; i < test::rounds(1000); ++i) {
      switch (i % 4) {
      case 0:
        f.rt.post([&thrown] {
          ++thrown;
          throw boom();
        });
        break;
      case 1:
        kept.push_back(f.rt.spawn(fails(thrown, i % 5)));
        break;
      case 2: {
        const auto dropped = f.rt.spawn(fails(thrown, i % 5));
        break;
      }
      default:
        parents.push_back(f.rt.spawn(group_of(1 + i % 7)));
      }
    }
    for (auto& handle : kept)
      caught += throws_boom(handle) ? 1 : 0;
    for (auto& parent : parents)
      parent.get();
    f.rt.drain();
    const auto seen = counts_of(f.rt);
    CHECK(seen.awaited == kept.size());
    CHECK(seen.grouped == parents.size());
    CHECK(seen.unhandled == f.handled);
    CHECK(seen.awaited + seen.grouped == caught);
    CHECK(seen.awaited + seen.grouped + seen.unhandled + seen.suppressed == thrown);
  }
}
