// SPDX-License-Identifier: MIT
// Flat throughput from outside: 1 to 8 threads submit empty jobs to 2 workers, one by one or many
// in a call. Also the CPU time of a job, submission included, and
// with --rss the peak memory.
#include "memory.hpp"
#include "producers.hpp"
#include "question.hpp"

namespace {

constexpr long jobs = 2'000'000;

/// `submit(peer, count)` is what each of the threads does.
template <class Peer, class Submit>
void run(benchmark::State& state, const Submit& submit) {
  const int producers = static_cast<int>(state.range(0));
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    const auto submit_to_peer = [&](long count) { submit(peer, count); };
    bench::time_round(jobs / 10, producers, submit_to_peer);
    const long before = bench::tally::sum();
    const double cpu = bench::cpu_seconds();
    state.SetIterationTime(bench::time_round(jobs, producers, submit_to_peer));
    state.counters["cpu_ns_per_job"] =
        (bench::cpu_seconds() - cpu) * 1e9 / static_cast<double>(jobs);
    bench::fail_unless(state, bench::tally::sum() - before == jobs, "wrong number of jobs");
  }
  if (bench::reports_memory)
    state.counters["rss_mb"] = static_cast<double>(bench::peak_memory()) / 1e6;
  bench::set_items(state, jobs);
}

template <class Peer>
void one_by_one(benchmark::State& state) {
  run<Peer>(state, [](Peer& peer, long count) {
    for (long i = 0; i < count; ++i)
      peer.post(bench::empty_job());
  });
}

template <class Peer>
void in_bulk(benchmark::State& state) {
  run<Peer>(state, [](Peer& peer, long count) {
    constexpr long chunk = 1000;
    std::vector<bench::empty_job> some(chunk);
    for (long i = 0; i < count; i += chunk)
      peer.post_bulk(std::span(some));
  });
}

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::takes_jobs<Peer> && !bench::thread_per_job<Peer>)
      bench::question::add<Peer>("throughput", {1, 2, 4, 8}, one_by_one<Peer>);
    if constexpr (bench::takes_bulk<Peer>)
      bench::question::add<Peer>("bulk_throughput", {1, 2, 4, 8}, in_bulk<Peer>);
  });
});

} // namespace
