// SPDX-License-Identifier: MIT
// Wake-up from idle: a millisecond after the last job, from the submission to the first instruction
// of the job. The submitter polls for it, so that its own waking does not matter.
#include "question.hpp"

namespace {

constexpr int samples = 1'000;

template <class Peer>
void run(benchmark::State& state) {
  std::vector<double> times;
  times.reserve(samples);
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    times.clear();
    double sum = 0;
    for (int i = 0; i < samples; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1)); // until all workers sleep
      std::atomic<bench::clock_type::rep> started{0};
      const auto before = bench::clock_type::now();
      peer.post([&started] { started = bench::clock_type::now().time_since_epoch().count(); });
      while (started == 0)
        std::this_thread::yield();
      const double latency = bench::seconds(
          bench::clock_type::time_point(bench::clock_type::duration(started)) - before);
      times.push_back(latency * 1e6);
      sum += latency;
    }
    state.SetIterationTime(sum);
  }
  bench::report_percentiles(state, times);
  bench::set_work(state, samples);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    // A peer that starts a thread for each job has none that sleep.
    if constexpr (bench::takes_jobs<Peer>)
      bench::question::add<Peer>("wake_up", {}, run<Peer>);
  });
});

} // namespace
