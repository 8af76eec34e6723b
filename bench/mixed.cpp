// SPDX-License-Identifier: MIT
// Mixed load: while all workers are in a region of 600 bodies of about a millisecond each, another
// thread submits a short request every 2 milliseconds; from its submission until it runs. The
// region is the library's loop where it has one, jobs elsewhere; `weir-jobs` is weir without its
// loop. Also how long the region takes.
#include "problems/mix.hpp"
#include "question.hpp"

namespace {

using namespace std::chrono_literals;

constexpr long bodies = 600;
constexpr std::uint32_t steps = 275'000;
constexpr std::size_t most_requests = 100'000;

class weir_jobs {
 public:
  static constexpr const char* name = "weir-jobs";
  explicit weir_jobs(std::size_t workers) : runtime_(workers) {}
  template <class F>
  void post(F f) {
    runtime_.post(std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    return runtime_.round_trip(std::move(f));
  }

 private:
  bench::weir_runtime runtime_;
};

/// Not inlined: a compiler that sees a library's loop around it works on several bodies at once.
[[gnu::noinline]] std::uint32_t body(long i) {
  return bench::mixed(static_cast<std::uint32_t>(i), steps);
}

const std::vector<std::uint32_t>& expected() {
  static const std::vector<std::uint32_t> values = [] {
    std::vector<std::uint32_t> made;
    for (long i = 0; i < bodies; ++i)
      made.push_back(body(i));
    return made;
  }();
  return values;
}

template <class Peer>
void run(benchmark::State& state) {
  // An element for each request, which only that writes.
  std::vector<double> latencies(most_requests);
  for (auto _ : state) {
    Peer peer(bench::usual_workers);
    peer.round_trip([] { return 0; });
    std::atomic<bool> over{false};
    std::vector<std::uint32_t> results(bodies);
    double elapsed = 0;
    std::thread region([&] {
      const auto start = bench::clock_type::now();
      bench::region(peer, bodies,
                    [&results](long i) { results[static_cast<std::size_t>(i)] = body(i); });
      elapsed = bench::seconds_since(start);
      over = true;
    });
    std::this_thread::sleep_for(10ms);
    const long before = bench::tally::sum();
    std::size_t requests = 0;
    for (; !over && requests < most_requests; ++requests) {
      double& latency = latencies[requests];
      const auto submitted = bench::clock_type::now();
      peer.post([&latency, submitted] {
        latency = bench::seconds_since(submitted) * 1e6;
        bench::tally::count();
      });
      std::this_thread::sleep_for(2ms);
    }
    region.join();
    bench::wait_until([&] { return bench::tally::sum() - before >= static_cast<long>(requests); });
    latencies.resize(requests);
    state.SetIterationTime(elapsed);
    state.counters["region_ms"] = elapsed * 1e3;
    bench::fail_unless(state, results == expected(), "wrong results");
  }
  bench::report_percentiles(state, latencies);
  bench::set_work(state, bodies);
}

const bench::question added([] {
  const auto add = []<class Peer> {
    if constexpr (bench::answers<Peer> && bench::takes_jobs<Peer> && !bench::thread_per_job<Peer>)
      bench::question::add<Peer>("mixed", {}, run<Peer>);
  };
  add.operator()<weir_jobs>();
  bench::for_each_peer(add);
});

} // namespace
