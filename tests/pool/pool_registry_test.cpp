// SPDX-License-Identifier: MIT
// The pools of a process as an operator finds them.
#include <weir/weir.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::vector<std::string> names() {
  std::vector<std::string> all;
  weir::pool_registry::for_each([&](const weir::pool_entry& each) { all.push_back(each.name); });
  return all;
}

} // namespace

TEST_CASE("the registry lists pools of all kinds while they exist, oldest first", "[pool]") {
  REQUIRE(names().empty());
  weir::runtime rt{{.workers = 1}};
  {
    const weir::fixed_pool<weir::fifo> first(rt, {.size = 1, .name = "a"});
    const weir::task_pool second(rt, {.name = "b"});
    {
      const weir::autoscale_pool<weir::priority> third(rt, {.name = "c"});
      const weir::simple_task_pool fourth(rt, [] {}, {}, {.name = "d"});
      CHECK(names() == std::vector<std::string>{"FixedPool-a", "TaskPool-b", "AutoscalePool-c",
                                                "SimpleTaskPool-d"});
    }
    CHECK(names() == std::vector<std::string>{"FixedPool-a", "TaskPool-b"});
    const weir::fixed_pool<weir::lifo> fifth(rt, {.size = 1, .name = "e"});
    CHECK(names() == std::vector<std::string>{"FixedPool-a", "TaskPool-b", "FixedPool-e"});
  }
  CHECK(names().empty());
}

TEST_CASE("a pool that could not be made is not listed", "[pool]") {
  weir::runtime rt{{.workers = 1}};
  CHECK_THROWS_AS(weir::task_pool(rt, -1), weir::invalid_pool_option);
  CHECK_THROWS(weir::fixed_pool<weir::fifo>(rt, {.size = static_cast<std::size_t>(-1)}));
  CHECK(names().empty());
}

TEST_CASE("the registry shows the figures of each pool", "[pool]") {
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<weir::fifo> fixed(rt, {.size = 3, .name = "a"});
  weir::task_pool groups(rt, {.pool_size = 7, .name = "b"});
  for (int i = 0; i < 5; ++i)
    fixed.submit_nowait([] {}).get();
  (void)groups.apply([] {}, {.num = 2});
  rt.block_on(groups.gather_and_close());
  const auto all = weir::pool_registry::entries();
  REQUIRE(all.size() == 2);
  CHECK(all[0].stats.limit == 3);
  CHECK(all[0].stats.accepted == 5);
  CHECK(all[1].stats.limit == 7);
  CHECK(all[1].stats.finished == 2);
}

TEST_CASE("pools may come and go while the registry is looked through", "[pool]") {
  weir::runtime rt{{.workers = 1}};
  const weir::fixed_pool<weir::fifo> outer(rt, {.size = 1, .name = "outer"});
  std::size_t seen = 0;
  weir::pool_registry::for_each([&](const weir::pool_entry&) {
    const weir::task_pool inner(rt); // the registry's lock is free
    seen = names().size();
  });
  CHECK(seen == 2);

  std::atomic<bool> over{false};
  std::vector<std::thread> makers;
  for (int n = 0; n < 2; ++n) {
    makers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        weir::fixed_pool<weir::lifo> pool(rt, {.size = 1});
        pool.post([] {});
        const weir::task_pool other(rt);
      }
    });
  }
  std::size_t most = 0;
  std::thread reader([&] {
    do { // at least once, however late this thread comes
      for (const auto& each : weir::pool_registry::entries())
        most = std::max(most, each.stats.limit == 0 ? 0 : weir::pool_registry::entries().size());
    } while (!over);
  });
  for (auto& t : makers)
    t.join();
  over = true;
  reader.join();
  CHECK(most >= 1);
  CHECK(most <= 5);
  CHECK(names() == std::vector<std::string>{"FixedPool-outer"});
}

TEST_CASE("a forked child lists its own pools only", "[pool]") {
  weir::runtime rt{{.workers = 1}};
  const weir::fixed_pool<weir::fifo> parents(rt, {.size = 1, .name = "parent"});
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int wrong = names().empty() ? 0 : 1;
    if (!test::sanitized) { // ThreadSanitizer lets such a child start no threads
      weir::runtime own{{.workers = 1}};
      const weir::task_pool pool(own, {.name = "child"});
      wrong += names() == std::vector<std::string>{"TaskPool-child"} ? 0 : 2;
    }
    wrong += names().empty() ? 0 : 4;
    _exit(wrong);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(names().size() == 1);
}
