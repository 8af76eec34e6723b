// SPDX-License-Identifier: MIT
// Does an operation so many times on one worker, for a tool that counts instructions: the
// difference of two runs of different size is what the operations cost. Names are question/peer.
//   count --list           each operation's name and the two sizes to compare
//   count --compiler       what has compiled this
//   count NAME SIZE        checks what has been done and prints how many operations that were
#include "counted/counting.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

using namespace bench::counted;

/// Calls `f` with each operation.
template <class F>
void for_each(F f) {
  for (const auto part : {forks(), forks_of_peers(), jobs(), jobs_of_peers(), jobs_of_pools(),
                          task_pools(), tasks(), tasks_of_peers()})
    for (const operation& each : part)
      f(each);
}

} // namespace

int main(int argc, char** argv) {
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  int status = 2;
  if (argc == 2 && wanted == "--list") {
    for_each([&](const operation& each) {
      std::printf("%s %ld %ld\n", each.name, each.small, each.large);
    });
    status = 0;
  } else if (argc == 2 && wanted == "--compiler") {
#ifdef __clang__
    std::printf("Clang %d\n", __clang_major__);
#else
    std::printf("GCC %d\n", __GNUC__);
#endif
    status = 0;
  } else if (argc == 3) {
    for_each([&](const operation& each) {
      if (wanted == each.name) {
        std::printf("%ld\n", each.run(std::atol(argv[2])));
        status = 0;
      }
    });
  }
  if (status != 0)
    std::fputs("usage: count --list | --compiler | NAME SIZE\n", stderr);
  return status;
}
