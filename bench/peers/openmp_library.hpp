// SPDX-License-Identifier: MIT
// Which library does the work of OpenMP's directives: LLVM's libomp knows the calls of GCC's
// compiler too, so the same objects are linked to it or to GCC's own libgomp.
#pragma once

#include <string>

#include <dlfcn.h>

namespace bench {

inline std::string openmp_library() {
  return dlsym(RTLD_DEFAULT, "kmp_get_blocktime") != nullptr ? "libomp" : "libgomp";
}

} // namespace bench
