// SPDX-License-Identifier: MIT
// allocate_frame() and deallocate_frame(): frames of all sizes, on one thread and across threads,
// and what is left of the cache when a thread ends.
#include "catch.hpp"

#include <weir/detail/frame_cache.hpp>
#include <weir/detail/thread_state.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

using weir::detail::allocate_frame;
using weir::detail::deallocate_frame;
using weir::detail::frame_cache;

frame_cache& cache() {
  return weir::detail::this_thread().frames;
}

/// Whether frames are kept at all: not under AddressSanitizer, so that a use after free is seen.
bool caching() {
  deallocate_frame(allocate_frame(64), 64);
  return cache().open;
}

bool is_empty(const frame_cache& c) {
  return std::all_of(c.lists.begin(), c.lists.end(),
                     [](const auto& list) { return list.head == nullptr && list.room == 0; });
}

std::uint32_t length(const frame_cache::free_list& list) {
  std::uint32_t n = 0;
  for (auto* node = list.head; node != nullptr; node = node->next)
    ++n;
  return n;
}

/// Frame with a pattern over all its bytes, to see whether anybody else writes to it.
struct frame {
  frame() = default;
  frame(std::size_t wanted, unsigned char mark)
      : size(wanted), fill(mark), memory(allocate_frame(wanted)) {
    std::memset(memory, fill, size);
  }
  [[nodiscard]] bool intact() const {
    const auto* bytes = static_cast<const unsigned char*>(memory);
    return std::all_of(bytes, bytes + size, [this](unsigned char b) { return b == fill; });
  }
  void free() const { deallocate_frame(memory, size); }

  std::size_t size = 0;
  unsigned char fill = 0;
  void* memory = nullptr;
};

// The edges of the size classes, and sizes that are not cached.
constexpr std::array<std::size_t, 27> sizes{0,    1,    24,   25,   56,   57,   88,   89,   120,
                                            184,  185,  216,  248,  249,  312,  440,  504,  505,
                                            1023, 1024, 1025, 2047, 2048, 2049, 4096, 4097, 10000};

/// Hands frames from one thread to another.
class channel {
 public:
  void put(frame f) {
    {
      const std::scoped_lock lock(mutex_);
      frames_.push_back(f);
    }
    filled_.notify_one();
  }
  frame get() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !frames_.empty(); });
    const frame f = frames_.front();
    frames_.pop_front();
    return f;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<frame> frames_;
};

} // namespace

TEST_CASE("frames of all sizes are aligned, distinct and theirs alone", "[frame_cache]") {
  // Twice: from the allocator, then from the cache.
  for (int round = 0; round < 2; ++round) {
    std::vector<frame> frames;
    std::set<void*> places;
    for (int copy = 0; copy < 50; ++copy) {
      for (auto size : sizes) {
        frames.emplace_back(size, static_cast<unsigned char>(frames.size()));
        places.insert(frames.back().memory);
      }
    }
    CHECK(places.size() == frames.size());
    std::size_t wrong = 0;
    for (const auto& f : frames) {
      wrong += f.intact() ? 0 : 1;
      wrong += reinterpret_cast<std::uintptr_t>(f.memory) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0
                   ? 0
                   : 1;
      f.free();
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a freed frame is the next one of its size class", "[frame_cache]") {
  if (!caching())
    return;
  std::size_t wrong = 0;
  for (auto size : sizes) {
    if (size > frame_cache::largest)
      continue;
    const frame f(size, 1);
    f.free();
    const frame again(size, 2);
    wrong += again.memory == f.memory ? 0 : 1;
    again.free();
  }
  CHECK(wrong == 0);

  // 57 and 88 share a class, 56 is of another one.
  const frame f(57, 3);
  f.free();
  const frame smaller(56, 4);
  CHECK(smaller.memory != f.memory);
  const frame larger(88, 5);
  CHECK(larger.memory == f.memory);
  smaller.free();
  larger.free();
}

TEST_CASE("frames that are too large are not kept", "[frame_cache]") {
  if (!caching())
    return;
  std::thread([&] { (void)caching(); }).join();
  bool empty = false;
  std::thread([&] {
    const frame f(frame_cache::largest + 1, 1);
    f.free();
    empty = is_empty(cache());
  }).join();
  CHECK(empty);
}

TEST_CASE("a thread keeps few frames and passes the rest on", "[frame_cache]") {
  if (!caching())
    return;
  // Far more than two batches of each class, freed on a thread that allocates none.
  std::vector<frame> frames;
  for (int copy = 0; copy < 500; ++copy) {
    for (std::size_t size : {24U, 504U, 1024U, 4096U})
      frames.emplace_back(size, static_cast<unsigned char>(copy));
  }
  std::uint32_t longest = 0;
  std::size_t wrong = 0;
  std::thread([&] {
    for (const auto& f : frames) {
      wrong += f.intact() ? 0 : 1;
      f.free();
    }
    for (std::size_t i = 0; i < frame_cache::class_count; ++i) {
      const std::uint32_t kept = frame_cache::limit_of(i) - cache().lists[i].room;
      longest = std::max(longest, kept);
      wrong += length(cache().lists[i]) == kept ? 0 : 1;
    }
  }).join();
  CHECK(wrong == 0);
  CHECK(longest > 0);
  CHECK(longest < 64);

  // A new thread, whose cache is empty, gets a whole batch of them.
  std::array<std::uint32_t, 2> counts{};
  std::thread([&] {
    const frame first(24, 1);
    const auto& list = cache().lists[0];
    counts = {frame_cache::limit_of(0) - list.room, length(list)};
    first.free();
  }).join();
  CHECK(counts[0] > 0);
  CHECK(counts[0] == counts[1]);
}

TEST_CASE("random frames keep their contents on one thread", "[frame_cache]") {
  std::mt19937 random(20240304);
  std::vector<frame> held;
  std::size_t wrong = 0;
  for (int step = 0; step < 40'000; ++step) {
    if (held.empty() || (held.size() < 300 && random() % 2 == 0)) {
      held.emplace_back(random() % 4200, static_cast<unsigned char>(random()));
    } else {
      std::swap(held[random() % held.size()], held.back());
      wrong += held.back().intact() ? 0 : 1;
      held.back().free();
      held.pop_back();
    }
  }
  for (const auto& f : held) {
    wrong += f.intact() ? 0 : 1;
    f.free();
  }
  CHECK(wrong == 0);
}

TEST_CASE("frames wander from thread to thread with their contents", "[frame_cache]") {
  // In a ring: each thread frees what its left neighbour allocated.
  constexpr std::size_t threads = 3;
  constexpr int each = 8'000;
  std::array<channel, threads> channels;
  std::atomic<std::size_t> wrong{0};
  std::vector<std::thread> ring;
  for (std::size_t n = 0; n < threads; ++n) {
    ring.emplace_back([&, n] {
      std::mt19937 random(static_cast<unsigned>(n));
      std::size_t bad = 0;
      const auto receive = [&] {
        const frame f = channels[n].get();
        bad += f.intact() ? 0 : 1;
        f.free();
      };
      int received = 0;
      for (int i = 0; i < each; ++i) {
        // Few sizes, so that batches of the same class are traded.
        const std::size_t size = random() % 8 == 0 ? random() % 4200 : (random() % 3 + 1) * 64;
        channels[(n + 1) % threads].put(frame(size, static_cast<unsigned char>(random())));
        if (i >= 200) {
          receive();
          ++received;
        }
      }
      while (received++ < each)
        receive();
      wrong += bad;
    });
  }
  for (auto& t : ring)
    t.join();
  CHECK(wrong == 0);
}

TEST_CASE("the cache is emptied when its thread ends, and stays closed", "[frame_cache]") {
  const bool cached = caching();
  struct report {
    bool full_before = false;
    bool empty_after = false;
    bool closed_after = false;
    bool intact = false;
    bool still_empty = false;
  };
  // Made before the cache is first used, so that it dies after the cache's guard.
  struct late {
    report* to = nullptr;
    ~late() {
      to->empty_after = is_empty(cache());
      to->closed_after = !cache().open;
      const frame f(100, 9);
      to->intact = f.intact();
      f.free();
      to->still_empty = is_empty(cache());
    }
  };
  report seen;
  std::thread([&] {
    thread_local late last;
    last.to = &seen;
    std::vector<frame> frames;
    for (auto size : sizes)
      frames.emplace_back(size, 1);
    for (const auto& f : frames)
      f.free();
    seen.full_before = !is_empty(cache());
  }).join();
  CHECK(seen.full_before == cached);
  CHECK(seen.empty_after);
  CHECK(seen.closed_after);
  CHECK(seen.intact);
  CHECK(seen.still_empty);
}
