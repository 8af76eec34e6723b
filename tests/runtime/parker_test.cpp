// SPDX-License-Identifier: MIT
// parker: an unpark is remembered until the next park, and is never lost or counted twice.
#include "catch.hpp"
#include "parker.hpp"

#include <array>
#include <atomic>
#include <thread>

namespace {

using weir::detail::parker;

} // namespace

TEST_CASE("an unpark before the park is remembered, without sleeping", "[parker]") {
  parker bed;
  for (int i = 0; i < 3; ++i) {
    bed.unpark();
    CHECK_FALSE(bed.park().slept); // would never return if it had been forgotten
  }
}

TEST_CASE("several unparks before a park count as one", "[parker]") {
  parker bed;
  bed.unpark();
  bed.unpark();
  CHECK_FALSE(bed.park().slept);
  std::atomic<bool> returned{false};
  std::thread sleeper([&] {
    bed.park();
    returned = true;
  });
  // The second unpark is used up, so that this thread is the only one that can end the park.
  for (int i = 0; i < 200; ++i)
    std::this_thread::yield();
  const bool early = returned;
  bed.unpark();
  sleeper.join();
  CHECK_FALSE(early);
  CHECK(returned);
}

TEST_CASE("an unpark wakes a sleeper, which sees what was written before", "[parker]") {
  int slept = 0;
  // Until at least one has slept: a loaded machine may never let it come so far in 200 rounds.
  for (int round = 0; round < 200 || slept == 0; ++round) {
    parker bed;
    int data = 0; // plain: ThreadSanitizer tells if the order is missing
    int seen = 0;
    bool in_kernel = false;
    std::thread sleeper([&] {
      in_kernel = bed.park().slept;
      seen = data;
    });
    // Sometimes before, sometimes while the other sleeps.
    for (int i = 0; i < round; ++i)
      std::this_thread::yield();
    data = 42;
    bed.unpark();
    sleeper.join();
    REQUIRE(seen == 42);
    slept += in_kernel ? 1 : 0;
  }
}

TEST_CASE("two threads wake each other in turn", "[parker]") {
  constexpr int rounds = 100'000;
  std::array<parker, 2> beds;
  long ball = 0; // plain: only its holder, who was unparked last, may touch it
  int out_of_turn = 0;
  std::thread other([&] {
    for (int i = 0; i < rounds; ++i) {
      beds[1].park();
      out_of_turn += ball == 2L * i + 1 ? 0 : 1;
      ++ball;
      beds[0].unpark();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    ++ball;
    beds[1].unpark();
    beds[0].park();
    out_of_turn += ball == 2L * (i + 1) ? 0 : 1;
  }
  other.join();
  CHECK(out_of_turn == 0);
  CHECK(ball == 2L * rounds);
}

TEST_CASE("many threads may unpark one that waits for all of them", "[parker]") {
  // As the scheduler does it: somebody claims the sleeper first, so that there is one unpark for
  // each park.
  constexpr int rounds = 5'000;
  parker bed;
  std::atomic<int> claims{0}; // sleeps offered and not yet taken by a waker
  std::atomic<bool> over{false};
  std::atomic<int> woken{0};
  const auto wake_when_claimed = [&] {
    while (!over) {
      int offered = claims;
      if (offered > 0 && claims.compare_exchange_strong(offered, offered - 1)) {
        ++woken;
        bed.unpark();
      } else {
        std::this_thread::yield();
      }
    }
  };
  std::thread a(wake_when_claimed);
  std::thread b(wake_when_claimed);
  int early = 0;
  for (int i = 0; i < rounds; ++i) {
    ++claims;
    bed.park();
    early += woken == i + 1 ? 0 : 1;
  }
  over = true;
  a.join();
  b.join();
  CHECK(early == 0);
}
