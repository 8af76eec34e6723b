// SPDX-License-Identifier: MIT
// The problems of fork and join: a file each, which registers itself by an object of this class.
#pragma once

#include "sweep.hpp"

#include <vector>

namespace bench {

class problem {
 public:
  /// Registers the benchmarks of a problem for numbers of workers.
  using function = void (*)(const sweep& workers);

  explicit problem(function add) { all().push_back(add); }

  static void add_all_known(const sweep& workers) {
    for (const function add : all())
      add(workers);
  }

 private:
  static std::vector<function>& all() {
    static std::vector<function> known;
    return known;
  }
};

} // namespace bench
