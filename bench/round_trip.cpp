// SPDX-License-Identifier: MIT
// Round trip: submit a job from outside and block for its result.
#include "question.hpp"

namespace {

constexpr int trips = 10'000;

template <class Peer>
void run(benchmark::State& state) {
  std::vector<double> times;
  times.reserve(trips);
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    for (int i = 0; i < trips / 10; ++i)
      peer.round_trip([i] { return i; });
    times.clear();
    long sum = 0;
    const auto start = bench::clock_type::now();
    for (int i = 0; i < trips; ++i) {
      const auto before = bench::clock_type::now();
      sum += peer.round_trip([i] { return i; });
      times.push_back(bench::seconds_since(before) * 1e6);
    }
    state.SetIterationTime(bench::seconds_since(start));
    bench::fail_unless(state, sum == static_cast<long>(trips) * (trips - 1) / 2, "wrong results");
  }
  bench::report_percentiles(state, times);
  bench::set_work(state, trips);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::answers<Peer>)
      bench::question::add<Peer>("round_trip", {}, run<Peer>);
  });
});

} // namespace
