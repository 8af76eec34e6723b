// SPDX-License-Identifier: MIT
// Cancelling 100,000 tasks. `cancel_waiting`: each is suspended and waits; from the first request
// until the last has ended. `cancel_queued`: they wait in the queue behind workers that are held;
// from the first request, the release of the workers included, until none is left, and none may
// have run.
#include "question.hpp"

namespace {

constexpr long tasks = 100'000;

template <class Peer>
void waiting(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    const long before = bench::tally::sum();
    peer.start_waiting(tasks);
    const auto start = bench::clock_type::now();
    peer.cancel_waiting();
    bench::wait_until([&] { return bench::tally::sum() - before >= tasks; });
    state.SetIterationTime(bench::seconds_since(start));
    bench::fail_unless(state, bench::tally::sum() - before == tasks, "wrong number of tasks");
  }
  bench::set_items(state, tasks);
}

/// Keeps the workers in jobs until release().
template <class Peer>
class hold {
 public:
  hold(Peer& peer, long workers) : held_(workers), left_(workers) {
    for (long i = 0; i < workers; ++i) {
      peer.post([this] {
        held_.arrive();
        released_.wait();
        left_.arrive();
      });
    }
    held_.wait();
  }
  hold(const hold&) = delete;
  hold& operator=(const hold&) = delete;
  ~hold() { left_.wait(); }

  /// All tasks are in the queue: the time starts.
  void queued() { start_ = bench::clock_type::now(); }
  void release() { released_.arrive(); }
  bench::clock_type::time_point start() const { return start_; }

 private:
  bench::gate held_;
  bench::gate released_;
  bench::gate left_;
  bench::clock_type::time_point start_;
};

template <class Peer>
void queued(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    const long before = bench::tally::sum();
    hold<Peer> held(peer, static_cast<long>(bench::usual_workers));
    peer.cancel_queued(tasks, held);
    state.SetIterationTime(bench::seconds_since(held.start()));
    bench::fail_unless(state, bench::tally::sum() == before, "a cancelled task has run");
  }
  bench::set_items(state, tasks);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::has_waiting_tasks<Peer> && !std::is_same_v<Peer, bench::plain_threads>)
      bench::question::add<Peer>("cancel_waiting", {}, waiting<Peer>);
    if constexpr (requires(Peer& peer, hold<Peer>& held) { peer.cancel_queued(1L, held); })
      bench::question::add<Peer>("cancel_queued", {}, queued<Peer>);
  });
});

} // namespace
