// SPDX-License-Identifier: MIT
/// \file
/// `pool_registry`: the pools of this process, for whoever looks at a server from outside.
#pragma once

#include <weir/pool/stats.hpp>
#include <weir/version.hpp>

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// A pool as an operator sees it.
struct pool_entry {
  /// What the pool's `str()` gives.
  std::string name;
  pool_stats stats;
};

/// The pools of all kinds that exist in this process, from their construction to the start of
/// their destructor. To be listed keeps no pool alive. A forked child lists those that it
/// has made itself.
class pool_registry {
 public:
  /// All of them, the oldest first, with their figures of this moment. Any thread. Takes the
  /// registry's lock, under which no pool can come or go, and for each `task_pool` its own; time
  /// and memory are linear in the number of pools. Throws `std::bad_alloc`.
  [[nodiscard]] WEIR_API static std::vector<pool_entry> entries();

  /// Calls `f` with each entry. No lock is held then: `f` may make pools and end them. Throws as
  /// `entries`, and what `f` throws.
  template <std::invocable<const pool_entry&> F>
  static void for_each(F&& f) {
    for (const pool_entry& each : entries())
      std::invoke(f, each);
  }
};

namespace detail {

/// A pool's place in the registry: a member of the pool.
class WEIR_API pool_registration {
 public:
  using stats_function = pool_stats (*)(const void* core);

  /// \param core what `stats` is called with, until end().
  /// \param name must live as long. Throws `std::bad_alloc`.
  pool_registration(const void* core, stats_function stats, std::string_view name);
  pool_registration(const pool_registration&) = delete;
  pool_registration& operator=(const pool_registration&) = delete;
  ~pool_registration() { end(); }

  /// At the start of the pool's destructor, while the core is there. Not more than once in effect.
  void end() noexcept;

 private:
  friend pool_registry;

  const void* const core_;
  const stats_function stats_;
  const std::string_view name_;
  const int process_;
  bool ended_ = false;
  pool_registration* previous_ = nullptr;
  pool_registration* next_ = nullptr;
};

} // namespace detail

} // namespace weir
