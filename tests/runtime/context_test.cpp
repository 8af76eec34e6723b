// SPDX-License-Identifier: MIT
// The request context: who inherits which values, and when they are destroyed.
#include <weir/weir.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/children.hpp>
#include <support/support.hpp>

using namespace std::chrono_literals;

namespace {

constinit weir::context_key<int> request;
constinit weir::context_key<std::string> tenant;
constinit weir::context_key<std::unique_ptr<int>> owner;

/// The value of `request` here; -1: none.
int seen() {
  const int* const value = request.get();
  return value == nullptr ? -1 : *value;
}

weir::task<int> sees() {
  co_return seen();
}

weir::task<int> sees_after_yield() {
  co_await weir::yield();
  co_return seen();
}

/// Every way from here to other code; what each saw, -2 for none yet.
struct ways {
  std::array<std::atomic<int>, 8> posted;
  std::array<int, 8> submitted{};

  ways() {
    for (auto& p : posted)
      p = -2;
  }
  void post_all(weir::runtime& rt) {
    rt.post([this] { posted[0] = seen(); });
    rt.post([this, large = std::array<char, 200>()] { posted[1] = seen() + large[0]; });
    rt.post([this, owned = std::make_unique<int>(0)] { posted[2] = seen() + *owned; });
    std::vector<std::function<void()>> functions;
    functions.emplace_back([this] { posted[3] = seen(); });
    rt.post_bulk(functions);
    functions[0] = [this] { posted[4] = seen(); };
    rt.post_bulk(std::move(functions));
    // What runs there hands it on.
    rt.post([this, &rt] { rt.post([this] { posted[5] = seen(); }); });
    rt.post([this, &rt] {
      rt.post([this, large = std::array<char, 200>()] { posted[6] = seen() + large[0]; });
    });
    const auto trivial = [this] { posted[7] = seen(); };
    const std::array<decltype(trivial), 1> trivials{trivial};
    rt.post_bulk(trivials);
  }
  [[nodiscard]] bool all_posted_saw(int value) const {
    int right = 0;
    for (const auto& p : posted) {
      test::eventually([&p] { return p != -2; });
      right += p == value;
    }
    return right == static_cast<int>(posted.size());
  }
};

/// Handles of everything that gives one.
std::vector<weir::handle<int>> submit_all(weir::runtime& rt, weir::fixed_pool<>& pool) {
  std::vector<weir::handle<int>> all;
  all.push_back(rt.submit(seen));
  all.push_back(rt.submit([](weir::inplace_stop_token) { return seen(); }));
  all.push_back(rt.submit(sees_after_yield));
  all.push_back(rt.spawn(sees()));
  all.push_back(rt.spawn([]() -> weir::task<int> {
    co_await weir::sleep_for(1us);
    co_return co_await sees();
  }()));
  const std::vector<int (*)()> bulk(2, seen);
  for (auto& h : rt.submit_bulk(bulk))
    all.push_back(std::move(h));
  all.push_back(*pool.try_submit(seen));
  all.push_back(*pool.try_submit(sees_after_yield));
  return all;
}

/// Whether every kind of child sees `value`.
weir::task<bool> children_see(weir::fixed_pool<>& pool, int value) {
  bool good = seen() == value;
  const int child = co_await sees_after_yield();
  auto [a, b] = co_await weir::when_all(sees(), sees_after_yield());
  good = good && child == value && a == value && b == value;
  const auto first = co_await weir::when_any(sees());
  good = good && std::get<0>(first.value) == value;
  const int timed = co_await weir::with_timeout(sees_after_yield(), 1h);
  const int pooled = co_await pool.submit(seen);
  auto handle = co_await pool.submit_async(sees);
  const int later = co_await handle;
  good = good && timed == value && pooled == value && later == value;
  std::atomic<int> right{0};
  const auto body = [&right, value](weir::task_group& group) -> weir::task<> {
    right += seen() == value;
    group.submit([&right, value] { right += seen() == value; });
    group.spawn([](std::atomic<int>& count, int wanted) -> weir::task<> {
      const int got = co_await sees_after_yield();
      count += got == wanted;
    }(right, value));
    co_return;
  };
  co_await weir::with_task_group(body);
  good = good && right == 3;
  co_await weir::sleep_for(1us);
  good = good && seen() == value;
  co_return good;
}

/// Counts constructions and destructions.
struct counted {
  struct counts {
    std::atomic<int> made{0};
    std::atomic<int> destroyed{0};
  };
  explicit counted(counts& c) : all(&c) { ++all->made; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { ++all->destroyed; }
  counts* all;
};

constinit weir::context_key<counted> tracked;

} // namespace

TEST_CASE("nothing is set at first", "[context]") {
  weir::runtime rt{{.workers = 2}};
  weir::fixed_pool<> pool{rt};
  CHECK(request.get() == nullptr);
  ways none;
  none.post_all(rt);
  CHECK(none.all_posted_saw(-1));
  for (auto& h : submit_all(rt, pool))
    CHECK(h.get() == -1);
  CHECK(rt.block_on(children_see(pool, -1)));
}

TEST_CASE("everything that starts outside of tasks inherits the thread's values", "[context]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<> pool{rt};
    ways some;
    std::vector<weir::handle<int>> handles;
    {
      const weir::context_scope id(request, 7);
      CHECK(seen() == 7);
      some.post_all(rt);
      handles = submit_all(rt, pool);
      CHECK(rt.block_on(children_see(pool, 7)));
    }
    CHECK(seen() == -1);
    CHECK(some.all_posted_saw(7));
    for (auto& h : handles)
      CHECK(h.get() == 7);
    // Other threads and what comes later have nothing of it.
    int other = 0;
    std::thread([&other] { other = seen(); }).join();
    CHECK(other == -1);
    CHECK(rt.submit(seen).get() == -1);
  }
}

TEST_CASE("everything that starts in a task inherits the task's values", "[context]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    weir::fixed_pool<> pool{rt};
    ways some;
    const auto body = [](weir::runtime& on, weir::fixed_pool<>& in, ways& out) -> weir::task<bool> {
      const weir::context_scope id(request, 8);
      out.post_all(on);
      auto handles = submit_all(on, in);
      bool good = co_await children_see(in, 8);
      for (auto& h : handles) {
        const int got = co_await h;
        good = good && got == 8;
      }
      co_return good;
    };
    CHECK(rt.block_on(body(rt, pool, some)));
    CHECK(some.all_posted_saw(8));
    CHECK(rt.submit(seen).get() == -1);
  }
}

TEST_CASE("a posted callable and a submitted one may set values, too", "[context]") {
  weir::runtime rt{{.workers = 1}};
  const auto sets = [&rt] {
    const int before = seen();
    ways some;
    const weir::context_scope id(request, 9);
    auto handle = rt.submit(seen);
    rt.post([] {});
    return std::pair(before, std::move(handle));
  };
  auto [before, handle] = rt.submit(sets).get();
  CHECK(before == -1);
  CHECK(handle.get() == 9);
  std::atomic<int> inner{-2};
  rt.post([&rt, &inner] {
    const weir::context_scope id(request, 10);
    rt.post([&inner] { inner = seen(); });
  });
  test::eventually([&] { return inner != -2; });
  CHECK(inner == 10);
  // The worker is left as it was.
  CHECK(rt.submit(seen).get() == -1);
  std::atomic<int> after{-2};
  rt.post([&after] { after = seen(); });
  test::eventually([&] { return after != -2; });
  CHECK(after == -1);
}

TEST_CASE("values nest, shadow each other, and come back", "[context]") {
  weir::runtime rt{{.workers = 2}};
  const auto body = []() -> weir::task<std::string> {
    std::string text;
    const auto note = [&text] {
      text += std::to_string(seen()) + "/" + (tenant.get() == nullptr ? "-" : *tenant.get()) + " ";
    };
    note();
    const weir::context_scope outer(request, 1);
    {
      const weir::context_scope name(tenant, "a");
      note();
      {
        const weir::context_scope inner(request, 2);
        co_await weir::yield();
        note();
        const int child = co_await sees_after_yield();
        text += std::to_string(child) + " ";
        const weir::context_scope again(tenant, std::size_t{3}, 'x');
        co_await weir::sleep_for(1us);
        note();
      }
      note();
    }
    note();
    try {
      const weir::context_scope inner(request, 3);
      co_await test::fails_after_yields("out of the scope", 1);
    } catch (const std::runtime_error&) {
      note();
    }
    co_return text;
  };
  CHECK(rt.block_on(body()) == "-1/- 1/a 2/a 2 2/xxx 1/a 1/- 1/- ");
}

TEST_CASE("a child task's values are neither its siblings' nor its parent's", "[context]") {
  for (const auto workers : test::worker_counts) {
    weir::runtime rt{{.workers = workers}};
    const auto child = [](int value) -> weir::task<int> {
      int right = seen() == 100;
      const weir::context_scope mine(request, value);
      for (int i = 0; i < 20; ++i) {
        co_await weir::yield();
        right += seen() == value;
        const int nested = co_await sees();
        right += nested == value;
      }
      co_return right;
    };
    const auto parent = [](auto make) -> weir::task<int> {
      const weir::context_scope mine(request, 100);
      auto [a, b, c] = co_await weir::when_all(make(1), make(2), make(3));
      int right = a + b + c;
      right += seen() == 100;
      std::vector<weir::task<int>> many;
      for (int i = 0; i < 10; ++i)
        many.push_back(make(i));
      const auto all = co_await weir::when_all(std::move(many));
      for (const int one : all)
        right += one;
      right += seen() == 100;
      co_return right;
    };
    CHECK(rt.block_on(parent(child)) == 13 * 41 + 2);
  }
}

TEST_CASE("a task that a group's body spawns inherits what the body has set", "[context]") {
  weir::runtime rt{{.workers = 2}};
  const auto parent = []() -> weir::task<std::pair<int, int>> {
    const weir::context_scope outer(request, 1);
    std::atomic<int> before{-2};
    std::atomic<int> inside{-2};
    const auto body = [&before, &inside](weir::task_group& group) -> weir::task<> {
      group.submit([&before] { before = seen(); });
      const weir::context_scope mine(request, 2);
      group.submit([&inside] { inside = seen(); });
      co_return;
    };
    co_await weir::with_task_group(body);
    co_return std::pair<int, int>(before, inside);
  };
  CHECK(rt.block_on(parent()) == std::pair(1, 2));
}

TEST_CASE("values may be of any kind, and inherited ones outlive their scope", "[context]") {
  weir::runtime rt{{.workers = 1}};
  test::gate door;
  weir::handle<int> late;
  {
    const weir::context_scope mine(owner, std::make_unique<int>(11));
    late = rt.submit([&] {
      door.pass();
      return **owner.get();
    });
    CHECK(**owner.get() == 11);
  }
  CHECK(owner.get() == nullptr);
  door.open();
  CHECK(late.get() == 11);
}

TEST_CASE("every value is destroyed once, when the last one who inherits it has ended",
          "[context]") {
  for (const auto workers : test::worker_counts) {
    counted::counts counts;
    {
      weir::runtime rt{{.workers = workers}};
      weir::fixed_pool<> pool{rt, {.size = 2}};
      test::gate door;
      {
        const weir::context_scope mine(tracked, counts);
        auto waits = rt.submit([&] { door.pass(); });
        const weir::context_scope shadow(tracked, counts);
      }
      CHECK(counts.made == 2);
      CHECK(counts.destroyed == 1);
      door.open();
      test::eventually([&] { return counts.destroyed == 2; });
      const auto request_of = [](weir::runtime& on, weir::fixed_pool<>& in,
                                 counted::counts& all) -> weir::task<> {
        const weir::context_scope mine(tracked, all);
        on.post([] { (void)tracked.get(); });
        auto other = on.submit([] { return tracked.get() != nullptr; });
        co_await weir::when_all(sees(), sees_after_yield());
        (void)co_await in.submit(seen);
        co_await other;
      };
      const int rounds = test::rounds(500);
      std::vector<weir::handle<void>> all;
      for (int i = 0; i < rounds; ++i) {
        all.push_back(rt.submit(request_of, std::ref(rt), std::ref(pool), std::ref(counts)));
        if (i % 3 == 0)
          (void)all.back().request_stop();
      }
      for (auto& one : all)
        (void)test::code_of([&] { one.wait(); });
      if (workers == 2)
        rt.stop();
      else
        rt.drain();
    }
    CHECK(counts.made > 2);
    CHECK(counts.made == counts.destroyed);
  }
}

TEST_CASE("refused and dropped work lets go of its context", "[context]") {
  counted::counts counts;
  {
    weir::runtime rt{{.workers = 1}};
    test::gate door;
    std::atomic<bool> inside{false};
    rt.post([&] {
      inside = true;
      door.pass();
    });
    test::eventually([&] { return inside.load(); });
    {
      const weir::context_scope mine(tracked, counts);
      rt.post([] {});
      std::vector<std::function<void()>> some(3, [] {});
      rt.post_bulk(some);
      (void)rt.submit(seen).request_stop();
      auto kept = rt.submit(sees);
      rt.request_stop();
      CHECK(test::code_of([&] { rt.post([] {}); }) == weir::errc::stopped);
      CHECK(test::code_of([&] { (void)rt.submit(seen); }) == weir::errc::stopped);
      CHECK(test::code_of([&] { rt.post_bulk(some); }) == weir::errc::stopped);
    }
    CHECK(counts.destroyed == 0);
    door.open();
    rt.stop();
    CHECK(counts.destroyed == 1);
  }
  CHECK(counts.made == 1);
  CHECK(counts.destroyed == 1);
}
