// SPDX-License-Identifier: MIT
#include <weir/detail/thread_state.hpp>

#include <algorithm>
#include <array>
#include <bit>

namespace weir::detail {

namespace {

/// Native stack that coroutine nesting leaves for the code of the innermost task and for handlers.
constexpr std::uintptr_t stack_reserve = 256 * 1024;

/// Native stack that coroutine nesting uses at the most, so that a deep recursion neither touches
/// megabytes of stack in each worker nor loses to cache misses what nesting saves.
constexpr std::uintptr_t stack_budget = 512 * 1024;

/// Which numbers threads have, by bits. All operations are relaxed: only the values matter.
constinit std::array<sync::atomic<std::uint64_t>, 16> taken_numbers{};
constexpr std::uint32_t numbers_in_word = 64;
constexpr auto most_numbers = static_cast<std::uint32_t>(numbers_in_word * taken_numbers.size());

/// \return 0 if all are taken.
std::uint32_t take_number() noexcept {
  std::uint32_t first = 1;
  for (auto& word : taken_numbers) {
    for (auto free = ~word.load(std::memory_order_relaxed); free != 0;) {
      const auto bit = free & (~free + 1);
      const auto seen = word.fetch_or(bit, std::memory_order_relaxed);
      if ((seen & bit) == 0)
        return first + static_cast<std::uint32_t>(std::countr_zero(bit));
      free = ~seen;
    }
    first += numbers_in_word;
  }
  return 0;
}

/// Gives the number back when the thread ends. The thread may go on using it in destructors that
/// run later: few others have it, see number_of.
struct number_lease {
  explicit number_lease(std::uint32_t which) noexcept : number(which) {}
  number_lease(const number_lease&) = delete;
  number_lease& operator=(const number_lease&) = delete;
  ~number_lease() {
    if (number != 0)
      taken_numbers[(number - 1) / numbers_in_word].fetch_and(
          ~(std::uint64_t{1} << (number - 1) % numbers_in_word), std::memory_order_relaxed);
  }

  const std::uint32_t number;
};

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
  static thread_local const number_lease lease(take_number());
  thread.number = lease.number;
  if (thread.number == 0) { // in turn, then
    constinit static sync::atomic<std::uint32_t> given{0};
    thread.number = given.fetch_add(1, std::memory_order_relaxed) % most_numbers + 1;
  }
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
