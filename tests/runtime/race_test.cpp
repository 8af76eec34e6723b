// SPDX-License-Identifier: MIT
// Resizing, stopping, draining, destroying, dropping handles, timers that fire, and cancelling:
// each of them against each other.
#include <weir/weir.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

/// What happens to one task. Plain counts would hide a task that runs twice behind one that is
/// lost.
struct fate {
  std::atomic<int> started{0};
  std::atomic<int> destroyed{0};
};

/// Goes with a task's callable, and counts its end.
class tag {
 public:
  explicit tag(fate& of) noexcept : of_(&of) {}
  tag(tag&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  ~tag() {
    if (of_ != nullptr)
      ++of_->destroyed;
  }
  void start() const { ++of_->started; }

 private:
  fate* of_;
};

weir::task<> sleeps(tag mine, std::chrono::nanoseconds time) {
  mine.start();
  co_await weir::sleep_for(time);
}

/// What each of the two sides has for itself, and what both share.
constexpr std::size_t own_tasks = 3;
constexpr std::size_t shared_tasks = 6;
constexpr std::size_t all_tasks = shared_tasks + 2 * own_tasks;

/// The tasks of one race: callables and sleepers.
struct batch {
  batch(weir::runtime& rt, std::chrono::nanoseconds timers) {
    for (std::size_t i = 0; i < all_tasks; ++i) {
      handles[i] = i % 3 == 0 ? rt.submit([mine = tag(fates[i])] { mine.start(); })
                              : rt.spawn(sleeps(tag(fates[i]), i % 3 == 1 ? timers : timers / 2));
    }
  }

  std::array<fate, all_tasks> fates;
  std::array<weir::handle<void>, all_tasks> handles;
};

/// One side of a race.
struct side {
  int number; // 0 or 1
  int round;
  weir::manual_clock* clock;
  /// The runtime: a share of it, or a mere reference.
  std::shared_ptr<weir::runtime> rt;
  batch* tasks = nullptr;
};

void resize(side& s) {
  try {
    s.rt->resize(1 + static_cast<std::size_t>(s.round + s.number) % 3);
  } catch (const weir::error& e) {
    if (e.code() != weir::errc::stopped)
      throw;
  }
}

void stop(side& s) {
  if (s.rt->on_worker())
    s.rt->request_stop();
  else
    s.rt->stop();
}

void drain(side& s) {
  if (s.rt->on_worker())
    s.rt->request_drain();
  else
    s.rt->drain();
}

/// Whoever drops the last share destroys the runtime.
void destroy(side& s) {
  s.rt.reset();
}

void drop(side& s) {
  for (std::size_t i = 0; i < own_tasks; ++i)
    s.tasks->handles[shared_tasks + static_cast<std::size_t>(s.number) * own_tasks + i] = {};
}

/// Without a manual clock the timers are so short that they fire by themselves.
void fire(side& s) {
  if (s.clock != nullptr)
    s.clock->advance(10h);
}

void cancel(side& s) {
  for (std::size_t i = 0; i < shared_tasks; ++i)
    (void)s.tasks->handles[i].request_stop();
}

struct action {
  const char* name;
  void (*run)(side&);
  bool ends;         // the runtime takes nothing afterwards
  bool uses_runtime; // the others touch only what may outlive it
};

constexpr action actions[] = {
    {"resize", resize, false, true},  {"stop", stop, true, true},   {"drain", drain, true, true},
    {"destroy", destroy, true, true}, {"drop", drop, false, false}, {"fire", fire, false, false},
    {"cancel", cancel, false, false},
};

constexpr std::size_t race_workers[] = {1, 2, 3, 16};

/// A second thread that does one thing after the other, each together with the first.
class partner {
 public:
  partner() : thread_([this] { loop(); }) {}
  ~partner() {
    over_ = true;
    turn_.fetch_add(1);
    thread_.join();
  }
  partner(const partner&) = delete;
  partner& operator=(const partner&) = delete;

  template <class Mine, class Theirs>
  void race(Mine&& mine, Theirs&& theirs) {
    const std::function<void()> work = std::forward<Theirs>(theirs);
    work_ = &work;
    const int started = turn_.fetch_add(1) + 1;
    test::eventually([&] { return met_ == started; });
    mine();
    test::eventually([&] { return done_ == started; });
  }

 private:
  void loop() {
    for (int next = 1;; ++next) {
      test::eventually([&] { return turn_ == next; });
      if (over_)
        return;
      met_ = next;
      (*work_)();
      done_ = next;
    }
  }

  std::atomic<int> turn_{0};
  std::atomic<int> met_{0};
  std::atomic<int> done_{0};
  std::atomic<bool> over_{false};
  const std::function<void()>* work_ = nullptr;
  std::thread thread_;
};

/// How many of the tasks, which have all ended, did so otherwise than once.
int wrong_fates(batch& tasks) {
  int wrong = 0;
  for (std::size_t i = 0; i < all_tasks; ++i) {
    auto& handle = tasks.handles[i];
    const int started = tasks.fates[i].started;
    wrong += started > 1 || tasks.fates[i].destroyed != 1;
    if (!handle.valid())
      continue;
    if (!handle.done()) {
      ++wrong;
      continue;
    }
    const auto how = test::ending_of(handle);
    wrong += how == test::ending::error || (how == test::ending::value && started != 1);
  }
  return wrong;
}

/// Lets `a` happen here and `b` on another thread, or `b` in a task of the runtime.
/// \return how many things went wrong.
int race(partner& other, std::size_t workers, const action& a, const action& b, int round) {
  const bool timed = a.run == fire || b.run == fire;
  const bool in_task = round % 2 == 1 && b.run != fire;
  const bool destroyed_in_task = in_task && b.run == destroy && !a.uses_runtime;
  std::optional<weir::manual_clock> manual;
  if (timed && round % 4 >= 2 && !destroyed_in_task)
    manual.emplace(weir::manual_clock::moves::by_hand);
  // A drain waits for all sleepers, and nobody stops them.
  const bool short_timers = !manual && (timed || a.run == drain || b.run == drain);
  const auto timers =
      short_timers ? std::chrono::nanoseconds(round % 40 * 1000) : std::chrono::nanoseconds(1h);

  weir::runtime_options options;
  options.workers = workers;
  options.max_workers = std::max<std::size_t>(workers, 3);
  options.clock = manual ? &*manual : nullptr;
  auto rt = std::make_shared<weir::runtime>(options);
  std::vector<std::unique_ptr<batch>> batches;
  const auto share_for = [&rt](const action& one) {
    return one.uses_runtime ? rt : std::shared_ptr<weir::runtime>();
  };
  side left{0, round, options.clock != nullptr ? &*manual : nullptr, share_for(a)};
  side right{1, round, left.clock, share_for(b)};
  const bool destroys = a.run == destroy || b.run == destroy;
  const std::weak_ptr<weir::runtime> watch = rt;
  const int repeats = a.ends || b.ends ? 1 : 4;
  for (int i = 0; i < repeats; ++i) {
    batches.push_back(std::make_unique<batch>(*rt, timers));
    left.tasks = right.tasks = batches.back().get();
    const auto do_right = [&] {
      test::stagger(round * 3 + i);
      b.run(right);
      if (destroys)
        right.rt.reset();
    };
    const auto do_left = [&] {
      test::stagger(round * 7 + i);
      a.run(left);
      if (destroys)
        left.rt.reset();
    };
    if (in_task) {
      std::atomic<int> stage{0};
      // A task needs no share: while it runs the runtime is there.
      if (!destroyed_in_task && right.rt != nullptr)
        right.rt = std::shared_ptr<weir::runtime>(std::shared_ptr<void>(), rt.get());
      rt->post([&] {
        stage = 1;
        test::eventually([&] { return stage == 2; });
        do_right();
        stage = 3;
      });
      test::eventually([&] { return stage == 1; });
      if (destroys)
        rt.reset();
      stage = 2;
      do_left();
      test::eventually([&] { return stage == 3; });
    } else {
      if (destroys)
        rt.reset();
      other.race(do_left, do_right);
    }
  }
  int wrong = 0;
  if (rt != nullptr) {
    rt->stop();
    const auto stats = rt->stats();
    wrong += stats.accepted != stats.ended;
    wrong += stats.accepted != batches.size() * (all_tasks + (in_task ? 1 : 0));
    left.rt.reset();
    right.rt.reset();
    rt.reset();
  }
  wrong += !watch.expired();
  if (destroyed_in_task) { // its workers leave by themselves
    for (auto& f : batches[0]->fates)
      test::eventually([&f] { return f.destroyed > 0; });
    for (auto& handle : batches[0]->handles) {
      if (handle.valid())
        handle.wait();
    }
  }
  for (auto& tasks : batches)
    wrong += wrong_fates(*tasks);
  return wrong;
}

/// Every pair, each with itself too, on each number of workers.
template <class Rounds>
void race_all_pairs(Rounds&& rounds_on) {
  partner other;
  for (const auto workers : race_workers) {
    const int rounds = rounds_on(workers);
    for (const auto* a = std::begin(actions); a != std::end(actions); ++a) {
      for (const auto* b = a; b != std::end(actions); ++b) {
        int wrong = 0;
        for (int round = 0; round < rounds; ++round) {
          const bool swapped = round % 8 >= 4;
          wrong += race(other, workers, swapped ? *b : *a, swapped ? *a : *b, round);
        }
        INFO(a->name << " against " << b->name << " on " << workers);
        CHECK(wrong == 0);
      }
    }
  }
}

} // namespace

TEST_CASE("whatever meets whatever, each task ends once and every runtime ends", "[race][stress]") {
  race_all_pairs([](std::size_t workers) { return workers == 16 || test::sanitized ? 8 : 16; });
}

TEST_CASE("the same, thousands of times for each pair", "[.long]") {
  race_all_pairs([](std::size_t workers) { return workers == 16 ? 100 : 1000; });
}
