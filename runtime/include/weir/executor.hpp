// SPDX-License-Identifier: MIT
/// \file
/// `executor`: what users' own executors must be able to do.
#pragma once

namespace weir {

/// Runs callables without arguments some time, somewhere: `runtime`, `blocking_executor`, or a
/// user's class. `post` takes anything that is callable once, move-only too.
template <class E>
concept executor = requires(E& e, void (*f)()) { e.post(f); };

} // namespace weir
