// SPDX-License-Identifier: MIT
// The three snippets of Python's aio_parallel_tools, as they stand in its document.
//
//   aio_pool [seconds a step takes, default 1]
#include <weir/weir.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

std::chrono::duration<double> step{1};

// async def test(name):
weir::task<std::string> test(std::string name) {
  std::cout << name + " start\n";
  for (int i = 0; i < 5; ++i)
    co_await weir::sleep_for(step);
  const std::string result = name + " done";
  std::cout << result + "\n";
  co_return "ok:" + result;
}

// def test(name):
std::string plain_test(const std::string& name) {
  std::cout << name + " start\n";
  for (int i = 0; i < 5; ++i)
    std::this_thread::sleep_for(step);
  const std::string result = name + " done";
  std::cout << result + "\n";
  return "ok:" + result;
}

// async with AioFixedTaskPoolSimple() as task_pool:
weir::task<> scoped(weir::fixed_pool<>& task_pool) {
  std::cout << "test pool size " << task_pool.size() << '\n';
  std::cout << "test await blocking submit\n";
  auto submission = task_pool.submit(test, "e");
  const std::string r = co_await submission;
  if (r != "ok:e done")
    std::exit(1);
  std::cout << "test await blocking submit\n";
  std::cout << "scale 3\n";
  co_await task_pool.scale(3);
  std::cout << "test pool size " << task_pool.size() << '\n';
}

// async with AioFixedTaskPoolSimple(executor=executor) as task_pool:
weir::task<> on_executor(weir::fixed_pool<>& task_pool) {
  std::cout << "test pool size " << task_pool.size() << '\n';
  std::cout << "test 4 task with pool size 3\n";
  // await asyncio.gather(task_pool.submit(test, func_args=["c"]), ...
  std::vector<weir::handle<std::string>> gathered;
  for (const char* name : {"c", "b", "a", "d"})
    gathered.push_back(task_pool.submit_nowait(plain_test, std::string(name)));
  for (auto& result : gathered)
    std::cout << co_await result << '\n';
}

// task_pool = AioFixedTaskPoolSimple()
weir::task<> by_hand(weir::fixed_pool<>& task_pool) {
  task_pool.start();
  std::cout << "test pool size " << task_pool.size() << '\n';
  auto submission = task_pool.submit(test, "e");
  const std::string r = co_await submission;
  if (r != "ok:e done")
    std::exit(1);
  std::cout << "scale 3\n";
  co_await task_pool.scale(3);
  std::cout << "test pool size " << task_pool.size() << '\n';
  auto end = task_pool.close();
  co_await end;
}

} // namespace

int main(int argc, char** argv) {
  if (argc > 1)
    step = std::chrono::duration<double>(std::atof(argv[1]));
  weir::runtime rt;

  weir::fixed_pool<> first(rt, {.started = false});
  rt.block_on(weir::use(first, scoped));

  weir::blocking_executor executor;
  weir::fixed_pool<> second(rt, {.executor = executor, .started = false});
  rt.block_on(weir::use(second, on_executor));

  weir::fixed_pool<> third(rt, {.started = false});
  rt.block_on(by_hand(third));
}
