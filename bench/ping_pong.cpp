// SPDX-License-Identifier: MIT
// Ping-pong: two tasks hand a number to and fro through channels that hold one, and wait for each
// other without holding a worker. The baseline is two threads.
#include "question.hpp"

namespace {

constexpr long trips = 20'000;

template <class Peer>
void run(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    peer.ping_pong(trips / 10);
    const auto start = bench::clock_type::now();
    const long last = peer.ping_pong(trips);
    state.SetIterationTime(bench::seconds_since(start));
    bench::fail_unless(state, last == trips, "wrong number came back");
  }
  bench::set_items(state, trips);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (requires(Peer& peer) { peer.ping_pong(1L); })
      bench::question::add<Peer>("ping_pong", {}, run<Peer>);
  });
});

} // namespace
