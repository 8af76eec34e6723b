// SPDX-License-Identifier: MIT
// Waits for signals with sigwait().
#include "dupes_interrupt.hpp"

#include <cstdlib>
#include <stop_token>

#include <pthread.h>

namespace dupes {

namespace {

constexpr int interrupted_status = 130;

void watch(const std::stop_token& ended, const sigset_t& signals, weir::inplace_stop_source& stop) {
  int number = 0;
  while (sigwait(&signals, &number) == 0 && !ended.stop_requested()) {
    const bool first_request = stop.request_stop();
    if (!first_request)
      std::_Exit(interrupted_status);
  }
}

} // namespace

interrupt_watch::interrupt_watch(weir::inplace_stop_source& stop) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, &mask_before_);
  watcher_ =
      std::jthread([signals, &stop](const std::stop_token& ended) { watch(ended, signals, stop); });
}

interrupt_watch::~interrupt_watch() {
  watcher_.request_stop();
  pthread_kill(watcher_.native_handle(), SIGTERM); // wakes it up
  watcher_.join();
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

} // namespace dupes
