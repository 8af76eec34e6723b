// SPDX-License-Identifier: MIT
/// \file
/// Turns Ctrl-C into a request to stop.
#pragma once

#include <weir/stop_token.hpp>

#include <csignal>
#include <thread>

namespace dupes {

/// While it lives, the first SIGINT or SIGTERM requests stop; a second one ends the process at
/// once.
///
/// A thread of its own waits for the signals, so no code runs inside a signal handler and no global
/// is needed. They must be blocked in all other threads: make this before any thread is started.
class interrupt_watch {
 public:
  /// `stop` must live longer.
  explicit interrupt_watch(weir::inplace_stop_source& stop);
  interrupt_watch(const interrupt_watch&) = delete;
  interrupt_watch& operator=(const interrupt_watch&) = delete;
  ~interrupt_watch();

 private:
  sigset_t mask_before_{};
  std::jthread watcher_;
};

} // namespace dupes
