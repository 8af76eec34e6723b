// SPDX-License-Identifier: MIT
// Fan-out and fan-in: 1,000 jobs are started at once from inside and all waited for, 200 times one
// after the other, with 1, 2 and 4 workers. weir has two ways: children of a task group, which may
// wait, and forks, which may not.
#include "question.hpp"

namespace {

constexpr long width = 1'000;
constexpr long rounds = 200;

template <class Peer>
concept fans_out = requires(Peer& peer, bench::empty_job job) { peer.fan_out(1L, 1L, job); };

template <class Peer>
void run(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(static_cast<std::size_t>(state.range(0)));
    bench::fan_out(peer, rounds / 10, width, bench::empty_job());
    const long before = bench::tally::sum();
    const auto start = bench::clock_type::now();
    bench::fan_out(peer, rounds, width, bench::empty_job());
    state.SetIterationTime(bench::seconds_since(start));
    bench::fail_unless(state, bench::tally::sum() - before == rounds * width,
                       "wrong number of jobs");
  }
  bench::set_items(state, rounds * width);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr ((bench::takes_jobs<Peer> && !bench::thread_per_job<Peer>) ||
                  bench::runs_jobs<Peer> || fans_out<Peer>)
      bench::question::add_for_workers<Peer>("fan_out", {1, 2, 4}, run<Peer>);
  });
});

} // namespace
