// SPDX-License-Identifier: MIT
#include <weir/detail/thread_state.hpp>

#include <algorithm>

namespace weir::detail {

namespace {

/// Native stack that coroutine nesting leaves for the code of the innermost task and for handlers.
constexpr std::uintptr_t stack_reserve = 256 * 1024;

/// Native stack that coroutine nesting uses at the most, so that a deep recursion neither touches
/// megabytes of stack in each worker nor loses to cache misses what nesting saves.
constexpr std::uintptr_t stack_budget = 512 * 1024;

} // namespace

// Initial-exec: one load instead of a call from the shared library. The block is small enough for
// the space that the loader keeps for libraries opened late.
#if defined(__x86_64__)

constinit thread_local thread_state this_thread_state;

#else

namespace {

[[gnu::tls_model("initial-exec")]] constinit thread_local thread_state state;

} // namespace

[[gnu::noinline]] thread_state& this_thread() noexcept {
  asm volatile("" ::: "memory");
  return state;
}

#endif

std::uint32_t learn_number(thread_state& thread) noexcept {
  constinit static sync::atomic<std::uint32_t> given{0};
  do
    thread.number = given.fetch_add(1, std::memory_order_relaxed) + 1; // only the values matter
  while (thread.number == 0);
  return thread.number;
}

void learn_stack_limit(thread_state& thread) noexcept {
  const std::uintptr_t bottom = sync::stack_bottom();
  thread.stack_bottom = bottom;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  // A thread whose stack is unknown never nests: correct, only slower.
  thread.stack_limit = bottom == 0 || here < stack_budget
                           ? UINTPTR_MAX - 1
                           : std::max(bottom + stack_reserve, here - stack_budget);
}

} // namespace weir::detail
