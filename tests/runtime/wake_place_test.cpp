// SPDX-License-Identifier: MIT
// wake_place: where a worker wakes, and that its affinity mask is its own again afterwards.
#include <weir/fork_join.hpp>
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch.hpp>
#include <parker.hpp>
#include <sched.h>
#include <scheduler.hpp>
#include <support/support.hpp>
#include <unistd.h>
#include <wake_place.hpp>

using namespace std::chrono_literals;

namespace {

using weir::detail::placed_wakes;
using weir::detail::wake_place;

cpu_set_t mask_of(pid_t thread) {
  cpu_set_t mask;
  if (sched_getaffinity(thread, sizeof mask, &mask) != 0)
    throw std::runtime_error("sched_getaffinity failed");
  return mask;
}

void set_mask(pid_t thread, const cpu_set_t& mask) {
  if (sched_setaffinity(thread, sizeof mask, &mask) != 0)
    throw std::runtime_error("sched_setaffinity failed");
}

/// The CPUs of a mask.
std::vector<std::size_t> cpus_of(const cpu_set_t& mask) {
  std::vector<std::size_t> found;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask))
      found.push_back(cpu);
  }
  return found;
}

cpu_set_t only(std::size_t cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  return mask;
}

bool equal(const cpu_set_t& a, const cpu_set_t& b) {
  return CPU_EQUAL(&a, &b);
}

/// Keeps the calling thread on one CPU for as long as it lives.
class pinned {
 public:
  explicit pinned(std::size_t cpu) : before_(mask_of(0)) { set_mask(0, only(cpu)); }
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;
  ~pinned() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

/// A thread that sleeps once and says where it woke, and which mask it has after it has arrived.
class sleeper {
 public:
  explicit sleeper(placed_wakes& placed) : placed_(placed) {
    bound_.get_future().wait();
    test::eventually([&] { return bed_.sleeps(); });
  }
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;
  ~sleeper() { wake(); }

  [[nodiscard]] pid_t thread() const { return id_; }
  [[nodiscard]] wake_place& place() { return place_; }
  void wake() {
    if (!thread_.joinable())
      return;
    bed_.unpark();
    thread_.join();
  }
  // After wake().
  [[nodiscard]] std::size_t woke_on() const { return woke_on_; }
  [[nodiscard]] const cpu_set_t& mask() const { return mask_; }

 private:
  void run() {
    id_ = gettid();
    place_.bind();
    bound_.set_value();
    bed_.park();
    woke_on_ = static_cast<std::size_t>(sched_getcpu());
    place_.arrive(placed_);
    place_.arrive(placed_); // nobody has prepared this one
    mask_ = mask_of(0);
  }

  placed_wakes& placed_;
  weir::detail::parker bed_;
  wake_place place_;
  std::promise<void> bound_;
  pid_t id_ = 0;
  std::size_t woke_on_ = 0;
  cpu_set_t mask_{};
  std::thread thread_{[this] { run(); }};
};

/// A sleeper, and its waker: the calling thread, which stays on one CPU meanwhile.
struct wake_up {
  explicit wake_up(std::size_t wakers_cpu, bool allowed = true)
      : placed(allowed), here(wakers_cpu) {}

  void prepare() { woken.place().prepare(placed); }
  void prepare_placed() {
    placed.begin();
    prepare();
  }

  placed_wakes placed;
  sleeper woken{placed}; // has the whole mask: the waker is not pinned yet
  pinned here;
};

/// How many wake-ups would be placed.
std::size_t left_of(placed_wakes& placed) {
  std::size_t count = 0;
  while (placed.take())
    ++count;
  return count;
}

} // namespace

TEST_CASE("a placed sleeper wakes beside its waker and has its mask again", "[wake_place]") {
  const cpu_set_t all = mask_of(0);
  for (const std::size_t cpu : cpus_of(all)) {
    wake_up it(cpu);
    it.prepare_placed();
    it.woken.wake();
    CHECK(equal(it.woken.mask(), all));
    if (CPU_COUNT(&all) > 1)
      CHECK(it.woken.woke_on() != cpu);
    CHECK(left_of(it.placed) == placed_wakes::streak - 1);
  }
}

TEST_CASE("a mask that somebody changes meanwhile stays as it is", "[wake_place]") {
  for (const std::size_t cpu : cpus_of(mask_of(0))) {
    wake_up it(cpu);
    it.prepare_placed();
    set_mask(it.woken.thread(), only(cpu));
    it.woken.wake();
    CHECK(equal(it.woken.mask(), only(cpu)));
    CHECK(left_of(it.placed) == placed_wakes::streak - 1);
  }
}

TEST_CASE("a placed sleeper that was kept to some CPUs is kept to them again", "[wake_place]") {
  const auto cpus = cpus_of(mask_of(0));
  if (cpus.size() < 3) {
    WARN("not tested: that needs 3 CPUs");
    return;
  }
  cpu_set_t some = only(cpus[0]);
  CPU_SET(cpus[1], &some);
  wake_up it(cpus[0]);
  set_mask(it.woken.thread(), some);
  it.prepare_placed();
  it.woken.wake();
  CHECK(it.woken.woke_on() == cpus[1]);
  CHECK(equal(it.woken.mask(), some));
}

TEST_CASE("a sleeper that may run on its waker's CPU only is left there", "[wake_place]") {
  const std::size_t cpu = cpus_of(mask_of(0)).front();
  wake_up it(cpu);
  set_mask(it.woken.thread(), only(cpu));
  it.prepare_placed();
  CHECK(equal(mask_of(it.woken.thread()), only(cpu)));
  it.woken.wake();
  CHECK(equal(it.woken.mask(), only(cpu)));
  CHECK(left_of(it.placed) == placed_wakes::streak - 1);
}

TEST_CASE("wake-ups are placed once one has begun on its waker's CPU", "[wake_place]") {
  const auto cpus = cpus_of(mask_of(0));
  for (const std::size_t cpu : cpus) {
    wake_up it(cpus.front());
    set_mask(it.woken.thread(), only(cpu));
    it.prepare();
    it.woken.wake();
    CHECK(it.woken.woke_on() == cpu);
    CHECK(left_of(it.placed) == (cpu == cpus.front() ? placed_wakes::streak : 0));
  }
}

TEST_CASE("no wake-up is placed where that is not allowed", "[wake_place]") {
  const cpu_set_t all = mask_of(0);
  const std::size_t cpu = cpus_of(all).front();
  wake_up it(cpu, false);
  it.prepare_placed();
  CHECK(equal(mask_of(it.woken.thread()), all));
  set_mask(it.woken.thread(), only(cpu));
  it.woken.wake();
  CHECK(it.woken.woke_on() == cpu);
  CHECK(left_of(it.placed) == 0);
}

TEST_CASE("a wake-up by one who does not go on is not looked at", "[wake_place]") {
  const std::size_t cpu = cpus_of(mask_of(0)).front();
  wake_up it(cpu);
  set_mask(it.woken.thread(), only(cpu));
  it.woken.wake();
  CHECK(it.woken.woke_on() == cpu);
  CHECK(left_of(it.placed) == 0);
}

TEST_CASE("workers that forks have woken have their masks again", "[wake_place]") {
  const cpu_set_t all = mask_of(0);
  for (const std::size_t workers : {2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers, .spin = 0ns, .place_wakes = true}};
    auto& scheduler = rt.scheduler();
    // Until a wake-up has been placed: a worker that does not quite sleep yet is woken without.
    bool placed = false;
    for (int round = 0; round < test::rounds(100) || !placed; ++round) {
      std::atomic<int> changed{0};
      rt.submit([&] {
          test::eventually([&] { return scheduler.idle().calls_for_a_searcher(); });
          scheduler.placed().begin();
          std::atomic<int> here{0};
          const auto side = [&] {
            changed += equal(mask_of(0), all) ? 0 : 1;
            // Each waits for the other one, which therefore is on another worker.
            ++here;
            test::eventually([&] { return here == 2; });
          };
          weir::fork_join(side, side);
        }).get();
      REQUIRE(changed == 0);
      placed = left_of(scheduler.placed()) < placed_wakes::streak || placed;
    }
  }
}

TEST_CASE("no wake-up of a runtime is placed unless that was asked for", "[wake_place]") {
  weir::runtime rt{{.workers = 1}};
  rt.scheduler().placed().begin();
  CHECK(left_of(rt.scheduler().placed()) == 0);
}
