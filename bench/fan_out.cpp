// SPDX-License-Identifier: MIT
// Fan-out and fan-in: 1,000 jobs are started at once from inside and all waited for, 200 times one
// after the other, with 1, 2 and 4 workers. weir has two ways: children of a task group, which may
// wait, and forks, which may not.
#include "question.hpp"

#include <weir/fork_join.hpp>

namespace {

constexpr long width = 1'000;
constexpr long rounds = 200;

class weir_forks {
 public:
  static constexpr const char* name = "weir-forks";
  explicit weir_forks(std::size_t workers) : runtime_({.workers = workers}) {}

  template <class F>
  void fan_out(long times, long count, F f) {
    runtime_
        .submit([times, count, f] {
          for (long i = 0; i < times; ++i)
            weir::with_fork_scope([count, f](weir::fork_scope& scope) {
              for (long k = 0; k < count; ++k)
                scope.fork(f);
            });
        })
        .get();
  }

 private:
  weir::runtime runtime_;
};

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
  bench::question::add_for_workers<weir_forks>("fan_out", {1, 2, 4}, run<weir_forks>);
  bench::for_each_peer([]<class Peer> {
    if constexpr ((bench::takes_jobs<Peer> && !bench::thread_per_job<Peer>) ||
                  bench::runs_jobs<Peer>)
      bench::question::add_for_workers<Peer>("fan_out", {1, 2, 4}, run<Peer>);
  });
});

} // namespace
