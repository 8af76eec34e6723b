// SPDX-License-Identifier: MIT
// Elastic response: the only worker is busy and jobs wait behind it; from the call that asks for n
// workers until n jobs run at the same time. 100 times.
#include "question.hpp"

namespace {

constexpr int samples = 100;

template <class Peer>
void run(benchmark::State& state) {
  const long wanted = state.range(0);
  std::vector<double> times;
  double sum = 0;
  for (auto _ : state) {
    for (int i = 0; i < samples; ++i) {
      Peer peer(1);
      bench::gate one_runs;
      bench::gate all_run(wanted);
      bench::gate all_end(wanted);
      // Each waits for the others, so all arrive only if n workers run.
      for (long j = 0; j < wanted; ++j) {
        peer.post([&, j] {
          if (j == 0)
            one_runs.arrive();
          all_run.arrive();
          all_run.wait();
          all_end.arrive();
        });
      }
      one_runs.wait();
      const auto start = bench::clock_type::now();
      peer.resize(static_cast<std::size_t>(wanted));
      all_run.wait();
      times.push_back(bench::seconds_since(start) * 1e6);
      sum += times.back() * 1e-6;
      all_end.wait();
    }
    state.SetIterationTime(sum);
  }
  bench::report_percentiles(state, times);
  bench::set_work(state, samples);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::resizes<Peer>)
      bench::question::add<Peer>("resize", {2, 4, 8}, run<Peer>);
  });
});

} // namespace
