// SPDX-License-Identifier: MIT
// injector: what goes in comes out once and in each producer's order, the counters by which workers
// decide to sleep (I1-I3), and whom a producer belongs to when threads and injectors end.
#include "catch.hpp"
#include "injector.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace {

/// One packet, as a worker without a batch would take it.
bool take_one(weir::detail::injector& from, weir::detail::packet& out) {
  auto token = from.consumer();
  return from.take(token, &out, 1) == 1;
}

using weir::detail::injector;
using weir::detail::packet;
using weir::detail::packet_source;
using weir::detail::this_thread;

/// Calls `f` when the packet is run.
template <class F>
packet packet_of(F f) {
  return packet(std::in_place, std::move(f));
}

void run(packet& p) {
  p.run(p, this_thread());
}

bool push_empty(injector& queue, injector::producer& from) {
  auto p = packet_of([] {});
  return queue.push(from, p);
}

/// The producer that a new thread gets.
injector::producer* of_new_thread(injector& queue) {
  injector::producer* got = nullptr;
  std::thread([&] { got = &queue.of_thread(this_thread()); }).join();
  return got;
}

} // namespace

TEST_CASE("an injector starts empty", "[injector]") {
  injector queue;
  CHECK(queue.published() == 0);
  CHECK(queue.accepted() == 0);
  packet out;
  CHECK_FALSE(take_one(queue, out));
  auto consumer = queue.consumer();
  CHECK(queue.take(consumer, &out, 1) == 0);
}

TEST_CASE("packets are counted when they are in the queue", "[injector]") {
  injector queue;
  auto& producer = queue.add_producer();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 1; i <= 5; ++i) {
    auto p = packet_of([&sum, i] { sum += i; });
    REQUIRE(queue.push(producer, p));
    CHECK(queue.published() == i);
  }
  CHECK(producer.published == 5);
  CHECK(queue.accepted() == 0); // the scheduler's to count
  producer.accepted.store(7);
  CHECK(queue.accepted() == 7);

  packet out;
  while (take_one(queue, out))
    run(out);
  CHECK(sum == 15);
  CHECK(queue.published() == 5); // never goes back
}

TEST_CASE("many packets enter at once, in the order of their source", "[injector]") {
  class numbers final : public packet_source {
   public:
    explicit numbers(std::vector<std::size_t>& out) : out_(&out) {}
    packet next() noexcept override {
      return packet_of([out = out_, i = i_++] { out->push_back(i); });
    }

   private:
    std::vector<std::size_t>* out_;
    std::size_t i_ = 0;
  };
  constexpr std::size_t count = 1000; // several of the queue's blocks
  std::vector<std::size_t> got;
  got.reserve(count);
  numbers source(got);
  injector queue;
  auto& producer = queue.add_producer();
  REQUIRE(queue.push(producer, source, count));
  CHECK(queue.published() == count);

  auto consumer = queue.consumer();
  std::array<packet, 32> out;
  while (const std::size_t n = queue.take(consumer, out.data(), out.size())) {
    for (std::size_t i = 0; i < n; ++i)
      run(out[i]);
  }
  REQUIRE(got.size() == count);
  for (std::size_t i = 0; i < count; ++i)
    REQUIRE(got[i] == i);
}

TEST_CASE("all packets that are counted as published can be taken", "[injector]") {
  // I1, with one consumer, so that "taken" is known exactly.
  constexpr std::uint64_t each = 15'000;
  constexpr std::uint64_t all = 2 * each;
  injector queue;
  std::vector<std::thread> producers;
  for (int n = 0; n < 2; ++n) {
    producers.emplace_back([&] {
      auto& producer = queue.of_thread(this_thread());
      for (std::uint64_t i = 0; i < each; ++i) {
        if (!push_empty(queue, producer))
          break;
      }
    });
  }
  std::uint64_t taken = 0;
  std::uint64_t before = 0;
  std::uint64_t missed = 0;
  bool shrank = false;
  packet out;
  while (taken < all) {
    const auto published = queue.published();
    shrank = shrank || published < before;
    before = published;
    while (taken < published) {
      if (!take_one(queue, out)) {
        ++missed;
        break;
      }
      run(out);
      ++taken;
    }
    if (missed > 1000)
      break; // packets are lost: do not wait for them
    std::this_thread::yield();
  }
  for (auto& t : producers)
    t.join();
  CHECK(missed == 0);
  CHECK_FALSE(shrank);
  CHECK(taken == all);
  CHECK(queue.published() == all);
  CHECK_FALSE(take_one(queue, out));
}

TEST_CASE("each packet is taken once, in the order of its producer", "[injector]") {
  constexpr std::size_t producer_count = 2;
  constexpr std::size_t consumer_count = 2;
  constexpr std::size_t each = 15'000;
  struct seen_by_one {
    // The last number of each producer.
    std::array<std::size_t, producer_count> last{};
    std::size_t out_of_order = 0;
  };
  injector queue;
  std::array<std::vector<std::atomic<int>>, producer_count> counts;
  for (auto& c : counts)
    c = std::vector<std::atomic<int>>(each);
  std::array<seen_by_one, consumer_count> seen;
  // I2: counted after the packets are at hand.
  std::atomic<std::uint64_t> taken{0};
  std::atomic<bool> over{false};
  thread_local seen_by_one* mine = nullptr;

  std::vector<std::thread> consumers;
  for (std::size_t c = 0; c < consumer_count; ++c) {
    consumers.emplace_back([&, c] {
      mine = &seen[c];
      auto token = queue.consumer();
      std::array<packet, 32> out;
      for (;;) {
        const std::size_t n = queue.take(token, out.data(), out.size());
        taken.fetch_add(n);
        for (std::size_t i = 0; i < n; ++i)
          run(out[i]);
        if (n != 0)
          continue;
        // I3: a consumer that sees no work after all is published may leave. Taken is read first.
        const bool last = over;
        const auto had = taken.load();
        if (queue.published() <= had && last)
          break;
        std::this_thread::yield();
      }
    });
  }
  std::vector<std::thread> producers;
  for (std::size_t n = 0; n < producer_count; ++n) {
    producers.emplace_back([&, n] {
      auto& producer = queue.of_thread(this_thread());
      for (std::size_t i = 0; i < each; ++i) {
        auto p = packet_of([&counts, n, i] {
          counts[n][i].fetch_add(1, std::memory_order_relaxed);
          mine->out_of_order += i + 1 > mine->last[n] ? 0 : 1;
          mine->last[n] = i + 1;
        });
        while (!queue.push(producer, p))
          std::this_thread::yield();
      }
    });
  }
  for (auto& t : producers)
    t.join();
  over = true;
  for (auto& t : consumers)
    t.join();

  CHECK(queue.published() == producer_count * each);
  CHECK(taken == producer_count * each);
  for (const auto& s : seen)
    CHECK(s.out_of_order == 0);
  for (const auto& c : counts)
    CHECK(std::all_of(c.begin(), c.end(), [](const auto& n) { return n == 1; }));
}

TEST_CASE("a thread has one producer for each injector", "[injector]") {
  injector first;
  injector second;
  auto& a = first.of_thread(this_thread());
  auto& b = second.of_thread(this_thread());
  CHECK(&a != &b);
  CHECK(&first.of_thread(this_thread()) == &a);
  CHECK(&second.of_thread(this_thread()) == &b);
  CHECK(of_new_thread(first) != &a);
  REQUIRE(push_empty(first, a));
  CHECK(first.published() == 1);
  CHECK(second.published() == 0);
}

TEST_CASE("a producer is given back when its thread ends, and used again", "[injector]") {
  injector queue;
  auto* const first = of_new_thread(queue);
  for (int i = 0; i < 20; ++i) {
    injector::producer* got = nullptr;
    bool pushed = false;
    std::thread([&] {
      got = &queue.of_thread(this_thread());
      pushed = push_empty(queue, *got);
    }).join();
    REQUIRE(got == first);
    REQUIRE(pushed);
  }
  CHECK(queue.published() == 20); // the count goes on with the producer
  CHECK(&queue.add_producer() == first);
  CHECK(of_new_thread(queue) != first);
  packet out;
  int taken = 0;
  while (take_one(queue, out)) {
    run(out);
    ++taken;
  }
  CHECK(taken == 20);
}

TEST_CASE("threads that live at the same time do not share a producer", "[injector]") {
  injector queue;
  std::array<injector::producer*, 3> got{};
  std::atomic<std::size_t> arrived{0};
  std::vector<std::thread> threads;
  for (auto& g : got) {
    threads.emplace_back([&] {
      g = &queue.of_thread(this_thread());
      ++arrived;
      while (arrived < got.size())
        std::this_thread::yield();
    });
  }
  for (auto& t : threads)
    t.join();
  std::sort(got.begin(), got.end());
  CHECK(std::unique(got.begin(), got.end()) == got.end());
}

TEST_CASE("a thread may use more injectors than it keeps producers of", "[injector]") {
  // A table of eight: the ninth injector takes the place of the first.
  constexpr std::size_t count = 12;
  std::array<injector, count> queues;
  std::uint64_t wrong = 0;
  std::thread([&] {
    for (int round = 0; round < 3; ++round) {
      for (auto& queue : queues)
        wrong += push_empty(queue, queue.of_thread(this_thread())) ? 0 : 1;
    }
  }).join();
  CHECK(wrong == 0);
  for (auto& queue : queues) {
    CHECK(queue.published() == 3);
    // The one producer was given back and leased again: there is no second one.
    auto* const only = &queue.add_producer();
    CHECK(only->published == 3);
  }
}

TEST_CASE("a lease may outlive its injector", "[injector]") {
  SECTION("the thread ends after the injector") {
    auto queue = std::make_unique<injector>();
    std::atomic<bool> leased{false};
    std::atomic<bool> destroyed{false};
    bool pushed = false;
    std::thread user([&] {
      pushed = push_empty(*queue, queue->of_thread(this_thread()));
      leased = true;
      while (!destroyed)
        std::this_thread::yield();
    });
    while (!leased)
      std::this_thread::yield();
    queue.reset();
    destroyed = true;
    user.join(); // gives back; AddressSanitizer tells if to freed memory
    CHECK(pushed);
  }
  SECTION("another injector at the same address is another one") {
    bool pushed = true;
    std::array<std::uint64_t, 12> published{};
    std::thread([&] {
      std::optional<injector> queue;
      for (auto& count : published) {
        queue.emplace();
        for (int i = 0; i < 3; ++i)
          pushed = push_empty(*queue, queue->of_thread(this_thread())) && pushed;
        count = queue->published();
      }
    }).join();
    CHECK(pushed);
    for (auto count : published)
      CHECK(count == 3);
  }
  SECTION("threads end while the injector is destroyed") {
    for (int round = 0; round < 200; ++round) {
      auto queue = std::make_unique<injector>();
      std::atomic<int> leased{0};
      std::vector<std::thread> users;
      for (int i = 0; i < 2; ++i) {
        users.emplace_back([&] {
          (void)queue->of_thread(this_thread());
          ++leased;
        });
      }
      while (leased < 2)
        std::this_thread::yield();
      queue.reset();
      for (auto& t : users)
        t.join();
    }
    SUCCEED("the sanitizers look for what is wrong here");
  }
}

TEST_CASE("a thread may push while its thread-local objects die", "[injector]") {
  injector queue;
  struct late {
    injector* to = nullptr;
    bool* worked = nullptr;
    ~late() {
      auto& producer = to->of_thread(this_thread());
      *worked = push_empty(*to, producer) && &to->of_thread(this_thread()) == &producer;
    }
  };
  bool worked = false;
  std::thread([&] {
    thread_local late last; // made before the leases, so that it dies after them
    last.to = &queue;
    last.worked = &worked;
    (void)push_empty(queue, queue.of_thread(this_thread()));
  }).join();
  CHECK(worked);
  CHECK(queue.published() == 2);
  packet out;
  CHECK(take_one(queue, out));
  CHECK(take_one(queue, out));
  CHECK_FALSE(take_one(queue, out));
}

TEST_CASE("what is left in an injector is destroyed unrun", "[injector]") {
  bool ran = false;
  auto alive = std::make_shared<int>(0);
  {
    injector queue;
    auto& producer = queue.of_thread(this_thread());
    for (int i = 0; i < 100; ++i) {
      auto p = packet_of([alive, &ran] { ran = true; });
      REQUIRE(queue.push(producer, p));
    }
    CHECK(alive.use_count() == 101);
    packet out;
    REQUIRE(take_one(queue, out));
    out.drop();
    CHECK(alive.use_count() == 100);
  }
  CHECK(alive.use_count() == 1);
  CHECK_FALSE(ran);
}
