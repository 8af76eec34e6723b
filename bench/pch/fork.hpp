// SPDX-License-Identifier: MIT
// What all problems of fork and join include, compiled once.
#include "../measure.hpp"

#include <weir/weir.hpp>
