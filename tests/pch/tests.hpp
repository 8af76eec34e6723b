// SPDX-License-Identifier: MIT
// What most tests include, compiled once for all of them.
#include <weir/weir.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>
