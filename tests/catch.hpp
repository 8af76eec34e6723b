// SPDX-License-Identifier: MIT
// Catch2, whichever of version 3 and version 2 is installed. Tests use what both have: no matchers
// (renamed in version 3), and assertions on the main thread only, because they are not thread-safe.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
