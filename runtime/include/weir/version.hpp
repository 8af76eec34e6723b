// SPDX-License-Identifier: MIT
/// \file
/// The version of weir. `meson.build` reads it from here, so that it stands in one place.
#pragma once

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
#define WEIR_VERSION_STRING "0.1.0"

/// Marks what the shared library exports; everything else is hidden.
#define WEIR_API __attribute__((visibility("default")))
