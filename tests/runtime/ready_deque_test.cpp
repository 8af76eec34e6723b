// SPDX-License-Identifier: MIT
// ready_deque: against a sequential model, and owner against thieves: each job is handed out once.
#include "catch.hpp"
#include "ready_deque.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using weir::detail::job;
using weir::detail::ready_deque;

constexpr auto capacity = static_cast<std::size_t>(ready_deque::capacity);

/// A job that is only passed around and knows how often it was handed out.
struct counted_job : job {
  std::atomic<int> taken{0};
};

void take(job* handed_out) {
  // Relaxed: counted here, read after the threads were joined.
  static_cast<counted_job*>(handed_out)->taken.fetch_add(1, std::memory_order_relaxed);
}

} // namespace

TEST_CASE("an empty deque hands out nothing", "[ready_deque]") {
  ready_deque deque;
  CHECK(deque.size() == 0);
  CHECK(deque.pop() == nullptr);
  CHECK(deque.steal() == nullptr);
  CHECK(deque.size() == 0);
  job j;
  CHECK(deque.push(j));
  CHECK(deque.pop() == &j);
  CHECK(deque.pop() == nullptr);
  CHECK(deque.steal() == nullptr);
}

TEST_CASE("the owner pops the newest job, thieves steal the oldest", "[ready_deque]") {
  ready_deque deque;
  std::array<job, 4> jobs;
  for (auto& j : jobs)
    CHECK(deque.push(j));
  CHECK(deque.size() == 4);
  CHECK(deque.steal() == &jobs[0]);
  CHECK(deque.pop() == &jobs[3]);
  CHECK(deque.steal() == &jobs[1]);
  CHECK(deque.size() == 1);
  CHECK(deque.pop() == &jobs[2]);
  CHECK(deque.size() == 0);
}

TEST_CASE("a full deque refuses until a job has left at either end", "[ready_deque]") {
  ready_deque deque;
  std::vector<job> jobs(capacity + 2);
  std::size_t refused = 0;
  for (std::size_t i = 0; i < capacity; ++i)
    refused += deque.push(jobs[i]) ? 0 : 1;
  CHECK(refused == 0);
  CHECK(deque.size() == ready_deque::capacity);
  CHECK_FALSE(deque.push(jobs[capacity]));
  CHECK_FALSE(deque.push(jobs[capacity]));
  CHECK(deque.size() == ready_deque::capacity);

  CHECK(deque.steal() == &jobs[0]);
  CHECK(deque.push(jobs[capacity]));
  CHECK_FALSE(deque.push(jobs[capacity + 1]));
  CHECK(deque.pop() == &jobs[capacity]);
  CHECK(deque.push(jobs[capacity + 1]));
  CHECK_FALSE(deque.push(jobs[0]));
  CHECK(deque.steal() == &jobs[1]);
}

TEST_CASE("random operations do as a model does", "[ready_deque]") {
  std::mt19937 random(20240301);
  ready_deque deque;
  std::deque<job*> model;
  std::vector<job> jobs(1000);
  int wrong = 0;
  int refused = 0;
  // Phases that fill and phases that empty, so that the ring wraps at every length.
  for (int phase = 0; phase < 60; ++phase) {
    const auto push_weight = phase % 2 == 0 ? 80U : 20U;
    for (int step = 0; step < 8000; ++step) {
      if (random() % 100 < push_weight) {
        job& j = jobs[random() % jobs.size()];
        const bool fits = model.size() < capacity;
        wrong += deque.push(j) == fits ? 0 : 1;
        if (fits)
          model.push_back(&j);
        else
          ++refused;
      } else if (random() % 2 == 0) {
        job* const expected = model.empty() ? nullptr : model.back();
        wrong += deque.pop() == expected ? 0 : 1;
        if (expected != nullptr)
          model.pop_back();
      } else {
        job* const expected = model.empty() ? nullptr : model.front();
        wrong += deque.steal() == expected ? 0 : 1;
        if (expected != nullptr)
          model.pop_front();
      }
      wrong += deque.size() == static_cast<std::int64_t>(model.size()) ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
  CHECK(refused > 0); // the phases were long enough to fill it
}

TEST_CASE("owner and thieves hand out each job exactly once", "[ready_deque]") {
  constexpr std::size_t count = 60'000;
  for (std::size_t thief_count = 1; thief_count <= 3; ++thief_count) {
    CAPTURE(thief_count);
    ready_deque deque;
    std::vector<counted_job> jobs(count + 1);
    std::atomic<bool> over{false};
    std::atomic<std::size_t> ready{0};
    std::atomic<std::size_t> stolen{0};
    std::vector<std::thread> thieves;
    for (std::size_t i = 0; i < thief_count; ++i) {
      thieves.emplace_back([&] {
        std::size_t mine = 0;
        ++ready;
        // Once more after the end: nothing may be left or handed out twice.
        for (bool last = false; !last;) {
          last = over;
          while (job* j = deque.steal()) {
            take(j);
            ++mine;
          }
          std::this_thread::yield();
        }
        stolen += mine;
      });
    }
    while (ready < thief_count)
      std::this_thread::yield();
    // Short bursts, so that the race for the last job (D3) is what happens most.
    std::mt19937 random(static_cast<unsigned>(thief_count));
    std::size_t next = 0;
    while (next < count) {
      for (auto burst = random() % 4 + 1; burst > 0 && next < count; --burst) {
        if (deque.push(jobs[next]))
          ++next;
        else
          break;
      }
      for (auto burst = random() % 5; burst > 0; --burst) {
        job* const j = deque.pop();
        if (j == nullptr)
          break;
        take(j);
      }
      if (random() % 64 == 0)
        std::this_thread::yield();
    }
    while (job* j = deque.pop())
      take(j);
    // The last one is the thieves', even if none of them ran until now.
    CHECK(deque.push(jobs[count]));
    while (deque.size() != 0)
      std::this_thread::yield();
    over = true;
    for (auto& t : thieves)
      t.join();
    std::size_t wrong = 0;
    for (const auto& j : jobs)
      wrong += j.taken == 1 ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(deque.size() == 0);
    CHECK(stolen > 0);
  }
}

TEST_CASE("jobs arrive with what was written before they were pushed", "[ready_deque]") {
  struct data_job : job {
    std::size_t data = 0; // plain: ThreadSanitizer tells if the order is missing
  };
  constexpr std::size_t count = 20'000;
  ready_deque deque;
  std::vector<data_job> jobs(count);
  std::size_t wrong = 0;
  std::thread thief([&] {
    // One thief and no pops: the oldest first, all of them.
    for (std::size_t i = 0; i < count;) {
      if (job* j = deque.steal()) {
        wrong += static_cast<data_job*>(j)->data == i + 1 ? 0 : 1;
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (std::size_t i = 0; i < count;) {
    jobs[i].data = i + 1;
    if (deque.push(jobs[i]))
      ++i;
    else
      std::this_thread::yield();
  }
  thief.join();
  CHECK(wrong == 0);
}
