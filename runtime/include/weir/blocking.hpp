// SPDX-License-Identifier: MIT
/// \file
/// `blocking(f)`: a call that blocks its worker, while another worker stands in.
#pragma once

#include <weir/version.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace weir {

namespace detail {

class worker;

/// While this lives, the calling worker does not count as one that gets on with tasks. Nothing on
/// other threads, and inside another one on the same thread.
class blocking_section {
 public:
  WEIR_API blocking_section() noexcept;
  blocking_section(const blocking_section&) = delete;
  blocking_section& operator=(const blocking_section&) = delete;
  WEIR_API ~blocking_section();

 private:
  worker* worker_;
};

} // namespace detail

/// Calls `f(args...)` on this thread and gives its result or exception. On a worker it says that
/// the call may block: if no other worker is asleep or looking for work, another one stands in, up
/// to `runtime_options::max_blocking` of them; beyond that `f` just runs, which is counted in
/// `runtime_stats::blocking_refused`.
///
/// The tasks that waited for this worker, and those that `f` submits, go to where all workers look
/// for them. A blocking wait on a task stays refused inside `f` (`errc::would_deadlock`): the cap
/// may have been reached. Nested calls count once; hooks of the runtime and threads that are no
/// workers just call `f`.
///
/// Thread safety: any thread. Cost on a worker: two short locks and moving its queues; a thread is
/// started, or a parked one woken, when everybody else is busy. Throws what `f` throws.
template <class F, class... Args>
  requires std::is_invocable_v<F, Args...>
decltype(auto) blocking(F&& f, Args&&... args) {
  const detail::blocking_section section;
  return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
}

} // namespace weir
