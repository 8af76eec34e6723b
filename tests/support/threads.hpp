// SPDX-License-Identifier: MIT
// Whether threads were left behind.
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

#include <support/support.hpp>

namespace test {

/// Remembers how many threads the process has.
class thread_count {
 public:
  thread_count() {
    // A sanitizer's own thread comes with the first one that is started.
    gate door;
    std::thread first([&] { door.pass(); });
    before_ = now() - 1;
    door.open();
    first.join();
  }

  /// Waits until there are no more than before: the kernel lists a joined thread for another
  /// moment.
  void wait_until_gone() const {
    eventually([this] { return now() <= before_; });
  }

 private:
  static std::size_t now() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                      std::filesystem::directory_iterator()));
  }

  std::size_t before_ = 0;
};

} // namespace test
