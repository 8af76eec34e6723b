// SPDX-License-Identifier: MIT
// Flat work from outside, 2 workers: throughput of empty jobs, round trip, wake-up latency, idle
// CPU. Every job counts itself on its own thread's counter and every run checks the sum, for all
// peers.
#include "peers/asio_pool.hpp"
#include "peers/queue_pool.hpp"
#include "peers/weir_runtime.hpp"
#include "producers.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/resource.h>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t workers = 2;
constexpr long jobs_per_round = 2'000'000;

double seconds(clock_type::duration d) {
  return std::chrono::duration<double>(d).count();
}

template <class Peer>
void throughput(benchmark::State& state) {
  const int producers = static_cast<int>(state.range(0));
  for (auto _ : state) {
    Peer peer(workers);
    const long before = bench::tally::sum();
    state.SetIterationTime(bench::time_round(jobs_per_round, producers, [&](long count) {
      for (long i = 0; i < count; ++i)
        peer.post(bench::empty_job());
    }));
    if (bench::tally::sum() - before != jobs_per_round)
      state.SkipWithError("wrong number of jobs");
  }
  state.SetItemsProcessed(state.iterations() * jobs_per_round);
}

template <class Peer>
void bulk_throughput(benchmark::State& state) {
  const int producers = static_cast<int>(state.range(0));
  constexpr long chunk = 1000;
  for (auto _ : state) {
    Peer peer(workers);
    const long before = bench::tally::sum();
    state.SetIterationTime(bench::time_round(jobs_per_round, producers, [&](long count) {
      std::vector<bench::empty_job> jobs(chunk);
      for (long i = 0; i < count; i += chunk)
        peer.post_bulk(std::span(jobs));
    }));
    if (bench::tally::sum() - before != jobs_per_round)
      state.SkipWithError("wrong number of jobs");
  }
  state.SetItemsProcessed(state.iterations() * jobs_per_round);
}

void report_percentiles(benchmark::State& state, std::vector<double>& microseconds) {
  std::sort(microseconds.begin(), microseconds.end());
  const auto at = [&](double share) {
    return microseconds[static_cast<std::size_t>(share *
                                                 static_cast<double>(microseconds.size() - 1))];
  };
  state.counters["p50_us"] = at(0.5);
  state.counters["p90_us"] = at(0.9);
  state.counters["p99_us"] = at(0.99);
}

template <class Peer>
void round_trip(benchmark::State& state) {
  constexpr int trips = 20'000;
  std::vector<double> times;
  for (auto _ : state) {
    Peer peer(workers);
    times.clear();
    long sum = 0;
    const auto start = clock_type::now();
    for (int i = 0; i < trips; ++i) {
      const auto before = clock_type::now();
      sum += peer.round_trip([i] { return i; });
      times.push_back(seconds(clock_type::now() - before) * 1e6);
    }
    state.SetIterationTime(seconds(clock_type::now() - start));
    if (sum != static_cast<long>(trips) * (trips - 1) / 2)
      state.SkipWithError("wrong results");
  }
  report_percentiles(state, times);
  state.SetItemsProcessed(state.iterations() * trips);
}

template <class Peer>
void wake_up(benchmark::State& state) {
  constexpr int samples = 500;
  std::vector<double> times;
  for (auto _ : state) {
    Peer peer(workers);
    times.clear();
    double sum = 0;
    for (int i = 0; i < samples; ++i) {
      std::this_thread::sleep_for(1ms); // until all workers sleep
      std::atomic<clock_type::rep> started{0};
      const auto before = clock_type::now();
      peer.post([&started] { started = clock_type::now().time_since_epoch().count(); });
      while (started == 0)
        std::this_thread::yield();
      const auto latency = clock_type::time_point(clock_type::duration(started)) - before;
      times.push_back(seconds(latency) * 1e6);
      sum += seconds(latency);
    }
    state.SetIterationTime(sum);
  }
  report_percentiles(state, times);
}

/// CPU time of the process without the calling thread, which only watches.
double cpu_seconds_of_others() {
  const auto of = [](int who) {
    rusage usage{};
    getrusage(who, &usage);
    const auto seconds_of = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  };
  return of(RUSAGE_SELF) - of(RUSAGE_THREAD);
}

template <class Peer>
void idle_cpu(benchmark::State& state) {
  for (auto _ : state) {
    Peer peer(workers);
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
void add() {
  const auto name = [](const char* question) { return std::string(question) + "/" + Peer::name; };
  const auto set = [](benchmark::internal::Benchmark* b) {
    return b->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
  };
  for (const int producers : {1, 2, 4}) {
    set(benchmark::RegisterBenchmark(name("throughput").c_str(), throughput<Peer>))->Arg(producers);
    if constexpr (Peer::has_bulk)
      set(benchmark::RegisterBenchmark(name("bulk_throughput").c_str(), bulk_throughput<Peer>))
          ->Arg(producers);
  }
  set(benchmark::RegisterBenchmark(name("round_trip").c_str(), round_trip<Peer>));
  set(benchmark::RegisterBenchmark(name("wake_up").c_str(), wake_up<Peer>));
  set(benchmark::RegisterBenchmark(name("idle_cpu").c_str(), idle_cpu<Peer>));
}

} // namespace

int main(int argc, char** argv) {
  add<bench::weir_runtime>();
  add<bench::asio_pool>();
  add<bench::moodycamel_pool>();
  add<bench::mutex_pool>();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
