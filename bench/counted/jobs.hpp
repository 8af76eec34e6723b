// SPDX-License-Identifier: MIT
// Jobs that one worker runs: posted from outside or by the worker itself, or submitted for their
// results. An operation is a job, from the call that submits it until it, or its result, is over.
#pragma once

#include "counting.hpp"

#include <weir/weir.hpp>

#include <cstddef>
#include <future>
#include <utility>
#include <vector>

namespace bench::counted {

/// The last of so many jobs of one worker opens a gate.
struct last_one {
  long left;
  gate done{};
  /// Small and trivial, so that no peer allocates for it.
  auto job() {
    return [this] {
      if (--left == 0)
        done.open();
    };
  }
};

template <class Peer>
long count_post(long n) {
  last_one jobs{n};
  Peer peer(1);
  held_worker held(peer);
  for (long i = 0; i < n; ++i)
    peer.post(jobs.job());
  held.release();
  jobs.done.wait();
  expect(jobs.left == 0);
  return n;
}

template <class Peer>
long count_post_by_worker(long n) {
  last_one jobs{n};
  Peer peer(1);
  peer.post([&] {
    for (long i = 0; i < n; ++i)
      peer.post(jobs.job());
  });
  jobs.done.wait();
  expect(jobs.left == 0);
  return n;
}

/// Results by whatever the peer calls a submission, or by a promise; all of them are there before
/// one is asked for.
template <class Peer>
long count_submit(long n) {
  last_one jobs{n};
  Peer peer(1);
  held_worker held(peer);
  long sum = 0;
  if constexpr (requires { peer.submit([] { return 0L; }); }) {
    const auto submit = [&](long i) {
      return peer.submit([i, job = jobs.job()] {
        job();
        return i;
      });
    };
    std::vector<decltype(submit(0))> handles;
    handles.reserve(static_cast<std::size_t>(n));
    for (long i = 0; i < n; ++i)
      handles.push_back(submit(i));
    held.release();
    jobs.done.wait();
    for (auto& h : handles)
      sum += h.get();
  } else {
    std::vector<std::promise<long>> promises(static_cast<std::size_t>(n));
    for (long i = 0; i < n; ++i) {
      peer.post([i, &p = promises[static_cast<std::size_t>(i)], job = jobs.job()] {
        p.set_value(i);
        job();
      });
    }
    held.release();
    jobs.done.wait();
    for (auto& p : promises)
      sum += p.get_future().get();
  }
  expect(sum == n * (n - 1) / 2);
  return n;
}

} // namespace bench::counted
