// SPDX-License-Identifier: MIT
// The minimal example of asyncio-taskpool's usage document, line by line:
//
//     async def work(n: int) -> None:
//         for i in range(n):
//             await asyncio.sleep(1)
//             print("did", i)
//
//     async def main() -> None:
//         pool = SimpleTaskPool(work, (5,))
//         await pool.start(3)
//         await asyncio.sleep(1.5)
//         await pool.start()
//         await asyncio.sleep(1.5)
//         pool.stop(2)
//         pool.lock()
//         await pool.gather()
#include <weir/weir.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <string_view>
#include <tuple>

using namespace std::chrono_literals;

namespace {

void say(std::string_view line) {
  std::cout << std::string(line) + '\n';
}

weir::task<> work(int n) {
  for (int i = 0; i < n; ++i) {
    co_await weir::sleep_for(1s);
    say("did " + std::to_string(i));
  }
}

weir::task<> run(weir::runtime& rt) {
  weir::simple_task_pool pool(
      rt, weir::fn<&work>, std::tuple(5), // no work is being done yet
      {.log = [](weir::log_level, std::string_view, std::string_view line) { say(line); }});
  co_await pool.start(3).started(); // launches work tasks 0, 1, and 2
  co_await weir::sleep_for(1500ms); // lets the tasks work for a bit
  co_await pool.start().started();  // launches work task 3
  co_await weir::sleep_for(1500ms); // lets the tasks work for a bit
  pool.stop(2);                     // cancels tasks 3 and 2
  pool.lock();                      // required for the last line
  (void)co_await pool.gather();     // awaits all tasks, then flushes the pool
}

} // namespace

/// With any argument: on a clock that jumps, in no time.
int main(int argc, char**) {
  const weir::manual_clock quick;
  weir::runtime rt{{.workers = 1, .clock = argc > 1 ? &quick : nullptr}};
  rt.block_on(run(rt));
}
