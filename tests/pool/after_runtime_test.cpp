// SPDX-License-Identifier: MIT
// Pools that live longer than their runtime.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

weir::task<int> for_ever() {
  co_await weir::sleep_for(1h);
  co_return 0;
}
int one() {
  return 1;
}

template <class T>
bool cancelled(weir::handle<T>& handle) {
  try {
    (void)handle.get();
    return false;
  } catch (const weir::task_cancelled&) {
    return true;
  }
}

/// A task pool is closed by the end of its runtime if tasks have not started.
template <class F>
bool refuses(const F& call) {
  const auto code = test::code_of(call);
  return code == weir::errc::stopped || code == weir::errc::pool_closed;
}

template <class Pool, class Options>
void outlives_its_runtime(Options options) {
  const auto workers = GENERATE(1U, 2U, 16U);
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = workers});
  std::vector<weir::handle<int>> handles;
  Pool pool(*rt, std::move(options));
  for (int i = 0; i < 20; ++i)
    handles.push_back(pool.submit_nowait(for_ever));
  rt.reset();
  for (auto& handle : handles)
    CHECK(cancelled(handle));
  CHECK(test::code_of([&] { (void)pool.submit_nowait(one); }) == weir::errc::stopped);
  CHECK(test::code_of([&] { pool.post(one); }) == weir::errc::stopped);
  const auto stats = pool.stats();
  CHECK(stats.accepted == 20);
  CHECK(stats.ended == 20);
  CHECK(stats.cancelled == 20);
  (void)pool.scale(1);
  (void)pool.pause();
  pool.close_nowait(weir::removal::hard);
}

} // namespace

TEST_CASE("a fixed pool may outlive its runtime", "[after]") {
  outlives_its_runtime<weir::fixed_pool<weir::fifo>>(weir::fixed_pool_options{});
}
TEST_CASE("a fixed pool with ids may outlive its runtime", "[after]") {
  outlives_its_runtime<weir::fixed_pool<weir::fifo>>(weir::fixed_pool_options{.ids = true});
}
TEST_CASE("a lifo pool may outlive its runtime", "[after]") {
  outlives_its_runtime<weir::fixed_pool<weir::lifo>>(weir::fixed_pool_options{});
}
TEST_CASE("a priority pool may outlive its runtime", "[after]") {
  outlives_its_runtime<weir::fixed_pool<weir::priority>>(weir::fixed_pool_options{});
}
TEST_CASE("an autoscale pool may outlive its runtime", "[after]") {
  outlives_its_runtime<weir::autoscale_pool<weir::fifo>>(
      weir::autoscale_options{.auto_scale_interval = 1ms});
}

TEST_CASE("a task_pool may outlive its runtime", "[after]") {
  const auto workers = GENERATE(1U, 2U, 16U);
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = workers});
  std::atomic<int> callbacks{0};
  weir::task_pool pool(*rt, {.pool_size = 3});
  std::optional running(pool.apply(for_ever, {.num = 20, .end_callback = [&] { ++callbacks; }}));
  rt.reset();
  CHECK(pool.num_running() == 0);
  CHECK(refuses([&] { (void)pool.apply(one); }));
  CHECK(refuses([&] { (void)pool.map([](int) {}, std::vector<int>{1}); }));
  pool.set_pool_size(5);
  pool.cancel_all();
  pool.lock();
  pool.unlock();
  const auto stats = pool.stats();
  CHECK(stats.running == 0);
  CHECK(stats.waiting == 0);
  CHECK(stats.finished == 0);
  running.reset();
}

TEST_CASE("what was got of a task_pool may outlive it and its runtime", "[after]") {
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 2});
  auto pool = std::make_unique<weir::task_pool>(*rt);
  auto group = pool->apply(one);
  (void)rt->block_on(group.results());
  auto used = pool->try_admit();
  auto dropped = pool->try_admit();
  rt.reset();
  CHECK(test::code_of([&] { (void)pool->apply(std::move(used.value()), one); }) ==
        weir::errc::stopped);
  pool.reset();
  dropped.reset();
  CHECK(group.ids().size() == 1);
}

TEST_CASE("a simple_task_pool may outlive its runtime", "[after]") {
  auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 2});
  weir::simple_task_pool pool(*rt, for_ever);
  auto running = pool.start(3);
  rt.reset();
  CHECK(pool.num_running() == 0);
  CHECK(pool.stop_all().empty());
  CHECK(refuses([&] { (void)pool.start(); }));
}
