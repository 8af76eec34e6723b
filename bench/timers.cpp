// SPDX-License-Identifier: MIT
// A million timers: arming, firing and cancelling them, and 200,000 sleeping coroutines (a million
// goroutines take 20 seconds to go to sleep).
// Deadlines are the same pseudo-random ones for all peers, and every run checks how many fired or
// were cancelled. `sleeper` is a coroutine that waits for one, on both sides. `timer` is the timer
// alone: Asio's steady_timer with a callback beside the node below weir's sleep_until, which has no
// callback to run when it is taken back; so this is no race between things that users choose from.
#include "run_all.hpp"
#include "tally.hpp"
#include "verdict.hpp"

#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <benchmark/benchmark.h>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t workers = 2;
constexpr long timers = 1'000'000;
constexpr long sleepers = 200'000;
/// Timers that fired instead of being cancelled, or the other way round.
std::atomic<long> errors{0};

/// Firing begins this long after arming has begun, and all deadlines lie in a window after that.
constexpr auto lead = 5s;
constexpr long window_us = 10'000;

/// Fired and cancelled timers; only one of the two happens in a run.
using bench::tally;

double seconds(clock_type::duration d) {
  return std::chrono::duration<double>(d).count();
}

class deadlines {
 public:
  /// Near ones for firing, or spread over a quarter of an hour for cancelling.
  explicit deadlines(bool near)
      : from_(clock_type::now() + (near ? clock_type::duration(lead) : clock_type::duration(1h))),
        range_(near ? window_us : 1'000'000'000) {}
  clock_type::time_point next() {
    return from_ + std::chrono::microseconds(random_() % static_cast<unsigned long>(range_));
  }
  clock_type::time_point first() const { return from_; }

 private:
  clock_type::time_point from_;
  long range_;
  std::mt19937 random_{20240101};
};

void wait_for_all(long before, long count) {
  // Short sleeps, so that the watcher takes no CPU from the workers.
  while (tally::sum() - before < count)
    std::this_thread::sleep_for(100us);
}

/// Arms, then measures either how long all take to fire after the first deadline, or cancelling.
template <class Peer>
void run(benchmark::State& state, bool fires) {
  for (auto _ : state) {
    Peer peer(fires);
    deadlines when(fires);
    const long before = tally::sum();
    errors = 0;
    const auto start = clock_type::now();
    peer.arm(when);
    state.counters["arm_s"] = seconds(clock_type::now() - start);
    if (fires) {
      if (clock_type::now() > when.first())
        bench::leave_out(state, "arming took too long for this machine");
      std::this_thread::sleep_until(when.first());
      const auto first = clock_type::now();
      wait_for_all(before, Peer::count);
      state.SetIterationTime(seconds(clock_type::now() - first));
    } else {
      const auto first = clock_type::now();
      peer.cancel();
      wait_for_all(before, Peer::count);
      state.SetIterationTime(seconds(clock_type::now() - first));
    }
    bench::fail_unless(state, tally::sum() - before == Peer::count && errors == 0,
                       "wrong number of timers");
  }
  state.counters["work"] = static_cast<double>(Peer::count);
  state.SetItemsProcessed(state.iterations() * Peer::count);
}

/// Counts what was expected.
void count_end(bool as_expected) noexcept {
  if (!as_expected)
    ++errors;
  tally::count();
}

/// weir's own timer, below what users see.
class weir_nodes {
 public:
  static constexpr long count = timers;
  explicit weir_nodes(bool) {}
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i)
      nodes_.emplace_back().arm(on_.scheduler(), weir::detail::this_thread(), when.next());
  }
  void cancel() {
    for (auto& n : nodes_)
      count_end(n.cancel());
  }

 private:
  struct node : weir::detail::timer, weir::detail::job {
    node() : timer(&fire_node), job(&count_node) {}
    static weir::detail::job* fire_node(timer& t, weir::detail::thread_state&) noexcept {
      return static_cast<node*>(&t);
    }
    static void count_node(job&, weir::detail::thread_state&) noexcept { count_end(true); }
  };
  // Before the runtime, so that it goes after it.
  std::deque<node> nodes_;
  weir::runtime on_{{.workers = workers}};
};

class asio_timers {
 public:
  static constexpr long count = timers;
  explicit asio_timers(bool fires) : fires_(fires) {}
  ~asio_timers() { pool_.join(); }
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i) {
      timers_.emplace_back(pool_, when.next());
      timers_.back().async_wait(
          [fires = fires_](const asio::error_code& error) { count_end(fires == !error); });
    }
  }
  void cancel() {
    for (auto& t : timers_)
      t.cancel();
  }

 private:
  bool fires_;
  asio::thread_pool pool_{workers};
  std::deque<asio::steady_timer> timers_;
};

weir::task<> sleep_in_weir(clock_type::time_point until, bool fires) {
  bool fired = false;
  try {
    co_await weir::sleep_until(until);
    fired = true;
  } catch (const weir::task_cancelled&) {
  }
  count_end(fired == fires);
}

class weir_sleepers {
 public:
  static constexpr long count = sleepers;
  explicit weir_sleepers(bool fires) : fires_(fires) {}
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i)
      handles_.push_back(on_.spawn(sleep_in_weir(when.next(), fires_)));
    while (on_.stats().total.run < static_cast<std::uint64_t>(count))
      std::this_thread::sleep_for(1ms);
  }
  void cancel() {
    for (auto& h : handles_)
      (void)h.request_stop();
  }

 private:
  bool fires_;
  weir::runtime on_{{.workers = workers}};
  std::vector<weir::handle<void>> handles_;
};

class asio_sleepers {
 public:
  static constexpr long count = sleepers;
  explicit asio_sleepers(bool fires) : fires_(fires) {}
  ~asio_sleepers() { pool_.join(); }
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i) {
      timers_.emplace_back(pool_, when.next());
      asio::co_spawn(pool_, sleep(timers_.back(), waiting_, fires_), asio::detached);
    }
    while (waiting_ < count)
      std::this_thread::sleep_for(1ms);
  }
  void cancel() {
    for (auto& t : timers_)
      t.cancel();
  }

 private:
  static asio::awaitable<void> sleep(asio::steady_timer& timer, std::atomic<long>& waiting,
                                     bool fires) {
    bool fired = false;
    try {
      ++waiting;
      co_await timer.async_wait(asio::use_awaitable);
      fired = true;
    } catch (const std::system_error&) {
    }
    count_end(fired == fires);
  }
  bool fires_;
  asio::thread_pool pool_{workers};
  std::deque<asio::steady_timer> timers_;
  std::atomic<long> waiting_{0};
};

template <class Peer>
void add(const char* fire, const char* cancel) {
  const auto set = [](benchmark::internal::Benchmark* b) {
    b->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
  };
  set(benchmark::RegisterBenchmark(fire, [](benchmark::State& s) { run<Peer>(s, true); }));
  set(benchmark::RegisterBenchmark(cancel, [](benchmark::State& s) { run<Peer>(s, false); }));
}

} // namespace

int main(int argc, char** argv) {
  add<weir_nodes>("timer_fire/weir-node", "timer_cancel/weir-node");
  add<asio_timers>("timer_fire/asio", "timer_cancel/asio");
  add<weir_sleepers>("sleeper_fire/weir", "sleeper_cancel/weir");
  add<asio_sleepers>("sleeper_fire/asio", "sleeper_cancel/asio");
  return bench::run_all(argc, argv);
}
