// SPDX-License-Identifier: MIT
// Counts allocations and makes one of them fail. It replaces the global operators, so at most one
// source of a program may include it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace test {

inline std::atomic<long> allocations{0};
inline std::atomic<long> deallocations{0};
/// Allocations until one fails; negative: none does.
inline std::atomic<long> fail_after{-1};

inline void* counted_allocate(std::size_t size) noexcept {
  ++allocations;
  if (fail_after >= 0 && fail_after.fetch_sub(1) == 0)
    return nullptr;
  return std::malloc(size == 0 ? 1 : size);
}

inline void counted_free(void* memory) noexcept {
  if (memory != nullptr)
    ++deallocations;
  std::free(memory);
}

} // namespace test

// NOLINTBEGIN(misc-definitions-in-headers): replacements must not be inline
// Nor inlined by GCC 12, which would see memory of `new` go to `free`, and warn. Inlined by Clang:
// a sanitizer's own operator new comes before them, but not where they are inlined.
#ifdef __clang__
#define TEST_NOINLINE
#else
#define TEST_NOINLINE [[gnu::noinline]]
#endif
TEST_NOINLINE void* operator new(std::size_t size) {
  if (void* memory = test::counted_allocate(size))
    return memory;
  throw std::bad_alloc();
}
TEST_NOINLINE void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return test::counted_allocate(size);
}
TEST_NOINLINE void operator delete(void* memory) noexcept {
  test::counted_free(memory);
}
TEST_NOINLINE void operator delete(void* memory, std::size_t) noexcept {
  test::counted_free(memory);
}
TEST_NOINLINE void operator delete(void* memory, const std::nothrow_t&) noexcept {
  test::counted_free(memory);
}
#undef TEST_NOINLINE
// NOLINTEND(misc-definitions-in-headers)
