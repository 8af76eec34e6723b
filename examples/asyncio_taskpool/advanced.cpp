// SPDX-License-Identifier: MIT
// The advanced example of asyncio-taskpool's usage document, line by line:
//
//     async def work(start: int, stop: int, step: int = 1) -> None:
//         for i in range(start, stop, step):
//             await asyncio.sleep(1)
//             print("work with", i)
//
//     async def other_work(a: int, b: int) -> None:
//         for i in range(a, b):
//             await asyncio.sleep(0.5)
//             print("other_work with", i)
//
//     async def main() -> None:
//         pool = TaskPool(3)
//         print("Called `apply`")
//         await pool.apply(work, kwargs={'start': 100, 'stop': 200, 'step': 10}, num=2)
//         await asyncio.sleep(1.5)
//         args_list = [(0, 10), (10, 20), (20, 30), (30, 40)]
//         print("Calling `starmap`...")
//         await pool.starmap(other_work, args_list, group_size=2)
//         print("`starmap` returned")
//         pool.lock()
//         print("Called `gather`")
//         await pool.gather()
//         print("Done.")
#include <weir/weir.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;

namespace {

void say(std::string_view line) {
  std::cout << std::string(line) + '\n';
}

/// What keyword arguments are in Python.
struct work_range {
  int start = 0;
  int stop = 0;
  int step = 1;
};

weir::task<> work(work_range range) {
  for (int i = range.start; i < range.stop; i += range.step) {
    co_await weir::sleep_for(1s);
    say("work with " + std::to_string(i));
  }
}

weir::task<> other_work(int a, int b) {
  for (int i = a; i < b; ++i) {
    co_await weir::sleep_for(500ms);
    say("other_work with " + std::to_string(i));
  }
}

std::vector<std::tuple<int, int>> args_list() {
  return {{0, 10}, {10, 20}, {20, 30}, {30, 40}};
}

weir::task<> run(weir::runtime& rt) {
  weir::task_pool pool(
      rt, {.pool_size = 3,
           .log = [](weir::log_level, std::string_view, std::string_view line) { say(line); }});
  // Two tasks (ids 0 and 1) run concurrently with the same arguments.
  say("Called `apply`");
  const std::tuple args(work_range{.start = 100, .stop = 200, .step = 10});
  const auto applied = pool.apply(weir::fn<&work>, args, {.num = 2});
  co_await applied.started();
  co_await weir::sleep_for(1500ms); // lets the tasks work for a bit
  // Four more (ids 2 to 5), each with its own arguments, no more than two of them at a time. The
  // pool has room for one: the second one starts when 2 ends, and only then this goes on. The third
  // and fourth start once there is room in the pool and no more than one of the four is running.
  say("Calling `starmap`...");
  const auto mapped = pool.starmap(weir::fn<&other_work>, args_list(), {.group_size = 2});
  co_await mapped.first_batch_started();
  say("`starmap` returned");
  pool.lock(); // so that all tasks can be awaited
  say("Called `gather`");
  (void)co_await pool.gather();
  say("Done.");
}

} // namespace

/// With any argument: on a clock that jumps, in no time.
int main(int argc, char**) {
  const weir::manual_clock quick;
  weir::runtime rt{{.workers = 1, .clock = argc > 1 ? &quick : nullptr}};
  rt.block_on(run(rt));
}
