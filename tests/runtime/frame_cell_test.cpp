// SPDX-License-Identifier: MIT
// Cells for coroutine frames above the workers' native stacks, and the blocks that both are in.
#include "catch.hpp"
#include "stack_block.hpp"
#include "support/support.hpp"

#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace {

using weir::detail::cell_here;
using weir::detail::frame_cells;
using weir::detail::frame_head;
using weir::detail::stack_block;

constexpr bool there_are_cells = weir::detail::has_cells;

/// A coroutine that has not started, whose frame is looked at from outside.
class unstarted {
 public:
  explicit unstarted(weir::task<int> task) noexcept : promise_(task.release(outcome_)) {}
  unstarted(const unstarted&) = delete;
  unstarted& operator=(const unstarted&) = delete;
  ~unstarted() { destroy(); }
  void destroy() noexcept {
    if (auto* const promise = std::exchange(promise_, nullptr))
      promise->handle().destroy();
  }
  [[nodiscard]] void* frame() const noexcept {
    return promise_ == nullptr ? nullptr : promise_->handle().address();
  }
  [[nodiscard]] bool in_cell() const noexcept {
    return frame_head::of(frame()).place().load() != frame_head::no_cell;
  }

 private:
  weir::detail::result<int> outcome_;
  weir::task<int>::promise_type* promise_;
};

weir::task<int> small(int value) {
  co_return value;
}

using bytes = std::array<std::byte, frame_cells::largest_frame>;

/// Needs all of them, wherever compilers would like to keep them.
[[gnu::noinline]] int first_of(const bytes& all) {
  asm volatile("" ::"r"(&all) : "memory");
  return static_cast<int>(all[0]);
}

weir::task<int> large(bytes all) {
  const int before = first_of(all);
  co_await weir::yield();
  co_return before + first_of(all);
}

/// At the same depth of the native stack each time.
[[gnu::noinline]] weir::task<int> make_small() {
  return small(1);
}

bool has_cells(weir::runtime& rt) {
  return rt.submit([] { return cell_here() != nullptr; }).get();
}

/// The block of that size that the next thread would get.
stack_block& take(std::size_t stack_size) {
  stack_block* const taken = stack_block::take(stack_size);
  REQUIRE(taken != nullptr);
  return *taken;
}

} // namespace

TEST_CASE("threads that are no workers have no cells", "[frame_cell]") {
  CHECK(cell_here() == nullptr);
  const unstarted task(make_small());
  CHECK_FALSE(task.in_cell());
}

TEST_CASE("a cell has one frame at a time, and is used again", "[frame_cell]") {
  weir::runtime rt{{.workers = 1}};
  CHECK(has_cells(rt) == there_are_cells);
  struct {
    std::array<bool, 3> in_cell{};
    bool others = false, again = false, aligned = false;
  } seen;
  rt.submit([&] {
      // At one depth of the native stack: there are two cells for it.
      std::array<std::optional<unstarted>, 3> made;
      for (std::size_t i = 0; i < made.size(); ++i) {
        made[i].emplace(make_small());
        seen.in_cell[i] = made[i]->in_cell();
      }
      const void* const first = made[0]->frame();
      const void* const second = made[1]->frame();
      seen.others = first != second && made[2]->frame() != first && made[2]->frame() != second;
      seen.aligned = reinterpret_cast<std::uintptr_t>(first) % 64 == 0;
      made[0].reset();
      made[0].emplace(make_small());
      made[1].reset();
      made[1].emplace(make_small());
      seen.again = made[0]->frame() == first && made[1]->frame() == second;
    }).get();
  CHECK(seen.in_cell == std::array{there_are_cells, there_are_cells, false});
  CHECK(seen.others);
  if (there_are_cells) {
    CHECK(seen.again);
    CHECK(seen.aligned);
  }
}

TEST_CASE("a frame that is larger than a cell has none", "[frame_cell]") {
  weir::runtime rt{{.workers = 1}};
  CHECK_FALSE(rt.submit([] { return unstarted(large({})).in_cell(); }).get());
}

TEST_CASE("another thread frees a cell", "[frame_cell]") {
  weir::runtime rt{{.workers = 1}};
  struct {
    bool in_cell = false, same = false;
  } seen;
  rt.submit([&] {
      unstarted first(make_small());
      const void* const frame = first.frame();
      std::thread([&] { first.destroy(); }).join();
      const unstarted second(make_small());
      seen.in_cell = second.in_cell();
      seen.same = second.frame() == frame;
    }).get();
  CHECK(seen.in_cell == there_are_cells);
  if (there_are_cells)
    CHECK(seen.same);
}

TEST_CASE("a frame outlives the thread in whose cell it is", "[frame_cell]") {
  constexpr std::size_t size = std::size_t{3} << 20; // of no other test
  const auto cells_of = [](weir::runtime& rt) {
    return rt.submit([] { return weir::detail::this_thread().cells; }).get();
  };
  std::optional<unstarted> kept;
  std::uintptr_t cells = 0;
  {
    weir::runtime rt{{.workers = 1, .stack_size = size}};
    cells = cells_of(rt);
    rt.submit([&] { kept.emplace(make_small()); }).get();
  }
  weir::runtime next{{.workers = 1, .stack_size = size}};
  CHECK(cells_of(next) == cells); // of the same block, if there are any
  CHECK(kept->in_cell() == there_are_cells);
  const auto burst = [](auto& self, int depth) -> bool { // at all depths, with that one's cell
    const unstarted other(make_small());
    return depth == 0 || (other.frame() != nullptr && self(self, depth - 1));
  };
  CHECK(next.submit([&] { return burst(burst, 100); }).get());
  CHECK(kept->in_cell() == there_are_cells);
}

TEST_CASE("frames of all depths keep their bytes while others come and go", "[frame_cell]") {
  using marks = std::array<long, 12>;
  struct tree {
    /// The number of nodes below this one whose bytes were as they should be.
    static weir::task<long> grow(int depth, marks path) {
      const marks before = path;
      if (depth % 3 == 0)
        co_await weir::yield();
      if (depth == 0)
        co_return path == before ? 1 : 0;
      marks left = path;
      marks right = path;
      left.fill(2 * path[0]);
      right.fill(2 * path[0] + 1);
      auto [a, b] = co_await weir::join(weir::fork(grow, depth - 1, left),
                                        weir::fork(grow, depth - 1, right));
      co_return a + b + (path == before ? 1 : 0);
    }
  };
  for (const std::size_t workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    marks root{};
    root.fill(1);
    CHECK(rt.block_on(tree::grow(12, root)) == 8191);
  }
}

TEST_CASE("a stack is as small or as large as it may be", "[frame_cell]") {
  for (const std::size_t size :
       {std::size_t{64} << 10, (std::size_t{1} << 20) + 1, std::size_t{64} << 20}) {
    weir::runtime rt{{.workers = 2, .stack_size = size}};
    CHECK(rt.block_on(small(7)) == 7);
    CHECK(has_cells(rt) == there_are_cells);
  }
  CHECK(test::code_of([] { weir::runtime rt{{.workers = 1, .stack_size = SIZE_MAX - 5000}}; }) ==
        weir::errc::thread_start_failed);
}

TEST_CASE("blocks are used again once their thread has gone", "[frame_cell]") {
  constexpr std::size_t size = std::size_t{5} << 20; // of no other test
  if (!there_are_cells) {
    CHECK(stack_block::take(size) == nullptr);
    return;
  }
  stack_block& first = take(size);
  CHECK(first.stack_size() == size);
  std::memset(first.stack(), 1, size);
  stack_block::give_back(first);
  stack_block& other = take(2 * size);
  CHECK(&other != &first);
  CHECK(other.stack_size() == 2 * size);
  stack_block& again = take(size);
  CHECK(&again == &first);
  CHECK(*static_cast<const char*>(again.stack()) == 0); // what was touched is not kept
  stack_block::give_back(again);
  stack_block::give_back(other);
}

TEST_CASE("a block whose thread was detached is used again when the thread has ended",
          "[frame_cell]") {
  if (!there_are_cells)
    return;
  constexpr std::size_t size = std::size_t{7} << 20; // of no other test
  struct flags {
    std::atomic<bool> runs{false};
    std::atomic<bool> may_end{false};
  } common;
  stack_block& block = take(size);
  block.set_entry(
      [](void* given) -> void* {
        auto& f = *static_cast<flags*>(given);
        f.runs = true;
        while (!f.may_end)
          std::this_thread::yield();
        return nullptr;
      },
      &common);
  stack_block::give_up(block); // its thread has not run yet
  std::vector<stack_block*> others{&take(size)};
  CHECK(others.back() != &block);
  std::thread thread([&] { stack_block::run(&block); });
  while (!common.runs)
    std::this_thread::yield();
  others.push_back(&take(size));
  CHECK(others.back() != &block);
  common.may_end = true;
  thread.join();
  test::eventually([&] { // the system may need a moment to forget the thread
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    others.push_back(&take(size));
    return others.back() == &block;
  });
  for (stack_block* const each : others)
    stack_block::give_back(*each);
}
