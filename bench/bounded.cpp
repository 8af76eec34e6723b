// SPDX-License-Identifier: MIT
// Bounded pools: 1 and 4 threads submit empty jobs to a pool that runs two at a time, in each
// order. Weights, where they matter, are 0 to 7 in turn.
#include "peers/bounded_pools.hpp"
#include "producers.hpp"
#include "question.hpp"

namespace {

constexpr long jobs = 500'000;
constexpr std::size_t limit = 2;

template <class Pool>
void run(benchmark::State& state) {
  const int producers = static_cast<int>(state.range(0));
  for (auto _ : state) {
    Pool pool(limit);
    const auto submit = [&](long count) {
      for (long i = 0; i < count; ++i)
        pool.post(bench::empty_job(), static_cast<int>(i & 7));
    };
    bench::time_round(jobs / 10, producers, submit);
    const long before = bench::tally::sum();
    state.SetIterationTime(bench::time_round(jobs, producers, submit));
    bench::fail_unless(state, bench::tally::sum() - before == jobs, "wrong number of jobs");
  }
  bench::set_items(state, jobs);
}

template <class Order>
void add_for() {
  const auto question = std::string("bounded_") + Order::name;
  const auto add = [&]<class Pool> {
    bench::question::add<Pool>(question.c_str(), {1, 4}, run<Pool>);
  };
  add.template operator()<bench::weir_fixed<Order>>();
  add.template operator()<bench::weir_autoscale<Order>>();
  add.template operator()<bench::locked_pool<Order>>();
#ifdef BENCH_HAS_ASIO
  add.template operator()<bench::asio_gate<Order>>();
#endif
#ifdef BENCH_HAS_TBB
  add.template operator()<bench::tbb_gate<Order>>();
#endif
}

const bench::question added([] {
  add_for<bench::in_order>();
  add_for<bench::last_first>();
  add_for<bench::by_weight>();
});

} // namespace
