// SPDX-License-Identifier: MIT
// Memory of what waits: how much the resident set grows by a task that is suspended and waits
// (`waiting_task`), and by an empty job that waits in the queue (`queued_job`), of 10,000. Memory
// that was used before would hide it, so the program has to be started for each of these anew.
#include "memory.hpp"
#include "question.hpp"

#include <system_error>

namespace {

constexpr long tasks = 10'000;

void report(benchmark::State& state, std::size_t before, std::size_t after) {
  const double grown = static_cast<double>(after) - static_cast<double>(before);
  state.counters["bytes_per_task"] = grown / static_cast<double>(tasks);
  bench::set_work(state, tasks);
}

template <class Peer>
void waiting(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    const std::size_t before = bench::resident_memory();
    peer.start_waiting(tasks);
    report(state, before, bench::resident_memory());
    state.SetIterationTime(1e-9);
    peer.cancel_waiting();
  }
}

template <class Peer>
void queued(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    bench::gate held(bench::usual_workers);
    bench::gate released;
    bench::gate left(bench::usual_workers);
    for (std::size_t i = 0; i < bench::usual_workers; ++i) {
      peer.post([&] {
        held.arrive();
        released.wait();
        left.arrive();
      });
    }
    held.wait();
    const long counted = bench::tally::sum();
    const std::size_t before = bench::resident_memory();
    for (long i = 0; i < tasks; ++i)
      peer.post(bench::empty_job());
    report(state, before, bench::resident_memory());
    bench::fail_unless(state, bench::tally::sum() == counted, "a job has not waited");
    released.arrive();
    left.wait();
    bench::wait_until([&] { return bench::tally::sum() - counted >= tasks; });
    state.SetIterationTime(1e-9);
  }
}

/// Whether as many jobs can wait in the peer's queue.
template <class Peer>
constexpr bool has_room = bench::takes_jobs<Peer> && !bench::thread_per_job<Peer>;
#ifdef BENCH_HAS_BOOST_FIBER
template <>
constexpr bool has_room<bench::boost_fibers> = false;
#endif
#ifdef BENCH_HAS_EIGEN
template <>
constexpr bool has_room<bench::eigen_pool> = false;
#endif

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (bench::has_waiting_tasks<Peer>)
      bench::question::add<Peer>("waiting_task", {}, waiting<Peer>);
    if constexpr (has_room<Peer>)
      bench::question::add<Peer>("queued_job", {}, queued<Peer>);
  });
});

} // namespace
