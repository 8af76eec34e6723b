// SPDX-License-Identifier: MIT
// What is paid where there is little to do. `idle_cpu`: CPU time of all threads but the watching
// one in half a second without work. `paced`: CPU time of the whole process for a job, when one
// comes every 200 microseconds; the submitter sleeps between.
#include "question.hpp"

namespace {

using namespace std::chrono_literals;

constexpr long paced_jobs = 2'000;

double cpu_seconds_of_others() {
  return bench::cpu_seconds() - bench::cpu_seconds(RUSAGE_THREAD);
}

template <class Peer>
void idle(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    peer.round_trip([] { return 0; });
    std::this_thread::sleep_for(10ms);
    const double cpu = cpu_seconds_of_others();
    std::this_thread::sleep_for(500ms);
    const double used = std::max(cpu_seconds_of_others() - cpu, 0.0);
    state.counters["cpu_us_per_s"] = used * 1e6 / 0.5;
    state.SetIterationTime(std::max(used, 1e-9));
  }
}

template <class Peer>
void paced(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    peer.round_trip([] { return 0; });
    const long before = bench::tally::sum();
    const double cpu = bench::cpu_seconds();
    auto next = bench::clock_type::now();
    for (long i = 0; i < paced_jobs; ++i) {
      std::this_thread::sleep_until(next += 200us);
      peer.post(bench::empty_job());
    }
    bench::wait_until([&] { return bench::tally::sum() - before >= paced_jobs; });
    const double used = bench::cpu_seconds() - cpu;
    state.counters["cpu_ns_per_job"] = used * 1e9 / static_cast<double>(paced_jobs);
    state.SetIterationTime(std::max(used, 1e-9));
    bench::fail_unless(state, bench::tally::sum() - before == paced_jobs, "wrong number of jobs");
  }
  bench::set_work(state, paced_jobs);
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::answers<Peer> && bench::takes_jobs<Peer>)
      bench::question::add<Peer>("paced", {}, paced<Peer>);
    if constexpr (bench::answers<Peer> && !bench::thread_per_job<Peer>)
      bench::question::add<Peer>("idle_cpu", {}, idle<Peer>);
  });
});

} // namespace
