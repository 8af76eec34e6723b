// SPDX-License-Identifier: MIT
// `task_pool`: starting and ending tasks with ids, a group and a callback each, through a limit of
// 100 on two workers; and cancelling many. Every run checks that each task has ended once.
#include "run_all.hpp"
#include "verdict.hpp"

#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <thread>

#include <benchmark/benchmark.h>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t workers = 2;
constexpr std::size_t limit = 100;
constexpr std::size_t empty_tasks = 1'000'000;
constexpr std::size_t coroutines = 100'000;

weir::runtime& shared_runtime() {
  static weir::runtime rt{{.workers = workers}};
  return rt;
}

weir::task<> yields_once() {
  co_await weir::yield();
}
weir::task<> yields_once_for(int) {
  co_await weir::yield();
}
weir::task<> sleeps() {
  co_await weir::sleep_for(1h);
}

/// Closes the pool and checks how its tasks have ended.
void finish(benchmark::State& state, weir::task_pool& pool, std::uint64_t finished,
            std::uint64_t cancelled) {
  shared_runtime().block_on(pool.gather_and_close());
  const auto s = pool.stats();
  bench::fail_unless(state, s.finished == finished && s.cancelled == cancelled && s.failed == 0,
                     "not every task has ended as it should");
}

/// Empty tasks with an end callback.
void empty(benchmark::State& state) {
  for (auto _ : state) {
    weir::task_pool pool(shared_runtime(), {.pool_size = limit});
    std::atomic<std::uint64_t> ends{0};
    weir::apply_options options;
    options.num = empty_tasks;
    options.end_callback = [&ends](weir::task_id) { ends.fetch_add(1, std::memory_order_relaxed); };
    (void)pool.apply([] {}, options);
    finish(state, pool, empty_tasks, 0);
    bench::fail_unless(state, ends == empty_tasks, "not every callback was called once");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(empty_tasks));
}

/// Coroutines that yield once.
void apply_coroutines(benchmark::State& state) {
  for (auto _ : state) {
    weir::task_pool pool(shared_runtime(), {.pool_size = limit});
    (void)pool.apply(&yields_once, {.num = coroutines});
    finish(state, pool, coroutines, 0);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(coroutines));
}
void map_coroutines(benchmark::State& state) {
  for (auto _ : state) {
    weir::task_pool pool(shared_runtime(), {.pool_size = limit});
    (void)pool.map(&yields_once_for, std::views::iota(0, static_cast<int>(coroutines)),
                   {.num_concurrent = limit});
    finish(state, pool, coroutines, 0);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(coroutines));
}

/// Only the calls that cancel are timed.
void cancel_sleeping(benchmark::State& state) {
  for (auto _ : state) {
    weir::task_pool pool(shared_runtime());
    (void)pool.apply(&sleeps, {.num = coroutines});
    while (pool.stats().started != coroutines)
      std::this_thread::yield();
    const auto start = std::chrono::steady_clock::now();
    pool.cancel_all();
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    finish(state, pool, 0, coroutines);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(coroutines));
}
void cancel_waiting(benchmark::State& state) {
  for (auto _ : state) {
    weir::task_pool pool(shared_runtime(), {.pool_size = 0});
    (void)pool.apply(&sleeps, {.num = 1'000'000'000});
    const auto start = std::chrono::steady_clock::now();
    pool.cancel_all();
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    finish(state, pool, 0, 1'000'000'000);
  }
  // Calls, not tasks: it costs the same for any number of them.
  state.SetItemsProcessed(state.iterations());
}

} // namespace

BENCHMARK(empty)
    ->Name("group_empty/weir-task_pool")
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3)
    ->UseRealTime();
BENCHMARK(apply_coroutines)
    ->Name("group_apply/weir-task_pool")
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5)
    ->UseRealTime();
BENCHMARK(map_coroutines)
    ->Name("group_map/weir-task_pool")
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5)
    ->UseRealTime();
BENCHMARK(cancel_sleeping)
    ->Name("group_cancel_sleeping/weir-task_pool")
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3)
    ->UseManualTime();
BENCHMARK(cancel_waiting)
    ->Name("group_cancel_waiting/weir-task_pool")
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3)
    ->UseManualTime();

int main(int argc, char** argv) {
  return bench::run_all(argc, argv);
}
