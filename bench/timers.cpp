// SPDX-License-Identifier: MIT
// A million timers: arming, firing and cancelling them, and a million sleeping coroutines.
// Deadlines are the same pseudo-random ones for all peers, and every run checks how many fired or
// were cancelled. `timer` is the timer alone (weir's node, Asio's steady_timer with a callback);
// `sleeper` is a coroutine that waits for one, on both sides.
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
constexpr long count = 1'000'000;
/// Firing begins this long after arming has begun, and all deadlines lie in a window after that.
constexpr auto lead = 5s;
constexpr long window_us = 10'000;

std::atomic<long> fired{0};
std::atomic<long> cancelled{0};

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

void wait_for(const std::atomic<long>& counter) {
  // Short sleeps, so that the watcher takes no CPU from the workers.
  while (counter < count)
    std::this_thread::sleep_for(100us);
}

/// Arms, then measures either how long all take to fire after the first deadline, or cancelling.
template <class Peer>
void run(benchmark::State& state, bool fires) {
  for (auto _ : state) {
    fired = cancelled = 0;
    Peer peer;
    deadlines when(fires);
    const auto start = clock_type::now();
    peer.arm(when);
    state.counters["arm_s"] = seconds(clock_type::now() - start);
    if (fires) {
      if (clock_type::now() > when.first())
        state.SkipWithError("arming took too long for this machine");
      std::this_thread::sleep_until(when.first());
      const auto first = clock_type::now();
      wait_for(fired);
      state.SetIterationTime(seconds(clock_type::now() - first));
    } else {
      const auto first = clock_type::now();
      peer.cancel();
      state.SetIterationTime(seconds(clock_type::now() - first));
      if (cancelled != count || fired != 0)
        state.SkipWithError("wrong number of cancelled timers");
    }
  }
  state.SetItemsProcessed(state.iterations() * count);
}

class weir_timers {
 public:
  void arm(deadlines& when) {
    on_.submit([&] {
         for (auto& n : nodes_)
           n.arm(on_.scheduler(), weir::detail::this_thread(), when.next());
       })
        .get();
  }
  void cancel() {
    for (auto& n : nodes_)
      cancelled += n.cancel() ? 1 : 0;
  }

 private:
  struct node : weir::detail::timer, weir::detail::job {
    node() : timer(&fire_node), job(&count_node) {}
    static weir::detail::job* fire_node(timer& t, weir::detail::thread_state&) noexcept {
      return static_cast<node*>(&t);
    }
    static void count_node(job&, weir::detail::thread_state&) noexcept { ++fired; }
  };
  // Before the runtime, so that it goes after it.
  std::deque<node> nodes_ = std::deque<node>(count);
  weir::runtime on_{{.workers = workers}};
};

class asio_timers {
 public:
  ~asio_timers() { pool_.join(); }
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i) {
      timers_.emplace_back(pool_, when.next());
      timers_.back().async_wait([](const asio::error_code& error) {
        if (error)
          ++cancelled;
        else
          ++fired;
      });
    }
  }
  void cancel() {
    for (auto& t : timers_)
      t.cancel();
    wait_for(cancelled);
  }

 private:
  asio::thread_pool pool_{workers};
  std::deque<asio::steady_timer> timers_;
};

weir::task<> sleep_in_weir(clock_type::time_point until) {
  try {
    co_await weir::sleep_until(until);
    ++fired;
  } catch (const weir::task_cancelled&) {
    ++cancelled;
  }
}

class weir_sleepers {
 public:
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i)
      handles_.push_back(on_.spawn(sleep_in_weir(when.next())));
    while (on_.stats().total.run < static_cast<std::uint64_t>(count))
      std::this_thread::sleep_for(1ms);
  }
  void cancel() {
    for (auto& h : handles_)
      (void)h.request_stop();
    wait_for(cancelled);
  }

 private:
  weir::runtime on_{{.workers = workers}};
  std::vector<weir::handle<void>> handles_;
};

class asio_sleepers {
 public:
  ~asio_sleepers() { pool_.join(); }
  void arm(deadlines& when) {
    for (long i = 0; i < count; ++i) {
      timers_.emplace_back(pool_, when.next());
      asio::co_spawn(pool_, sleep(timers_.back(), waiting_), asio::detached);
    }
    wait_for(waiting_);
  }
  void cancel() {
    for (auto& t : timers_)
      t.cancel();
    wait_for(cancelled);
  }

 private:
  static asio::awaitable<void> sleep(asio::steady_timer& timer, std::atomic<long>& waiting) {
    try {
      ++waiting;
      co_await timer.async_wait(asio::use_awaitable);
      ++fired;
    } catch (const std::system_error&) {
      ++cancelled;
    }
  }
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
  add<weir_timers>("timer_fire/weir", "timer_cancel/weir");
  add<asio_timers>("timer_fire/asio", "timer_cancel/asio");
  add<weir_sleepers>("sleeper_fire/weir", "sleeper_cancel/weir");
  add<asio_sleepers>("sleeper_fire/asio", "sleeper_cancel/asio");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
