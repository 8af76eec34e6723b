// SPDX-License-Identifier: MIT
// Flat throughput from inside. `inside`: a job posts 10,000 empty jobs and then itself again, a
// hundred times, with 1, 2 and 4 workers. `relay`: each job posts the next, so there is one at most
// to run.
#include "question.hpp"

namespace {

constexpr long many = 10'000;
constexpr long times = 100;
constexpr long hops = 200'000;

template <class Peer>
struct spawner {
  Peer* peer;
  long left;
  void operator()() const {
    for (long i = 0; i < many; ++i)
      bench::post_from_job(*peer, bench::empty_job());
    if (left > 1)
      bench::post_from_job(*peer, spawner{peer, left - 1});
  }
};

template <class Peer>
struct runner {
  Peer* peer;
  long left;
  void operator()() const {
    bench::tally::count();
    if (left > 1)
      bench::post_from_job(*peer, runner{peer, left - 1});
  }
};

template <class Peer, class Job>
void run(benchmark::State& state, std::size_t workers, long steps, long jobs) {
  for (auto _ : state) {
    Peer peer(workers);
    const auto do_all = [&peer](long how_often, long how_many) {
      const long before = bench::tally::sum();
      bench::start(peer, Job{&peer, how_often});
      bench::wait_until([&] { return bench::tally::sum() - before >= how_many; });
      return bench::tally::sum() - before;
    };
    do_all(steps / 10, jobs / 10);
    const auto start = bench::clock_type::now();
    const long done = do_all(steps, jobs);
    state.SetIterationTime(bench::seconds_since(start));
    bench::fail_unless(state, done == jobs, "wrong number of jobs");
  }
  bench::set_items(state, jobs);
}

template <class Peer>
constexpr bool can =
    (bench::takes_jobs<Peer> || bench::runs_jobs<Peer>) && !bench::thread_per_job<Peer>;

/// Whether a million jobs may wait at once: a peer may take the newest first.
template <class Peer>
constexpr bool may_pile_up = true;
#ifdef BENCH_HAS_BOOST_FIBER
// A stack for each of them: gigabytes, and minutes to touch them.
template <>
constexpr bool may_pile_up<bench::boost_fibers> = false;
#endif

const bench::question added([] {
  bench::for_each_peer([]<class Peer> {
    if constexpr (can<Peer> && may_pile_up<Peer>) {
      bench::question::add_for_workers<Peer>("inside", {1, 2, 4}, [](benchmark::State& state) {
        run<Peer, spawner<Peer>>(state, static_cast<std::size_t>(state.range(0)), times,
                                 times * many);
      });
    }
    // Calls would be a recursion of that depth.
    if constexpr (can<Peer> && !std::is_same_v<Peer, bench::serial_calls>) {
      bench::question::add<Peer>("relay", {}, [](benchmark::State& state) {
        run<Peer, runner<Peer>>(state, bench::usual_workers, hops, hops);
      });
    }
  });
});

} // namespace
