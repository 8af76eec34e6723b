// SPDX-License-Identifier: MIT
// fork_join, parallel_invoke and with_fork_scope: what they promise.
#include <weir/fork_join.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <catch.hpp>
#include <scheduler.hpp>
#include <support/primitives.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

long fib(int n) {
  if (n < 2)
    return n;
  const auto [a, b] = weir::fork_join([=] { return fib(n - 1); }, [=] { return fib(n - 2); });
  return a + b;
}

/// Two pieces of work that each wait until the other one has begun: they end only side by side.
class meeting {
 public:
  void come() {
    ++here_;
    test::eventually([&] { return here_ >= 2; });
  }

 private:
  std::atomic<int> here_{0};
};

/// Runs `f` while `forked` runs on another thread, which has taken it before: then gives its end.
template <class F, class G>
auto beside(F&& f, G&& forked) {
  std::atomic<bool> taken{false};
  return weir::fork_join(
      [&]() -> decltype(auto) {
        test::eventually([&] { return taken.load(); });
        return f();
      },
      [&]() -> decltype(auto) {
        taken = true;
        return forked();
      });
}

/// Counts those that live.
struct counted {
  static inline std::atomic<int> alive{0};
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  ~counted() { --alive; }
  counted& operator=(const counted&) = default;
  counted& operator=(counted&&) = default;
};

/// Its move throws when the time has come.
struct breaks : counted {
  explicit breaks(int moves) : left(moves) {}
  breaks(breaks&& other) : counted(other), left(other.left - 1) { // NOLINT: throws
    if (left < 0)
      throw std::runtime_error("move");
  }
  int left;
};

int seven() {
  return 7;
}

constinit weir::context_key<std::string> request;

std::string seen_request() {
  const std::string* const value = request.get();
  return value == nullptr ? "-" : *value;
}

/// Long enough to be on the heap, so that the sanitizers see who reads it too late.
constexpr const char* name = "a request with a name that is longer than a short string";

/// Descends `depth` forks, each private or not as it comes, and runs `f` at the bottom.
template <class F, class G>
void descend(int depth, F&& f, G&& forked) {
  if (depth == 0) {
    f();
    return;
  }
  weir::fork_join([&] { descend(depth - 1, f, forked); }, forked);
}

/// Forks are refused when the request has returned; until then a few more may start.
void wait_for(const std::atomic<bool>& requested) {
  test::eventually([&] { return requested.load(); });
}

void wait_for_stop() {
  test::eventually([] { return weir::this_task::stop_requested(); });
}

} // namespace

// Results.

TEST_CASE("fork_join gives both results", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    CHECK(rt.submit([] { return fib(20); }).get() == 6765);
    CHECK(std::get<0>(weir::fork_join(rt, [] { return fib(20); }, [] {})) == 6765);
  }
}

TEST_CASE("what fork_join returns", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  static int variable = 5;
  const auto nothing = [] {};
  const auto number = [] { return 1; };
  const auto text = [] { return std::string("x"); };
  const auto reference = []() -> int& { return variable; };
  const auto constant = []() -> const int& { return variable; };
  const auto moved = []() -> std::string&& {
    static std::string kept = "moved";
    return std::move(kept);
  };
  const auto owner = [] { return std::make_unique<int>(3); };
  static_assert(std::is_void_v<decltype(weir::fork_join(nothing, nothing))>);
  static_assert(std::is_void_v<decltype(weir::parallel_invoke(nothing, nothing, nothing))>);
  static_assert(
      std::is_same_v<decltype(weir::fork_join(nothing, number)), std::tuple<std::monostate, int>>);
  static_assert(
      std::is_same_v<decltype(weir::fork_join(reference, constant)),
                     std::tuple<std::reference_wrapper<int>, std::reference_wrapper<const int>>>);
  static_assert(std::is_same_v<decltype(weir::fork_join(moved, owner)),
                               std::tuple<std::string, std::unique_ptr<int>>>);
  static_assert(std::is_same_v<decltype(weir::parallel_invoke(number, nothing, text)),
                               std::tuple<int, std::monostate, std::string>>);
  // Each where the second one is taken and where it is not.
  for (const bool stolen : {false, true}) {
    const bool right = rt.submit([&] {
                           const auto both = [&](auto f, auto g) {
                             return stolen ? beside(f, g) : weir::fork_join(f, g);
                           };
                           bool ok = std::get<1>(both(nothing, number)) == 1;
                           ok &= std::get<0>(both(number, nothing)) == 1;
                           ok &= &std::get<0>(both(reference, text)).get() == &variable;
                           ok &= &std::get<1>(both(text, constant)).get() == &variable;
                           ok &= *std::get<0>(both(owner, owner)) == 3;
                           ok &= *std::get<1>(both(text, owner)) == 3;
                           ok &= std::get<0>(both(text, text)) == "x";
                           return ok;
                         }).get();
    CHECK(right);
  }
  CHECK(std::get<1>(weir::fork_join(rt, nothing, moved)) == "moved");
}

TEST_CASE("parallel_invoke calls all in order unless they are taken", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  std::string order;
  rt.submit([&] {
      weir::parallel_invoke([&] { order += 'a'; }, [&] { order += 'b'; }, [&] { order += 'c'; },
                            [&] { order += 'd'; }, [&] { order += 'e'; });
    }).get();
  CHECK(order == "abcde");
  const auto [a, b, c, d] = weir::parallel_invoke(
      rt, [] { return 1; }, seven, [] { return std::make_unique<int>(3); }, [] {});
  CHECK(a == 1);
  CHECK(b == 7);
  CHECK(*c == 3);
  static_assert(std::is_same_v<decltype(d), const std::monostate>);
}

TEST_CASE("callables are used where they are, or moved", "[fork_join]") {
  struct callable {
    explicit callable(int& count) : copies(&count) {}
    callable(const callable& other) : copies(other.copies) { ++*copies; }
    callable(callable&& other) noexcept : copies(other.copies) {}
    int operator()() & { return 1; }
    int operator()() && { return 2; }
    int* copies;
  };
  weir::runtime rt{{.workers = 2}};
  int copies = 0;
  callable kept(copies);
  const auto [a, b] = weir::fork_join(rt, kept, kept);
  CHECK((a == 1 && b == 1));
  const auto [c, d] = weir::fork_join(rt, callable(copies), callable(copies));
  CHECK((c == 2 && d == 2));
  const auto [e, f, g] =
      weir::parallel_invoke(rt, std::move(kept), callable(copies), callable(copies));
  CHECK((e == 2 && f == 2 && g == 2));
  CHECK(copies == 0);
  const auto [h, i] = weir::fork_join(rt, seven, &seven);
  CHECK((h == 7 && i == 7));
  // Each is called at most once, so that it may give away what it owns.
  auto owned = std::make_unique<int>(4);
  const auto [j, k] =
      weir::fork_join(rt, [owned = std::move(owned)]() mutable { return std::move(owned); }, seven);
  CHECK((*j == 4 && k == 7));
}

TEST_CASE("results and callables are destroyed once", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(200); ++round) {
      weir::fork_join(
          rt, [kept = counted()] { return kept; },
          [kept = counted()] {
            return weir::parallel_invoke([kept] { return kept; }, [kept] {},
                                         [kept] { return kept; });
          });
      try {
        weir::fork_join(
            rt, [kept = counted()] { return kept; },
            [kept = counted()]() -> counted { throw std::runtime_error("x"); });
      } catch (const std::runtime_error&) {
      }
      weir::with_fork_scope(rt, [&](weir::fork_scope& scope) {
        for (int i = 0; i < 5; ++i) {
          scope.fork([kept = counted()] {
            if (kept.alive < 0)
              throw std::runtime_error("never");
          });
        }
      });
    }
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a result whose move throws", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  int thrown = 0;
  int returned = 0;
  for (const bool stolen : {false, true}) {
    for (int moves = 0; moves < 8; ++moves) {
      for (const bool first : {false, true}) {
        const auto one = [=] { return breaks(first ? moves : 100); };
        const auto other = [=] { return breaks(first ? 100 : moves); };
        const bool threw = rt.submit([&] {
                               try {
                                 if (stolen)
                                   (void)beside(one, other);
                                 else
                                   (void)weir::fork_join(one, other);
                                 return false;
                               } catch (const std::runtime_error&) {
                                 return true;
                               }
                             }).get();
        ++(threw ? thrown : returned);
      }
    }
  }
  CHECK(thrown > 0);
  CHECK(returned > 0);
  CHECK(counted::alive == 0);
  CHECK(rt.submit([] { return fib(10); }).get() == 55); // nothing was left open
}

TEST_CASE("a callable whose move throws has not been forked", "[fork_join]") {
  struct callable : breaks {
    using breaks::breaks;
    void operator()() const {}
  };
  weir::runtime rt{{.workers = 2}};
  for (int moves = 0; moves < 3; ++moves) {
    try {
      weir::fork_join(rt, callable(moves), callable(100));
    } catch (const std::runtime_error&) {
    }
    try {
      weir::fork_join(rt, callable(100), callable(moves));
    } catch (const std::runtime_error&) {
    }
    int ran = 0;
    try {
      weir::with_fork_scope(rt, [&](weir::fork_scope& scope) {
        scope.fork([&] { ++ran; });
        scope.fork(callable(moves));
      });
    } catch (const std::runtime_error&) {
    }
    CHECK(ran == 1);
  }
  CHECK(counted::alive == 0);
  CHECK(std::get<0>(weir::fork_join(rt, [] { return fib(10); }, [] {})) == 55);
}

// Where.

TEST_CASE("without a runtime forks are refused by name", "[fork_join]") {
  int calls = 0;
  const auto call = [&] { ++calls; };
  CHECK(test::code_of([&] { weir::fork_join(call, call); }) == weir::errc::not_on_worker);
  CHECK(test::code_of([&] { weir::parallel_invoke(call, call, call); }) ==
        weir::errc::not_on_worker);
  CHECK(test::code_of([&] { weir::with_fork_scope([&](weir::fork_scope&) { ++calls; }); }) ==
        weir::errc::not_on_worker);
  CHECK(calls == 0);
}

TEST_CASE("a runtime that has ended takes no guests", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  rt.stop();
  int calls = 0;
  const auto call = [&] { ++calls; };
  CHECK(test::code_of([&] { weir::fork_join(rt, call, call); }) == weir::errc::stopped);
  CHECK(test::code_of([&] { weir::parallel_invoke(rt, call, call); }) == weir::errc::stopped);
  CHECK(test::code_of([&] { weir::with_fork_scope(rt, [&](weir::fork_scope&) { ++calls; }); }) ==
        weir::errc::stopped);
  CHECK(calls == 0);
  CHECK(test::code_of([&] { weir::fork_join(call, call); }) == weir::errc::not_on_worker);
}

TEST_CASE("a guest counts as a task, and nested regions as nothing", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  for (int i = 0; i < 3; ++i) {
    weir::fork_join(
        rt, [&] { weir::fork_join(rt, [] {}, [] {}); },
        [&] { weir::parallel_invoke(rt, [] {}, [] {}, [] {}); });
  }
  rt.submit([&] { weir::fork_join(rt, [] {}, [] {}); }).get();
  rt.drain();
  const auto stats = rt.stats();
  CHECK(stats.accepted == 4);
  CHECK(stats.ended == 4);
}

TEST_CASE("hooks may fork", "[fork_join]") {
  std::atomic<int> calls{0};
  std::atomic<int> right{0};
  const auto hook = [&](std::size_t) {
    ++calls;
    right += fib(12) == 144;
  };
  {
    weir::runtime rt{{.workers = 2, .on_worker_start = hook, .on_worker_stop = hook}};
    rt.drain();
  }
  CHECK(calls >= 4); // a stand-in for a worker that waits has its own
  CHECK(right == calls);
}

TEST_CASE("more guests than a runtime keeps a list of", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  constexpr int guests = 80;
  for (int round = 0; round < test::rounds(10); ++round) {
    std::atomic<int> inside{0};
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < guests; ++i) {
      threads.emplace_back([&] {
        weir::fork_join(
            rt,
            [&] {
              ++inside;
              // Some of the stolen seconds may wait inside of others.
              test::eventually([&] { return inside >= guests; });
              right += fib(12) == 144;
              weir::with_fork_scope([&](weir::fork_scope& scope) {
                for (int j = 0; j < 10; ++j)
                  scope.fork([&] { right += fib(5) == 5; });
              });
            },
            [&] { right += fib(12) == 144; });
      });
    }
    for (auto& thread : threads)
      thread.join();
    CHECK(right == 12 * guests);
  }
  rt.drain();
  CHECK(rt.stats().accepted == rt.stats().ended);
}

TEST_CASE("a worker may be a guest of another runtime, also round and round", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime a{{.workers = workers}};
    weir::runtime b{{.workers = workers}};
    const auto sum = [&](auto& self, int depth) -> long {
      if (depth == 0)
        return fib(8);
      weir::runtime& next = depth % 2 == 0 ? a : b;
      const auto [x, y] = weir::fork_join(
          next, [&] { return self(self, depth - 1); },
          [&] {
            const auto [p, q] =
                weir::fork_join([&] { return self(self, depth - 1); }, [] { return fib(8); });
            return p + q;
          });
      return x + y;
    };
    // s(d) = 2 s(d-1) + 21
    for (int round = 0; round < test::rounds(20); ++round)
      CHECK(a.submit([&] { return sum(sum, 6); }).get() == 64 * 21 + 63 * 21);
    CHECK(std::get<1>(weir::fork_join(b, [] {}, [&] { return sum(sum, 6); })) == 127 * 21);
    a.drain();
    b.drain();
    CHECK(a.stats().accepted == a.stats().ended);
    CHECK(b.stats().accepted == b.stats().ended);
  }
}

TEST_CASE("what a guest has forked at home is public meanwhile", "[fork_join]") {
  // Forks of other tasks may run on top of it, so that it cannot become public then.
  weir::runtime a{{.workers = 1}};
  weir::runtime b{{.workers = 1}};
  const auto [outside, inside] =
      a.submit([&] {
         std::pair<std::uint64_t, std::uint64_t> published;
         weir::fork_join(
             [&] {
               weir::fork_join(
                   [&] {
                     const auto& home = *weir::detail::this_forks;
                     published.first = home.published();
                     weir::fork_join(b, [&] { published.second = home.published(); }, [] {});
                   },
                   [] {});
             },
             [] {});
         return published;
       }).get();
  CHECK(outside == 1);
  CHECK(inside == 2);
}

TEST_CASE("a guest forks at once for as many idle workers as there are", "[fork_join]") {
  // It is none of them: with two, two forks are public before it does something long.
  weir::runtime rt{{.workers = 2}};
  const auto& idle = rt.scheduler().idle();
  test::eventually([&] { return idle.somebody_idle(); });
  std::uint64_t published = 0;
  weir::with_fork_scope(rt, [&](weir::fork_scope&) {
    const auto& forks = *weir::detail::this_forks;
    weir::fork_join([&] { weir::fork_join([&] { published = forks.published(); }, [] {}); }, [] {});
  });
  CHECK(published == 2);
}

TEST_CASE("a coroutine forks on whatever worker it has come to", "[fork_join]") {
  struct local {
    static weir::task<int> run(weir::runtime& here, weir::runtime& there) {
      int right = 0;
      for (int i = 0; i < 50; ++i) {
        co_await weir::yield();
        right += std::get<0>(weir::fork_join([] { return fib(6); }, [] {})) == 8;
        co_await weir::resume_on(i % 2 == 0 ? there : here);
        const auto* const forks = weir::detail::this_forks;
        right += forks->home() == &(i % 2 == 0 ? there : here).scheduler();
        right += std::get<0>(weir::fork_join([] { return fib(6); }, [] {})) == 8;
      }
      co_return right;
    }
  };
  weir::runtime a{{.workers = 2}};
  weir::runtime b{{.workers = 3}};
  std::vector<weir::handle<int>> all;
  for (int i = 0; i < 10; ++i)
    all.push_back(a.spawn(local::run(a, b)));
  for (auto& handle : all)
    CHECK(handle.get() == 150);
}

// Spreading.

TEST_CASE("two leaves of one worker run on two", "[fork_join]") {
  for (const std::size_t workers : {2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(200); ++round) {
      rt.submit([] {
          meeting both;
          weir::fork_join([&] { both.come(); }, [&] { both.come(); });
        }).get();
    }
    CHECK(rt.stats().total.stolen_forks > 0);
  }
}

TEST_CASE("the calling thread and the only worker share the work", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  for (int round = 0; round < test::rounds(200); ++round) {
    meeting both;
    weir::fork_join(rt, [&] { both.come(); }, [&] { both.come(); });
  }
}

TEST_CASE("a fork wakes a worker when all others sleep", "[fork_join]") {
  for (const std::size_t workers : {2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers, .spin = 0ns}};
    auto& idle = rt.scheduler().idle();
    for (int round = 0; round < test::rounds(200); ++round) {
      rt.submit([&] {
          test::eventually([&] { return idle.calls_for_a_searcher(); });
          meeting both;
          weir::fork_join([&] { both.come(); }, [&] { both.come(); });
        }).get();
    }
    // From outside all of them sleep.
    for (int round = 0; round < test::rounds(200); ++round) {
      test::eventually([&] { return idle.calls_for_a_searcher(); });
      meeting both;
      weir::fork_join(rt, [&] { both.come(); }, [&] { both.come(); });
    }
  }
}

TEST_CASE("a fork deep in a region wakes a worker after others were taken", "[fork_join]") {
  // Each level's second leaf is taken, and the taker sleeps again before the next level.
  for (const std::size_t workers : {2U, 3U}) {
    weir::runtime rt{{.workers = workers, .spin = 0ns}};
    auto& idle = rt.scheduler().idle();
    const auto down = [&](auto& self, int depth) -> void {
      test::eventually([&] { return idle.calls_for_a_searcher(); });
      meeting both;
      weir::fork_join(
          [&] {
            both.come();
            if (depth != 0)
              self(self, depth - 1);
          },
          [&] { both.come(); });
    };
    for (int round = 0; round < test::rounds(20); ++round)
      rt.submit([&] { down(down, 20); }).get();
  }
}

TEST_CASE("many leaves of one worker spread over all", "[fork_join]") {
  // All are needed: each waits for as many as there are threads.
  for (const std::size_t workers : {2U, 3U, 4U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<std::size_t> here{0};
      rt.submit([&] {
          weir::with_fork_scope([&](weir::fork_scope& scope) {
            for (std::size_t i = 1; i < workers; ++i) {
              scope.fork([&] {
                ++here;
                test::eventually([&] { return here >= workers; });
              });
              // The next one is public as soon as this one has been taken.
              test::eventually([&] { return here >= i; });
            }
            ++here;
          });
        }).get();
      CHECK(here == workers);
    }
  }
}

TEST_CASE("who waits for a thief does not hold up what the thief forks", "[fork_join]") {
  // Two workers, and the first one has only to join: it helps, or another one stands in for it.
  for (const auto spin : {0ns, 1ns, std::chrono::nanoseconds(20us)}) {
    weir::runtime rt{{.workers = 2, .spin = spin}};
    for (int round = 0; round < test::rounds(100); ++round) {
      rt.submit([&] {
          beside([] {},
                 [&] {
                   test::stagger(round * 8);
                   meeting both;
                   weir::fork_join([&] { both.come(); }, [&] { both.come(); });
                 });
        }).get();
    }
    CHECK(rt.stats().blocked_workers == 0);
  }
}

TEST_CASE("tasks run while all workers wait for thieves", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  test::gate door;
  auto held = rt.submit([&] { beside([] {}, [&] { door.pass(); }); });
  CHECK(rt.submit([] { return 3; }).get() == 3);
  door.open();
  held.get();
  rt.drain();
}

TEST_CASE("a worker that waits as a guest holds up no task of its own runtime", "[fork_join]") {
  weir::runtime a{{.workers = 1}};
  weir::runtime b{{.workers = 1}};
  test::gate door;
  std::atomic<bool> taken{false};
  auto held = a.submit([&] {
    weir::fork_join(
        b, [&] { test::eventually([&] { return taken.load(); }); },
        [&] {
          taken = true;
          door.pass();
        });
  });
  test::eventually([&] { return taken.load(); });
  CHECK(a.submit([] { return 3; }).get() == 3);
  door.open();
  held.get();
}

TEST_CASE("what is forked before a blocking call is there for others meanwhile", "[fork_join]") {
  // The stack's second fork is private until the call, and the call waits for it.
  for (const bool guest : {false, true}) {
    weir::runtime rt{{.workers = 2}};
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<int> ran{0};
      const auto region = [&] {
        weir::fork_join(
            [&] {
              weir::fork_join(
                  [&] {
                    weir::fork_join(
                        [&] {
                          weir::blocking([&] { test::eventually([&] { return ran == 3; }); });
                        },
                        [&] { ++ran; });
                  },
                  [&] { ++ran; });
            },
            [&] { ++ran; });
      };
      if (guest)
        weir::fork_join(rt, region, [] {});
      else
        rt.submit(region).get();
      CHECK(ran == 3);
    }
  }
}

// Exceptions.

TEST_CASE("all sides end before the first exception is thrown, others are counted", "[fork_join]") {
  for (const bool stolen : {false, true}) {
    weir::runtime rt{{.workers = 2}};
    const auto run = [&](auto f, auto g) {
      return rt
          .submit([&]() -> std::string {
            try {
              if (stolen)
                (void)beside(f, g);
              else
                (void)weir::fork_join(f, g);
              return "none";
            } catch (const std::runtime_error& e) {
              return e.what();
            } catch (int) {
              return "int";
            }
          })
          .get();
    };
    std::atomic<int> ended{0};
    const auto fine = [&] {
      ++ended;
      return std::string("x");
    };
    const auto fails = [](const char* what) {
      return [what]() -> std::string { throw std::runtime_error(what); };
    };
    CHECK(run(fine, fine) == "none");
    CHECK(run(fails("f"), fine) == "f");
    CHECK(run(fine, fails("g")) == "g");
    CHECK(ended == 4);
    CHECK(rt.stats().suppressed_exceptions == 0);
    CHECK(run(fails("f"), fails("g")) == "f");
    CHECK(rt.stats().suppressed_exceptions == 1);
    CHECK(run([]() -> int { throw 3; }, fine) == "int");
    CHECK(run(fails("f"), []() -> int { throw 3; }) == "f");
    CHECK(rt.stats().suppressed_exceptions == 2);
  }
}

TEST_CASE("parallel_invoke throws the first in the order of its arguments", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  for (int failing = 1; failing < 16; ++failing) {
    std::atomic<int> ran{0};
    const auto one = [&](int bit) {
      return [&ran, bit, failing] {
        ++ran;
        if ((failing & bit) != 0)
          throw bit;
      };
    };
    const auto before = rt.stats().suppressed_exceptions;
    int thrown = 0;
    try {
      weir::parallel_invoke(rt, one(1), one(2), one(4), one(8));
    } catch (int bit) {
      thrown = bit;
    }
    CHECK(ran == 4);
    CHECK(thrown == (failing & -failing));
    CHECK(rt.stats().suppressed_exceptions - before ==
          static_cast<std::uint64_t>(__builtin_popcount(static_cast<unsigned>(failing)) - 1));
  }
}

// Scopes.

TEST_CASE("a scope joins all its children", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    // More than fit into the stack.
    for (const int children : {0, 1, 2, 100, 3000}) {
      std::atomic<int> sum{0};
      const int kept = weir::with_fork_scope(rt, [&](weir::fork_scope& scope) {
        for (int i = 0; i < children; ++i)
          scope.fork([&sum, i] { sum += i; });
        return children;
      });
      CHECK(kept == children);
      CHECK(sum == children * (children - 1) / 2);
    }
  }
}

TEST_CASE("what a scope returns", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  int variable = 0;
  int& same = weir::with_fork_scope(rt, [&](weir::fork_scope&) -> int& { return variable; });
  CHECK(&same == &variable);
  const auto owned =
      weir::with_fork_scope(rt, [](weir::fork_scope&) { return std::make_unique<int>(3); });
  CHECK(*owned == 3);
  static_assert(std::is_void_v<decltype(weir::with_fork_scope(rt, [](weir::fork_scope&) {}))>);
}

TEST_CASE("children own what they were given", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> sum{0};
  weir::with_fork_scope(rt, [&](weir::fork_scope& scope) {
    for (int i = 0; i < 50; ++i) {
      auto owned = std::make_unique<int>(i);
      scope.fork([&sum, owned = std::move(owned)]() mutable {
        const auto taken = std::move(owned);
        sum += *taken;
      });
      const auto kept = [&sum, shared = std::make_shared<int>(i)] { sum += *shared; };
      scope.fork(kept);
    }
    scope.fork(seven); // results are dropped
  });
  CHECK(sum == 50 * 49);
}

TEST_CASE("a scope's first exception is thrown when all have ended", "[fork_join]") {
  for (const auto workers : {1U, 2U, 3U, 16U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(100); ++round) {
      std::atomic<int> ran{0};
      const auto before = rt.stats().suppressed_exceptions;
      const bool body_too = round % 2 == 0;
      std::string thrown;
      try {
        rt.submit([&] {
            weir::with_fork_scope([&](weir::fork_scope& scope) {
              for (int i = 0; i < 20; ++i) {
                scope.fork([&] {
                  ++ran;
                  throw std::runtime_error("child");
                });
              }
              if (body_too)
                throw std::runtime_error("body");
            });
          }).get();
      } catch (const std::runtime_error& e) {
        thrown = e.what();
      }
      CHECK(ran == 20);
      CHECK(thrown == (body_too ? "body" : "child"));
      CHECK(rt.stats().suppressed_exceptions - before == (body_too ? 20 : 19));
    }
  }
}

TEST_CASE("exceptions of two stolen children", "[fork_join]") {
  weir::runtime rt{{.workers = 3}};
  std::atomic<int> inside{0};
  CHECK_THROWS_AS(rt.submit([&] {
                      weir::with_fork_scope([&](weir::fork_scope& scope) {
                        for (int i = 1; i <= 2; ++i) {
                          scope.fork([&] {
                            ++inside;
                            test::eventually([&] { return inside == 2; });
                            throw std::runtime_error("x");
                          });
                          test::eventually([&] { return inside >= i; });
                        }
                      });
                    }).get(),
                  std::runtime_error);
  CHECK(rt.stats().suppressed_exceptions == 1);
}

TEST_CASE("children may fork in their scope, in inner ones, and with fork_join", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<int> ran{0};
      const auto grow = [&](auto& self, weir::fork_scope& outer, int depth) -> void {
        ++ran;
        if (depth == 0)
          return;
        for (int i = 0; i < 2; ++i)
          outer.fork([&, depth] { self(self, outer, depth - 1); });
      };
      weir::with_fork_scope(rt, [&](weir::fork_scope& outer) {
        outer.fork([&] { grow(grow, outer, 5); }); // 63
        weir::with_fork_scope([&](weir::fork_scope& inner) {
          outer.fork([&] { ++ran; });
          inner.fork([&] { ++ran; });
          outer.fork([&] { ++ran; });
          inner.fork([&] {
            outer.fork([&] { ++ran; });
            inner.fork([&] { ++ran; });
          });
        });
        weir::fork_join([&] { outer.fork([&] { ++ran; }); }, [&] { outer.fork([&] { ++ran; }); });
        outer.fork([&] { ++ran; });
      });
      CHECK(ran == 63 + 8);
    }
  }
}

// Stopping.

TEST_CASE("what has not started when stop is requested does not start", "[fork_join]") {
  for (const auto workers : {1U, 2U, 3U}) {
    weir::runtime rt{{.workers = workers}};
    for (const int depth : {1, 2, 3, 10, 100, 1500}) {
      std::atomic<int> ran{0};
      std::atomic<bool> below{false};
      std::atomic<bool> requested{false};
      weir::handle<void> handle = rt.submit([&] {
        descend(
            depth,
            [&] {
              below = true;
              wait_for(requested);
            },
            [&] {
              ++ran;
              wait_for(requested);
            });
      });
      test::eventually([&] { return below.load(); });
      (void)handle.request_stop(weir::stop_reason("enough"));
      requested = true;
      const auto how = test::ending_of(handle);
      // Others can have taken only what they then were in when stop was requested.
      CHECK(ran <= std::min(depth, static_cast<int>(workers) - 1));
      CHECK(how == (ran == depth ? test::ending::value : test::ending::cancelled));
    }
  }
}

TEST_CASE("after a stop request nothing is forked, however the hints stand", "[fork_join][race]") {
  for (const auto workers : {1U, 2U, 3U}) {
    weir::runtime rt{{.workers = workers}};
    int late = 0;
    for (int round = 0; round < test::rounds(300); ++round) {
      std::atomic<bool> requested{false};
      std::atomic<bool> started{false};
      std::atomic<bool> forked{false};
      auto handle = rt.submit([&] {
        descend(
            round % 5,
            [&] {
              started = true;
              // Leaves as soon as it sees the request.
              for (int i = 0; !requested; ++i) {
                weir::fork_join([] {}, [] {});
                if (i % 64 == 0)
                  std::this_thread::yield();
              }
            },
            [] {});
        weir::fork_join([&] { forked = true; }, [] {});
      });
      test::eventually([&] { return started.load(); });
      test::stagger(round);
      (void)handle.request_stop();
      requested = true;
      late += test::ending_of(handle) != test::ending::cancelled;
      late += forked;
    }
    CHECK(late == 0);
  }
}

TEST_CASE("a stop request finds its task as a guest and after resume_on", "[fork_join]") {
  struct local {
    static weir::task<> moved(weir::runtime& to, const std::function<void()>& region) {
      co_await weir::resume_on(to);
      region();
    }
  };
  weir::runtime a{{.workers = 1}};
  weir::runtime b{{.workers = 2}};
  for (int round = 0; round < test::rounds(100); ++round) {
    for (const bool guest : {false, true}) {
      std::atomic<int> ran{0};
      std::atomic<bool> below{false};
      std::atomic<bool> requested{false};
      const auto forked = [&] {
        ++ran;
        wait_for(requested);
      };
      const std::function<void()> region = [&] {
        descend(
            10,
            [&] {
              below = true;
              wait_for(requested);
            },
            forked);
      };
      auto handle = guest ? a.submit([&] { weir::fork_join(b, region, forked); })
                          : a.spawn(local::moved(b, region));
      test::eventually([&] { return below.load(); });
      (void)handle.request_stop();
      requested = true;
      CHECK(test::ending_of(handle) == test::ending::cancelled);
      CHECK(ran <= 2);
    }
  }
}

TEST_CASE("a stolen fork is its task: token, reason, check_stop", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> inside{false};
  std::string reason;
  bool called = false;
  auto handle = rt.submit([&] {
    beside([] {},
           [&] {
             const auto token = weir::this_task::stop_token();
             const weir::inplace_stop_callback on_stop(token, [&] { called = true; });
             inside = true;
             test::eventually([&] { return token.stop_requested(); });
             reason = weir::this_task::cancel_reason()->text();
             weir::this_task::check_stop();
           });
  });
  test::eventually([&] { return inside.load(); });
  (void)handle.request_stop(weir::stop_reason("enough"));
  CHECK(test::ending_of(handle) == test::ending::cancelled);
  CHECK(called);
  CHECK(reason == "enough");
}

TEST_CASE("stopped as asked is not counted as suppressed", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> inside{false};
  auto handle = rt.submit([&] {
    const auto leave = [&] {
      inside = true;
      wait_for_stop();
      weir::this_task::check_stop();
    };
    weir::parallel_invoke(leave, leave, leave);
  });
  test::eventually([&] { return inside.load(); });
  (void)handle.request_stop();
  CHECK(test::ending_of(handle) == test::ending::cancelled);
  CHECK(rt.stats().suppressed_exceptions == 0);
}

TEST_CASE("children of a stopped scope do not start", "[fork_join]") {
  for (const auto workers : {1U, 2U}) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<bool> inside{false};
    std::atomic<bool> requested{false};
    std::atomic<int> ran{0};
    bool refused = false;
    auto handle = rt.submit([&] {
      weir::with_fork_scope([&](weir::fork_scope& scope) {
        for (int i = 0; i < 100; ++i) {
          scope.fork([&, kept = counted()] {
            ++ran;
            wait_for(requested);
          });
        }
        inside = true;
        wait_for(requested);
        try {
          scope.fork([&] { ++ran; });
        } catch (const weir::task_cancelled&) {
          refused = true;
        }
      });
    });
    test::eventually([&] { return inside.load(); });
    (void)handle.request_stop();
    requested = true;
    CHECK(test::ending_of(handle) == test::ending::cancelled);
    CHECK(refused);
    CHECK(ran <= static_cast<int>(workers) - 1);
    CHECK(counted::alive == 0);
  }
}

TEST_CASE("stopping the runtime stops regions of its tasks, not of its guests", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<int> inside{0};
  std::atomic<bool> requested{false};
  std::atomic<bool> go_on{false};
  const auto region = [&] {
    std::atomic<int> ran{0};
    descend(
        10,
        [&] {
          ++inside;
          test::eventually([&] { return go_on || weir::this_task::stop_requested(); });
        },
        // Else they might all have run before the request. Not until `go_on`: the worker that
        // unwinds the task's region may help with the guest's forks.
        [&] {
          ++ran;
          wait_for(requested);
        });
    return ran.load();
  };
  auto handle = rt.submit(region);
  int ran = 0;
  std::thread guest([&] { ran = std::get<0>(weir::fork_join(rt, region, [] {})); });
  test::eventually([&] { return inside == 2; });
  CHECK(rt.stop(std::chrono::steady_clock::now()) > 0); // requests it and does not wait
  requested = true;
  handle.wait();
  CHECK(test::ending_of(handle) == test::ending::cancelled);
  go_on = true;
  guest.join();
  CHECK(ran == 10);
  rt.stop();
  CHECK(rt.stats().accepted == rt.stats().ended);
}

TEST_CASE("draining waits for regions, which fork on", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  std::atomic<bool> inside{false};
  test::gate door;
  long result = 0;
  std::thread guest([&] {
    result = std::get<0>(weir::fork_join(
        rt,
        [&] {
          inside = true;
          door.pass();
          return fib(15);
        },
        [] {}));
  });
  auto handle = rt.submit([&] {
    door.pass();
    return fib(15);
  });
  test::eventually([&] { return inside.load(); });
  rt.request_drain();
  CHECK(rt.drain(std::chrono::steady_clock::now()) > 0);
  door.open();
  rt.drain();
  CHECK(handle.get() == 610);
  guest.join();
  CHECK(result == 610);
}

TEST_CASE("waiting for one's own runtime to end inside of a region is refused", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  weir::runtime other{{.workers = 1}};
  std::array<std::error_code, 4> codes;
  weir::fork_join(
      rt,
      [&] {
        codes[0] = test::code_of([&] { rt.stop(); });
        codes[1] = test::code_of([&] { rt.drain(); });
        weir::fork_join(other, [&] { codes[2] = test::code_of([&] { rt.stop(); }); }, [] {});
        codes[3] = test::code_of([&] { other.drain(); });
      },
      [] {});
  CHECK(codes[0] == weir::errc::would_deadlock);
  CHECK(codes[1] == weir::errc::would_deadlock);
  CHECK(codes[2] == weir::errc::would_deadlock);
  CHECK_FALSE(codes[3]);
  rt.stop();
}

TEST_CASE("a region may destroy its runtime", "[fork_join]") {
  for (int round = 0; round < test::rounds(50); ++round) {
    auto rt = std::make_unique<weir::runtime>(weir::runtime_options{.workers = 2});
    weir::runtime& here = *rt;
    const auto [none, result] = weir::fork_join(here, [&] { rt.reset(); }, [] { return fib(10); });
    CHECK(result == 55);
  }
}

// The context.

TEST_CASE("a stolen fork has the context of its fork", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  const weir::context_scope outer(request, "outside");
  const auto [none, outside] = weir::fork_join(rt, [] {}, seen_request);
  CHECK(outside == "outside");
  std::array<std::string, 3> seen;
  rt.submit([&] {
      const weir::context_scope inner(request, name);
      beside([] {},
             [&] {
               seen[0] = seen_request();
               const weir::context_scope innermost(request, "thief");
               seen[1] = std::get<0>(weir::fork_join(seen_request, [] {}));
             });
      seen[2] = seen_request();
    }).get();
  CHECK(seen[0] == name);
  CHECK(seen[1] == "thief");
  CHECK(seen[2] == name);
}

TEST_CASE("who helps another task's fork runs it in that one's context", "[fork_join]") {
  // The worker that waits for the thief is the one that takes what the thief forks, mostly.
  weir::runtime rt{{.workers = 2, .spin = 1ms}};
  for (int round = 0; round < test::rounds(200); ++round) {
    std::string helped;
    std::string after;
    rt.submit([&] {
        const weir::context_scope here(request, "joins");
        beside([] {},
               [&] {
                 const weir::context_scope there(request, name);
                 meeting both;
                 weir::fork_join([&] { both.come(); },
                                 [&] {
                                   helped = seen_request();
                                   both.come();
                                 });
               });
        after = seen_request();
      }).get();
    REQUIRE(helped == name);
    REQUIRE(after == "joins");
  }
}

TEST_CASE("a task made in a stolen fork inherits its context", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  weir::handle<std::string> inner;
  rt.submit([&] {
      const weir::context_scope here(request, name);
      beside([] {}, [&] { inner = rt.submit(seen_request); });
    }).get();
  CHECK(inner.get() == name);
}

TEST_CASE("what was forked before a context_scope does not see it", "[fork_join]") {
  for (const std::size_t workers : {1U, 2U, 3U}) {
    weir::runtime rt{{.workers = workers}};
    for (int round = 0; round < test::rounds(200); ++round) {
      std::atomic<int> wrong{0};
      const auto level = [&](auto& self, int depth) -> void {
        const auto expected = seen_request();
        weir::fork_join(
            [&] {
              if (depth == 0)
                return;
              const weir::context_scope here(request, name + std::to_string(depth));
              self(self, depth - 1);
              self(self, depth - 1);
            },
            [&] {
              wrong += seen_request() != expected;
              test::stagger(round);
            });
        wrong += seen_request() != expected;
      };
      rt.submit([&] { level(level, 5); }).get();
      REQUIRE(wrong == 0);
    }
  }
}

TEST_CASE("a child has the context of its fork, also when that is over", "[fork_join]") {
  weir::runtime rt{{.workers = 2}};
  for (const bool stolen : {false, true}) {
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<bool> over{false};
      std::atomic<bool> started{false};
      std::array<std::string, 2> seen;
      rt.submit([&] {
          weir::with_fork_scope([&](weir::fork_scope& scope) {
            {
              const weir::context_scope here(request, name);
              scope.fork([&] {
                started = true;
                test::eventually([&] { return over.load(); });
                seen[0] = seen_request();
              });
              if (stolen)
                test::eventually([&] { return started.load(); });
            }
            over = true;
            scope.fork([&] { seen[1] = seen_request(); });
          });
        }).get();
      REQUIRE(seen[0] == name);
      REQUIRE(seen[1] == "-");
    }
  }
}

// Depth.

TEST_CASE("a recursion deeper than the stack of forks goes on without forks", "[fork_join]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    std::atomic<int> ran{0};
    rt.submit([&] { descend(2000, [] {}, [&] { ++ran; }); }).get();
    CHECK(ran == 2000);
    // Exceptions pass through both parts.
    ran = 0;
    CHECK_THROWS_AS(rt.submit([&] {
                        descend(2000, [] { throw std::runtime_error("deep"); }, [&] { ++ran; });
                      }).get(),
                    std::runtime_error);
    CHECK(ran == 2000);
    CHECK(rt.submit([] { return fib(10); }).get() == 55);
  }
}

TEST_CASE("both of a pair beyond the full stack may throw", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  std::atomic<int> ran{0};
  CHECK_THROWS_AS(rt.submit([&] {
                      descend(
                          weir::detail::fork_stack::capacity,
                          [&] {
                            weir::fork_join([] { throw std::logic_error("f"); },
                                            [&] {
                                              ++ran;
                                              throw std::runtime_error("g");
                                            });
                          },
                          [&] { ++ran; });
                    }).get(),
                  std::logic_error);
  CHECK(ran == static_cast<int>(weir::detail::fork_stack::capacity) + 1);
  CHECK(rt.stats().suppressed_exceptions == 1);
}

TEST_CASE("statistics count forks", "[fork_join]") {
  weir::runtime rt{{.workers = 1}};
  rt.submit([] { return fib(15); }).get();
  rt.drain();
  const auto stats = rt.stats();
  CHECK(stats.total.published_forks > 0);
  CHECK(stats.total.published_forks < 100); // of a thousand
  CHECK(stats.total.stolen_forks == 0);
  CHECK(stats.accepted == 1);
}
