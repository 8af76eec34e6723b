// SPDX-License-Identifier: MIT
// autoscale_pool: the policies, against recorded steps of the Python original and row by row; the
// timer that takes the steps.
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;
using test::code_of;

namespace {

/// Applies a policy to a pool that exists only as a number.
class model {
 public:
  model(weir::autoscale_policy policy, std::size_t min, std::size_t max, std::size_t size,
        std::size_t length = 20)
      : policy_(std::move(policy)), min_(min), max_(max), size_(size), length_(length) {}

  std::ptrdiff_t step(std::size_t waiting) {
    if (samples_.size() == length_)
      samples_.erase(samples_.begin());
    weir::autoscale_sample now;
    now.waiting = waiting;
    now.size = size_;
    samples_.push_back(now);
    weir::autoscale_input in;
    in.window = samples_;
    in.size = size_;
    in.min = min_;
    in.max = max_;
    in.since_grown = grown_;
    in.since_shrunk = shrunk_;
    last = policy_(in);
    size_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(size_) + last.delta);
    const auto later = [](std::size_t n) { return n == weir::autoscale_input::never ? n : n + 1; };
    grown_ = last.delta > 0 ? 1 : later(grown_);
    shrunk_ = last.delta < 0 ? 1 : later(shrunk_);
    return last.delta;
  }
  std::size_t size() const { return size_; }
  void set_size(std::size_t size) { size_ = size; }

  weir::autoscale_decision last;

 private:
  weir::autoscale_policy policy_;
  std::size_t min_;
  std::size_t max_;
  std::size_t size_;
  std::size_t length_;
  std::vector<weir::autoscale_sample> samples_;
  std::size_t grown_ = weir::autoscale_input::never;
  std::size_t shrunk_ = weir::autoscale_input::never;
};

} // namespace

TEST_CASE("D36: upstream_exact replays every recorded step", "[autoscale]") {
  std::ifstream csv(WEIR_FIXTURES "/autoscale_golden.csv");
  std::string line;
  REQUIRE(std::getline(csv, line));
  REQUIRE(line.starts_with("series,min,max,cache_len,step,size_before,waiting,delta,size_after"));
  std::optional<model> pool;
  int steps = 0;
  int wrong = 0;
  while (std::getline(csv, line)) {
    std::stringstream fields(line);
    std::vector<long> v;
    for (std::string field; std::getline(fields, field, ',');)
      v.push_back(std::stol(field));
    REQUIRE(v.size() == 9);
    const auto at = [&](std::size_t i) { return static_cast<std::size_t>(v[i]); };
    if (v[4] == 0)
      pool.emplace(weir::policies::upstream_exact, at(1), at(2), at(5), at(3));
    if (pool->size() != at(5)) {
      ++wrong;
      pool->set_size(at(5));
    }
    const auto delta = pool->step(at(6));
    if (delta != v[7]) {
      ++wrong;
      UNSCOPED_INFO("series " << v[0] << " step " << v[4] << ": " << delta << " for " << v[7]);
    }
    ++steps;
  }
  CHECK(wrong == 0);
  CHECK(steps == 2580);
}

TEST_CASE("D36: upstream_exact does not take a rounding error for a rising load", "[autoscale]") {
  // The means of equal scores are those scores. A plain sum of doubles scales up at steps 9 to 12.
  model pool(weir::policies::upstream_exact, 10, 20, 10);
  for (int i = 0; i < 40; ++i)
    CHECK(pool.step(7) == 0);
}

TEST_CASE("1B.8: upstream_exact on the vectors of the specification", "[autoscale]") {
  model first(weir::policies::upstream_exact, 3, 8, 8);
  for (const auto expected : {-1, -1, -1, -1, -1, 0, 0})
    CHECK(first.step(0) == expected);
  model second(weir::policies::upstream_exact, 4, 64, 4);
  for (const auto expected : {36, 15, 6, 2, 1, 0})
    CHECK(second.step(1000) == expected);
  model exactly_two(weir::policies::upstream_exact, 3, 8, 3);
  CHECK(exactly_two.step(6) == 2);
  CHECK(exactly_two.step(6) == 1);
  model long_idle(weir::policies::upstream_exact, 2, 65, 64);
  int intervals = 0;
  while (long_idle.size() > 2 && intervals < 100) {
    (void)long_idle.step(0);
    ++intervals;
  }
  CHECK(intervals == 62);
}

TEST_CASE("B-12: the mended policy gives a rising backlog everything at once", "[autoscale]") {
  model pool(weir::policies::mended, 3, 103, 3);
  CHECK(pool.step(9) == 60); // one sample is no rise
  CHECK(pool.size() == 63);
  CHECK(pool.step(200) == 40);
  CHECK(pool.last.accumulating);
  CHECK(pool.size() == 103);
  CHECK(pool.step(400) == 0);
  // As large, but not rising.
  model steady(weir::policies::mended, 3, 103, 3);
  CHECK(steady.step(1000) == 60);
  CHECK(steady.step(1000) == 24);
  CHECK_FALSE(steady.last.accumulating);
}

TEST_CASE("B-12: the mended policy leaves a steady partial load alone", "[autoscale]") {
  model pool(weir::policies::mended, 3, 20, 10);
  for (int i = 0; i < 100; ++i)
    CHECK(pool.step(4) == 0);
  CHECK(pool.size() == 10);
}

TEST_CASE("B-12: the mended policy shrinks an idle pool to its minimum and stays there",
          "[autoscale]") {
  model pool(weir::policies::mended, 2, 64, 64);
  int steps = 0;
  while (pool.size() > 2 && steps < 100) {
    CHECK(pool.step(0) <= 0);
    ++steps;
  }
  CHECK(pool.size() == 2);
  CHECK(steps < 62);
  for (int i = 0; i < 50; ++i)
    CHECK(pool.step(0) == 0);
}

TEST_CASE("B-12: the mended policy also shrinks by windows of one sample", "[autoscale]") {
  // Of its own accord the pool takes no step, during which step_now() would take none.
  weir::manual_clock clock(weir::manual_clock::moves::by_hand);
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  weir::autoscale_pool<> pool{rt, {.min_size = 1, .max_size = 9, .auto_scale_cache_len = 1}};
  pool.scale(8);
  for (int i = 0; i < 8; ++i)
    (void)pool.step_now();
  CHECK(pool.target_size() == 1);
}

TEST_CASE("B-12: the mended policy does not shrink right after it has grown", "[autoscale]") {
  model pool(weir::policies::mended, 3, 20, 3);
  CHECK(pool.step(3) > 0);
  const auto grown = pool.size();
  CHECK(pool.step(0) == 0);
  CHECK(pool.step(0) == 0);
  CHECK(pool.step(0) == 0);
  CHECK(pool.step(0) < 0);
  CHECK(pool.size() < grown);
}

TEST_CASE("D37: bounds that are none are refused, and the default maximum is 5 more",
          "[autoscale]") {
  weir::runtime rt{{.workers = 1}};
  for (const std::size_t most : {1U, 3U}) {
    CHECK_THROWS_WITH(weir::autoscale_pool<>(rt, {.min_size = 3, .max_size = most}),
                      "max_size must bigger than min_size");
  }
  CHECK(code_of([&] { weir::autoscale_pool<> none(rt, {.min_size = 0}); }) ==
        weir::errc::invalid_option);
  CHECK(code_of([&] { weir::autoscale_pool<> none(rt, {.auto_scale_interval = 0s}); }) ==
        weir::errc::invalid_option);
  CHECK(code_of([&] { weir::autoscale_pool<> none(rt, {.auto_scale_cache_len = 0}); }) ==
        weir::errc::invalid_option);
  CHECK(code_of([&] { weir::autoscale_pool<> none(rt, {.policy = nullptr}); }) ==
        weir::errc::invalid_option);
  weir::autoscale_pool<> pool(rt, {.min_size = 4});
  CHECK(pool.min_size() == 4);
  CHECK(pool.max_size() == 9);
  CHECK(pool.size() == 4);
}

TEST_CASE("1B.7: scale of an autoscale_pool keeps its bounds", "[autoscale]") {
  weir::runtime rt{{.workers = 1}};
  weir::autoscale_pool<> pool(rt, {.min_size = 3, .max_size = 8});
  CHECK(pool.scale(2) == 5);
  CHECK(pool.size() == 5);
  CHECK(pool.scale(100) == 8);
  CHECK(pool.scale(-100) == 3);
  CHECK(pool.size() == 3);
  CHECK(pool.scale(-1) == 3);
  CHECK(pool.target_size() == 3);
}

TEST_CASE("D38, B-13: closing an autoscale_pool before its start, and twice, is no error",
          "[autoscale]") {
  weir::runtime rt{{.workers = 2}};
  weir::autoscale_pool<weir::priority> pool(rt, {.started = false});
  CHECK(pool.paused());
  CHECK(pool.size() == 0);
  rt.block_on(pool.close());
  rt.block_on(pool.close());
  CHECK(pool.closed());
  pool.start();
  CHECK(pool.size() == 3);
  CHECK(rt.block_on(pool.submit([] { return 5; })) == 5);
  rt.block_on(pool.close());
  pool.close_nowait();
  CHECK(pool.size() == 0);
}

TEST_CASE("step_now follows the backlog, and the pool uses what it gets", "[autoscale]") {
  weir::runtime rt{{.workers = 2}};
  weir::autoscale_pool<> pool(
      rt, {.min_size = 3, .max_size = 8, .policy = weir::policies::upstream_exact});
  weir::event open;
  std::atomic<int> inside{0};
  const auto body = [](weir::event& door, std::atomic<int>& in) -> weir::task<> {
    ++in;
    co_await door.wait();
    --in;
  };
  std::vector<weir::handle<void>> handles;
  for (int i = 0; i < 103; ++i)
    handles.push_back(pool.submit_nowait(body, std::ref(open), std::ref(inside)));
  test::eventually([&] { return inside == 3; });
  CHECK(pool.waiting_tasks_number() == 100);
  CHECK(pool.step_now() == 3); // 100/3 +3 6
  test::eventually([&] { return inside == 6; });
  CHECK(pool.step_now() == 2);
  test::eventually([&] { return inside == 8; });
  CHECK(pool.step_now() == 0);
  open.set();
  for (auto& h : handles)
    h.get();
  test::eventually([&] { return pool.waiting_tasks_number() == 0; });
  CHECK(pool.step_now() == -2);                       // 0/8
  test::eventually([&] { return pool.size() == 6; }); // slots may still be on their way out
}

TEST_CASE("the timer takes the first step after one interval, then one each", "[autoscale]") {
  weir::manual_clock clock(weir::manual_clock::moves::by_hand);
  weir::runtime rt{{.workers = 1, .clock = &clock}};
  std::atomic<int> steps{0};
  const auto policy = [&](const weir::autoscale_input& in) {
    ++steps;
    weir::autoscale_decision more;
    more.delta = in.size < 6 ? 1 : 0;
    return more;
  };
  weir::autoscale_pool<> pool(rt, {.min_size = 3, .auto_scale_interval = 10s, .policy = policy});
  clock.advance(9s);
  CHECK(steps == 0);
  clock.advance(1s);
  CHECK(steps == 1);
  CHECK(pool.size() == 4);
  clock.advance(35s);
  CHECK(steps == 4);
  CHECK(pool.size() == 6);
  auto end = pool.close();
  clock.advance(100s);
  CHECK(steps == 4);
  rt.block_on(std::move(end));
  // Started again, it waits for a whole interval again.
  pool.start();
  clock.advance(9s);
  CHECK(steps == 4);
  clock.advance(1s);
  CHECK(steps == 5);
}

TEST_CASE("B-13: a policy that throws is logged and asked again", "[autoscale]") {
  weir::runtime rt{{.workers = 1}};
  int calls = 0;
  std::vector<std::string> lines;
  {
    weir::autoscale_pool<> pool(rt,
                                {.policy =
                                     [&](const weir::autoscale_input&) {
                                       if (++calls == 1)
                                         throw std::runtime_error("no idea");
                                       weir::autoscale_decision more;
                                       more.delta = 2;
                                       return more;
                                     },
                                 .log = [&](weir::log_level, std::string_view,
                                            std::string_view line) { lines.emplace_back(line); }});
    CHECK(pool.step_now() == 0);
    CHECK(pool.step_now() == 2);
    CHECK(pool.size() == 5);
    rt.block_on(pool.close());
  }
  CHECK(lines == std::vector<std::string>{"auto_scale_worker starting",
                                          "the policy of an autoscale_pool has thrown: no idea",
                                          "auto_scale_worker closed"});
}

TEST_CASE("1B.8: a backlog that outgrows the pool is warned of", "[autoscale]") {
  weir::runtime rt{{.workers = 1}};
  std::vector<std::string> lines;
  weir::autoscale_pool<> pool(
      rt, {.min_size = 1,
           .max_size = 100,
           .log = [&](weir::log_level level, std::string_view, std::string_view line) {
             if (level == weir::log_level::warning)
               lines.emplace_back(line);
           }});
  test::gate door;
  auto blocker = rt.submit([&] { door.pass(); }); // nothing starts meanwhile
  std::vector<weir::handle<void>> handles;
  const auto add = [&](int count) {
    for (int i = 0; i < count; ++i)
      handles.push_back(pool.submit_nowait([] {}));
  };
  std::size_t seen = 0;
  for (int i = 1; i <= 6 && seen != 100; ++i) {
    add(1000 * i * i * i);
    (void)pool.step_now();
    seen = pool.target_size();
  }
  CHECK(seen == 100);
  door.open();
  for (auto& h : handles)
    h.get();
  rt.block_on(pool.close());
  REQUIRE(lines.size() >= 2);
  CHECK(lines[0] == "auto_scale_worker starting");
  CHECK(lines[1] == "Task accumulation!");
}

TEST_CASE("a pool without slots is given its minimum by a step", "[autoscale]") {
  weir::runtime rt{{.workers = 1}};
  weir::autoscale_pool<> pool(rt, {.started = false});
  CHECK(pool.step_now() == 0); // not started: paused
  pool.resume();
  CHECK(pool.step_now() == 3);
  CHECK(pool.size() == 3);
}
