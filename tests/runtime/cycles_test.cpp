// SPDX-License-Identifier: MIT
// Ten thousand short lives of a runtime: whatever can hang at its start or end does so here.
#include <weir/weir.hpp>

#include <catch.hpp>
#include <support/support.hpp>

TEST_CASE("creating, using and destroying runtimes ten thousand times never hangs", "[shutdown]") {
  for (const std::size_t workers : {1U, 2U, 3U, 8U}) {
    int wrong = 0;
    for (int i = 0; i < test::rounds(10'000); ++i) {
      weir::runtime rt{{.workers = workers}};
      auto handle = rt.submit([i] { return i; });
      if (i % 3 == 0)
        wrong += handle.get() != i;
      else if (i % 3 == 1)
        rt.drain();
      // Else the destructor meets a task that may or may not have started.
    }
    CHECK(wrong == 0);
  }
}
