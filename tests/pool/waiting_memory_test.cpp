// SPDX-License-Identifier: MIT
// A million tasks that wait for a slot, with a handle each: what they cost in memory, and that all
// of them can be cancelled one by one.
#include <weir/weir.hpp>

#include <cstddef>
#include <fstream>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>
#include <unistd.h>

namespace {

long resident_bytes() {
  std::ifstream file("/proc/self/statm");
  long size = 0;
  long resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

} // namespace

TEMPLATE_TEST_CASE("a task that waits in a pool costs at most 160 bytes", "[pool]", weir::fifo,
                   weir::lifo, weir::priority) {
  const long count = test::rounds(1'000'000);
  weir::runtime rt{{.workers = 1}};
  weir::fixed_pool<TestType> pool(rt, {.size = 1});
  weir::event open;
  auto first = pool.submit_nowait([&]() -> weir::task<> { co_await open.wait(); });
  test::eventually([&] { return pool.running_tasks_number() == 1; });

  long calls = 0;
  std::vector<weir::handle<void>> handles(static_cast<std::size_t>(count));
  const long before = resident_bytes();
  for (auto& handle : handles)
    handle = pool.submit_nowait([&calls] { ++calls; });
  const long each = (resident_bytes() - before) / count;
  CAPTURE(each);
  if (!test::sanitized)
    CHECK(each <= 160);

  // Every second one goes, from the middle of the queue too.
  for (std::size_t i = 0; i < handles.size(); i += 2)
    (void)handles[i].request_stop();
  CHECK(pool.waiting_tasks_number() == static_cast<std::size_t>(count / 2));
  open.set();
  first.get();
  rt.block_on(pool.close());
  CHECK(calls == count / 2);
  CHECK(pool.stats().cancelled == static_cast<std::size_t>((count + 1) / 2));
}
