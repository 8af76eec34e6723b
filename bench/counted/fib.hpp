// SPDX-License-Identifier: MIT
// What all forms of fib have in common. An operation is a call with n > 1: a fork and its join.
#pragma once

#include "counting.hpp"

#include <utility>

namespace bench::counted {

/// Checks fib(n). \return how many calls of it make two more.
inline long fib_operations(long n, long found) {
  long value = 0;
  long next_value = 1;
  long calls = 0;
  long next_calls = 0;
  for (long i = 0; i < n; ++i) {
    value = std::exchange(next_value, value + next_value);
    calls = std::exchange(next_calls, 1 + calls + next_calls);
  }
  expect(found == value);
  return calls;
}

} // namespace bench::counted
