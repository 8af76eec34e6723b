// SPDX-License-Identifier: MIT
#pragma once

namespace weir::detail {

/// Whether the library is built with AddressSanitizer: nothing is kept for later use then, so that
/// a use after free is seen.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif
#else
inline constexpr bool address_sanitizer = false;
#endif

} // namespace weir::detail
