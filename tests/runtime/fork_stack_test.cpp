// SPDX-License-Identifier: MIT
// The stack of forks itself: what is public, who takes what, when the hints call for a slow path.
#include <weir/context.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/detail/task_scope.hpp>
#include <weir/runtime.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using weir::detail::fork_end;
using weir::detail::fork_slot;
using weir::detail::fork_stack;
using weir::detail::fork_start;
using weir::detail::stolen_fork;

namespace {

/// A stack that nobody but the test knows of. The runtime has one worker, so that a publication
/// makes public only what is there.
class stack_of_this_thread {
 public:
  stack_of_this_thread() : rt_(test::with_workers(1)), stack_(rt_.scheduler()) {
    stack_.attach(weir::detail::this_thread());
  }
  ~stack_of_this_thread() { stack_.detach(); }

  fork_stack* operator->() noexcept { return &stack_; }
  fork_stack& operator*() noexcept { return stack_; }

  /// \return whether it took the slow way.
  bool push(std::size_t number) {
    if (stack_.push(&count, &calls_[number]))
      return false;
    slow_ends_ += stack_.push_slow(&count, &calls_[number]) != fork_start::forked;
    return true;
  }
  /// \return what became of it; nothing if it took the fast way.
  std::optional<fork_end> pop() {
    if (stack_.pop())
      return std::nullopt;
    return stack_.pop_slow();
  }
  /// The number of the fork that a thief gets; -1: none.
  int steal(stolen_fork* kept = nullptr) {
    stolen_fork taken;
    if (!stack_.steal(taken))
      return -1;
    if (kept != nullptr)
      *kept = taken;
    return static_cast<int>(static_cast<std::atomic<int>*>(taken.data) - calls_.data());
  }
  /// As a thief on another thread would.
  void execute(const stolen_fork& taken) {
    std::thread([&] { taken.execute(weir::detail::this_thread(), thief_); }).join();
  }
  int calls(std::size_t number) const { return calls_[number]; }
  int refused() const { return slow_ends_; }
  /// Whom thieves name: a stack with nothing in it.
  fork_stack& thief() noexcept { return thief_; }

 private:
  static void count(void* data, weir::detail::thread_state&) noexcept {
    ++*static_cast<std::atomic<int>*>(data);
  }

  weir::runtime rt_;
  std::array<std::atomic<int>, fork_stack::capacity + 1> calls_{};
  int slow_ends_ = 0;
  fork_stack stack_;
  fork_stack thief_{rt_.scheduler()};
};

constinit weir::context_key<int> key;

} // namespace

TEST_CASE("a thread without forks refuses by name", "[fork_stack]") {
  fork_stack& none = *weir::detail::this_forks;
  CHECK(none.home() == nullptr);
  CHECK(none.hungry());
  int data = 0;
  CHECK_FALSE(none.push([](void*, weir::detail::thread_state&) noexcept {}, &data));
  CHECK(test::code_of([&] { (void)none.push_slow(nullptr, &data); }) == weir::errc::not_on_worker);
  CHECK(test::code_of([] { weir::detail::require_forks(); }) == weir::errc::not_on_worker);
  none.publish_all();
  none.pin_all();
  CHECK(none.top() == nullptr);
}

TEST_CASE("attaching stacks nest", "[fork_stack]") {
  weir::runtime rt{{.workers = 1}};
  auto* const before = weir::detail::this_forks;
  {
    fork_stack outer(rt.scheduler());
    outer.attach(weir::detail::this_thread());
    CHECK(weir::detail::this_forks == &outer);
    fork_stack inner(rt.scheduler());
    inner.attach(weir::detail::this_thread());
    CHECK(weir::detail::this_forks == &inner);
    CHECK(inner.before() == &outer);
    CHECK(weir::detail::is_fork_guest(rt.scheduler()));
    inner.detach();
    CHECK(weir::detail::this_forks == &outer);
    outer.detach();
  }
  CHECK(weir::detail::this_forks == before);
  CHECK_FALSE(weir::detail::is_fork_guest(rt.scheduler()));
}

TEST_CASE("the first fork of a region is published, later ones are not", "[fork_stack]") {
  stack_of_this_thread forks;
  for (int region = 0; region < 3; ++region) {
    CHECK(forks->hungry());
    CHECK_FALSE(forks->has_public());
    CHECK(forks.push(0));
    CHECK(forks->has_public());
    CHECK_FALSE(forks->hungry());
    CHECK_FALSE(forks.push(1));
    CHECK_FALSE(forks.push(2));
    CHECK(forks->published() == static_cast<std::uint64_t>(region + 1));
    // The private ones are simply there, the public one is taken back.
    CHECK(forks.pop() == std::nullopt);
    CHECK(forks.pop() == std::nullopt);
    CHECK(forks->has_public());
    CHECK(forks.pop() == fork_end::untouched);
    CHECK_FALSE(forks->has_public());
  }
  CHECK(forks.steal() == -1);
}

TEST_CASE("thieves take the oldest, one each", "[fork_stack]") {
  stack_of_this_thread forks;
  for (std::size_t i = 0; i < 4; ++i)
    (void)forks.push(i);
  forks->publish_all();
  CHECK(forks->published() == 4);
  std::array<stolen_fork, 4> taken;
  CHECK(forks.steal(&taken[0]) == 0);
  CHECK_FALSE(forks->hungry());
  CHECK(forks.steal(&taken[1]) == 1);
  CHECK(forks.steal(&taken[2]) == 2);
  CHECK(forks.steal(&taken[3]) == 3);
  CHECK(forks->hungry()); // F3
  CHECK(forks.steal() == -1);
  for (auto& fork : taken)
    forks.execute(fork);
  for (std::size_t i = 4; i-- > 0;) {
    CHECK(forks.pop() == fork_end::stolen);
    CHECK(forks.calls(i) == 1);
  }
  CHECK(forks->hungry());
}

TEST_CASE("who takes back a public fork gets half of them, the oldest stay", "[fork_stack]") {
  for (std::size_t stolen = 0; stolen < 3; ++stolen) {
    stack_of_this_thread forks;
    constexpr std::size_t count = 9;
    for (std::size_t i = 0; i < count; ++i)
      (void)forks.push(i);
    forks->publish_all();
    std::vector<stolen_fork> taken(stolen);
    for (std::size_t i = 0; i < stolen; ++i)
      CHECK(forks.steal(&taken[i]) == static_cast<int>(i));
    // Each slow pop halves what is public, each fast one takes a private fork.
    std::size_t top = count;
    std::size_t split = count;
    while (top != stolen) {
      const bool is_private = --top >= split;
      CHECK(forks.pop() == (is_private ? std::nullopt : std::optional(fork_end::untouched)));
      if (!is_private)
        split = stolen + (top - stolen + 1) / 2;
      CHECK(forks->has_public() == (split > stolen));
    }
    for (auto& fork : taken)
      forks.execute(fork);
    for (std::size_t i = stolen; i-- > 0;)
      CHECK(forks.pop() == fork_end::stolen);
    for (std::size_t i = 0; i < count; ++i)
      CHECK(forks.calls(i) == (i < stolen ? 1 : 0));
  }
}

TEST_CASE("after a theft of the last public fork the next fork is published", "[fork_stack]") {
  stack_of_this_thread forks;
  CHECK(forks.push(0));
  CHECK_FALSE(forks.push(1));
  stolen_fork first;
  CHECK(forks.steal(&first) == 0);
  CHECK(forks->hungry());
  CHECK(forks.push(2)); // with the private one
  CHECK(forks->published() == 3);
  stolen_fork second;
  CHECK(forks.steal(&second) == 1);
  CHECK(forks.pop() == fork_end::untouched);
  forks.execute(second);
  forks.execute(first);
  CHECK(forks.pop() == fork_end::stolen);
  CHECK(forks.pop() == fork_end::stolen);
  CHECK((forks.calls(0) == 1 && forks.calls(1) == 1 && forks.calls(2) == 0));
}

TEST_CASE("after a theft of the last public fork the next join publishes older ones",
          "[fork_stack]") {
  stack_of_this_thread forks;
  for (std::size_t i = 0; i < 4; ++i)
    (void)forks.push(i);
  stolen_fork first;
  CHECK(forks.steal(&first) == 0);
  CHECK_FALSE(forks->has_public());
  CHECK(forks.pop() == fork_end::untouched); // 3 itself is run at once
  stolen_fork second;
  CHECK(forks.steal(&second) == 1);
  CHECK(forks.pop() == fork_end::untouched);
  forks.execute(first);
  forks.execute(second);
  CHECK(forks.pop() == fork_end::stolen);
  CHECK(forks.pop() == fork_end::stolen);
}

TEST_CASE("wrong hints cost slow paths and nothing else", "[fork_stack]") {
  stack_of_this_thread forks;
  for (std::size_t i = 0; i < 100; ++i) {
    if (i % 3 == 0)
      forks->poison();
    (void)forks.push(i);
  }
  std::vector<stolen_fork> taken(10);
  for (std::size_t i = 0; i < 10; ++i)
    CHECK(forks.steal(&taken[i]) == static_cast<int>(i));
  for (auto& fork : taken)
    forks.execute(fork);
  for (std::size_t i = 100; i-- > 0;) {
    forks->poison();
    CHECK(forks.pop() == (i < 10 ? fork_end::stolen : fork_end::untouched));
  }
  CHECK(forks.refused() == 0);
}

TEST_CASE("a full stack refuses, and works on", "[fork_stack]") {
  for (const bool published : {false, true}) {
    stack_of_this_thread forks;
    for (std::size_t i = 0; i < fork_stack::capacity; ++i)
      (void)forks.push(i);
    CHECK(forks.refused() == 0);
    if (published)
      forks->publish_all();
    for (int i = 0; i < 3; ++i)
      CHECK(forks.push(fork_stack::capacity));
    CHECK(forks.refused() == 3);
    stolen_fork first;
    CHECK(forks.steal(&first) == 0);
    CHECK(forks.push(fork_stack::capacity));
    CHECK(forks.refused() == 4);
    for (std::size_t i = fork_stack::capacity; i-- > 1;)
      CHECK(forks.pop().value_or(fork_end::untouched) == fork_end::untouched);
    forks.execute(first);
    CHECK(forks.pop() == fork_end::stolen);
    CHECK(forks.calls(0) == 1);
  }
}

TEST_CASE("a stack without slots forks nothing", "[fork_stack]") {
  weir::runtime rt{{.workers = 1}};
  fork_stack forks(rt.scheduler(), fork_stack::without_slots{});
  forks.attach(weir::detail::this_thread());
  const auto run = [](void*, weir::detail::thread_state&) noexcept {};
  CHECK_FALSE(forks.push(run, nullptr));
  CHECK(forks.push_slow(run, nullptr) == fork_start::full);
  forks.publish_all();
  forks.pin_all();
  CHECK_FALSE(forks.has_public());
  forks.detach();
}

TEST_CASE("whoever joins a stolen fork waits for the thief", "[fork_stack]") {
  stack_of_this_thread forks;
  for (int round = 0; round < test::rounds(2000); ++round) {
    const int before = forks.calls(0);
    (void)forks.push(0);
    stolen_fork taken;
    REQUIRE(forks.steal(&taken) == 0);
    // So late in some rounds that the owner sleeps.
    std::thread thief;
    std::atomic<bool> go{false};
    if (round % 8 == 0) {
      thief = std::thread([&] {
        test::eventually([&] { return go.load(); });
        test::stagger(round / 8);
        taken.execute(weir::detail::this_thread(), forks.thief());
      });
      go = true;
    } else {
      taken.execute(weir::detail::this_thread(), forks.thief());
    }
    const auto how = forks.pop();
    const int after = forks.calls(0);
    if (thief.joinable())
      thief.join();
    REQUIRE(how == fork_end::stolen);
    REQUIRE(after == before + 1);
  }
}

TEST_CASE("what is pinned is not written again", "[fork_stack]") {
  // A join on top must not make it private, since the next publication would give it the context
  // of that moment.
  stack_of_this_thread forks;
  (void)forks.push(0);
  (void)forks.push(1);
  std::array<stolen_fork, 3> taken;
  std::size_t seen = 0;
  {
    const weir::context_scope here(key, 7);
    CHECK(forks->published() == 2);
    forks->poison();
    CHECK(forks.push(2));
    CHECK(forks.pop() == fork_end::untouched);
    forks->poison();
    CHECK(forks.push(3));
    while (forks.steal(&taken[seen]) >= 0)
      ++seen;
    for (auto& fork : taken)
      forks.execute(fork);
    CHECK(forks.pop() == fork_end::stolen);
  }
  REQUIRE(seen == 3);
  CHECK(taken[0].context == nullptr);
  CHECK(taken[1].context == nullptr);
  CHECK(taken[2].context != nullptr);
  CHECK(forks.pop() == fork_end::stolen);
  CHECK(forks.pop() == fork_end::stolen);
}

TEST_CASE("pins end with their forks", "[fork_stack]") {
  stack_of_this_thread forks;
  for (int region = 0; region < 2; ++region) {
    for (std::size_t i = 0; i < 5; ++i)
      (void)forks.push(i);
    forks->pin_all();
    for (std::size_t i = 5; i-- > 0;)
      CHECK(forks.pop() == fork_end::untouched);
    for (std::size_t i = 0; i < 5; ++i)
      (void)forks.push(i);
    for (std::size_t i = 5; i-- > 1;)
      CHECK(forks.pop() == std::nullopt);
    CHECK(forks.pop() == fork_end::untouched);
  }
}

TEST_CASE("the theft of the last public fork is not missed", "[fork_stack][race]") {
  // F3: whatever the order, once both are through the owner looks around at its next fork.
  stack_of_this_thread forks;
  std::atomic<int> turn{0};
  std::atomic<int> done{0};
  const int rounds = test::rounds(20'000);
  std::vector<stolen_fork> taken(static_cast<std::size_t>(rounds) + 1);
  std::thread thief([&] {
    for (int round = 1; round <= rounds; ++round) {
      test::eventually([&] { return turn.load() >= round || forks->has_public(); });
      test::eventually([&] { return forks.steal(&taken[static_cast<std::size_t>(round)]) == 0; });
      taken[static_cast<std::size_t>(round)].execute(weir::detail::this_thread(), forks.thief());
      done = round;
    }
  });
  int missed = 0;
  int wrong = 0;
  for (int round = 1; round <= rounds; ++round) {
    (void)forks.push(0);
    turn = round;
    test::eventually([&] { return done.load() == round; });
    missed += !forks->hungry();
    wrong += forks.pop() != fork_end::stolen;
  }
  thief.join();
  CHECK(missed == 0);
  CHECK(wrong == 0);
  CHECK(forks.calls(0) == rounds);
}

TEST_CASE("each fork has one taker", "[fork_stack][race]") {
  for (const std::size_t thieves : {1U, 2U, 3U}) {
    stack_of_this_thread forks;
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < thieves; ++i) {
      threads.emplace_back([&] {
        stolen_fork taken;
        while (!over) {
          if (forks->steal(taken))
            taken.execute(weir::detail::this_thread(), forks.thief());
          else
            std::this_thread::yield();
        }
      });
    }
    std::array<int, 40> own{};
    const int rounds = test::rounds(3000);
    std::uint32_t random = 1;
    int done = 0;
    int wrong = 0;
    for (int round = 0; round < rounds; ++round) {
      // Up and down at random.
      std::vector<std::size_t> open;
      int left = 60;
      while (left != 0 || !open.empty()) {
        random = random * 1664525 + 1013904223;
        const bool forks_more = (random >> 16) % 5 < 3;
        if (left != 0 && open.size() < own.size() && (forks_more || open.empty())) {
          --left;
          ++done;
          (void)forks.push(open.size());
          open.push_back(open.size());
          continue;
        }
        const auto how = forks.pop().value_or(fork_end::untouched);
        open.pop_back();
        if (how == fork_end::untouched)
          ++own[open.size()];
        else
          wrong += how != fork_end::stolen;
      }
    }
    over = true;
    for (auto& thread : threads)
      thread.join();
    int sum = 0;
    for (std::size_t i = 0; i < own.size(); ++i)
      sum += own[i] + forks.calls(i);
    CHECK(sum == done);
    CHECK(wrong == 0);
    CHECK(forks.refused() == 0);
  }
}
