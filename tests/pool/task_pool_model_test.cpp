// SPDX-License-Identifier: MIT
// Random sequences of calls, against a pool of the simplest kind: one thread, one loop, no waiting.
#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/call_sequences.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

namespace {

using nanoseconds = std::chrono::nanoseconds;

enum class kind : unsigned char {
  apply,
  map,
  resize,
  cancel,
  cancel_two,
  cancel_group,
  cancel_all,
  lock,
  unlock,
  flush,
  pass,
};
constexpr const char* kind_names[] = {"apply",      "map",          "resize",     "cancel",
                                      "cancel_two", "cancel_group", "cancel_all", "lock",
                                      "unlock",     "flush",        "pass"};

struct call {
  kind what = kind::pass;
  unsigned a = 0;
  unsigned b = 0;
  std::vector<long long> durations{}; // of the tasks in nanoseconds; odd ones fail
};

std::vector<call> random_calls(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<call> calls;
  for (std::size_t i = 0; i < count; ++i) {
    call c;
    const auto pick = random() % 100;
    c.what = pick < 16   ? kind::apply
             : pick < 30 ? kind::map
             : pick < 36 ? kind::resize
             : pick < 48 ? kind::cancel
             : pick < 52 ? kind::cancel_two
             : pick < 58 ? kind::cancel_group
             : pick < 60 ? kind::cancel_all
             : pick < 63 ? kind::lock
             : pick < 70 ? kind::unlock
             : pick < 75 ? kind::flush
                         : kind::pass;
    c.a = static_cast<unsigned>(random());
    c.b = static_cast<unsigned>(random());
    if (c.what == kind::apply)
      c.durations.assign(random() % 6, static_cast<long long>(random() % 1'000'000'000) + 1);
    if (c.what == kind::map) {
      for (auto n = random() % 8; n != 0; --n)
        c.durations.push_back(static_cast<long long>(random() % 1'000'000'000) + 1);
    }
    calls.push_back(c);
  }
  return calls;
}

std::string shown(const std::vector<call>& calls) {
  std::ostringstream text;
  for (const call& c : calls) {
    text << kind_names[static_cast<std::size_t>(c.what)] << ' ' << c.a << ' ' << c.b;
    for (const auto d : c.durations)
      text << ' ' << d;
    text << '\n';
  }
  return text.str();
}

/// A pool without tasks: it only knows what should happen when.
class model {
 public:
  explicit model(std::size_t limit) : limit_(limit) {}

  struct group {
    std::string name;
    std::deque<long long> waiting;
    std::size_t permits = SIZE_MAX;
    std::set<weir::task_id> ids;
    std::size_t on_the_way = 0;
    std::size_t live = 0;
    bool in_line = false;
    bool known = true;
  };
  struct running {
    long long end = 0;
    bool fails = false;
    group* of = nullptr;
    bool cancelled = false;
  };

  std::string submit(const char* stem, std::vector<long long> durations, std::size_t permits) {
    if (locked)
      return "locked";
    auto& g = groups_.emplace_back();
    g.name = stem + std::to_string(numbers_[stem]++);
    g.waiting.assign(durations.begin(), durations.end());
    g.permits = permits;
    wants(g);
    go_on();
    return g.name;
  }

  void resize(std::size_t limit) {
    limit_ = limit;
    fill();
    go_on();
  }

  std::string cancel(const std::vector<weir::task_id>& ids) {
    for (const auto id : ids) {
      const auto found = tasks_.find(id);
      if (found == tasks_.end())
        return recent.contains(id) ? "ended" : "not found";
    }
    for (const auto id : ids)
      tasks_[id].cancelled = true;
    deliver();
    return "";
  }

  std::string cancel_group(std::size_t index) {
    const auto known = known_groups();
    if (known.empty())
      return "none";
    group& g = *known[index % known.size()];
    forget(g);
    deliver();
    return g.name;
  }

  void cancel_all() {
    for (group* g : known_groups())
      forget(*g);
    deliver();
  }

  void flush() {
    recent.clear();
    for (group* g : known_groups()) {
      if (g->live == 0 && g->waiting.empty() && !g->in_line)
        g->known = false;
    }
  }

  /// Lets tasks end until `time`.
  void pass(long long time) {
    for (;;) {
      auto next = tasks_.end();
      for (auto t = tasks_.begin(); t != tasks_.end(); ++t) {
        if (next == tasks_.end() || t->second.end < next->second.end)
          next = t;
      }
      if (next == tasks_.end() || next->second.end > time)
        break;
      now_ = next->second.end;
      ended(next->first);
    }
    now_ = time;
  }

  [[nodiscard]] std::string state() const {
    std::size_t waiting = 0;
    std::ostringstream text;
    for (const group& g : groups_) {
      waiting += g.waiting.size();
      if (!g.known)
        continue;
      text << g.name << ':';
      for (const auto id : g.ids)
        text << ' ' << id;
      text << "; ";
    }
    text << "size " << limit_ << " running " << tasks_.size() << " waiting " << waiting << " ended "
         << recent.size() << " started " << next_id_ << " finished " << finished << " failed "
         << failed << " cancelled " << cancelled << (locked ? " locked" : "") << " events";
    for (const auto& e : events)
      text << ' ' << e;
    return text.str();
  }

  [[nodiscard]] std::vector<group*> known_groups() {
    std::vector<group*> known;
    for (group& g : groups_) {
      if (g.known)
        known.push_back(&g);
    }
    return known;
  }
  [[nodiscard]] weir::task_id started() const { return next_id_; }

  bool locked = false;
  std::set<weir::task_id> recent; // ended since the last flush
  std::size_t finished = 0;
  std::size_t failed = 0;
  std::size_t cancelled = 0;
  std::multiset<std::string> events; // since the last look

 private:
  void wants(group& g) {
    if (g.in_line || g.waiting.empty() || g.on_the_way >= g.permits)
      return;
    ++g.on_the_way;
    g.in_line = true;
    line_.push_back(&g);
    fill();
  }

  void fill() {
    while (tasks_.size() < limit_ && !line_.empty()) {
      group& g = *line_.front();
      line_.pop_front();
      g.in_line = false;
      const auto duration = g.waiting.front();
      g.waiting.pop_front();
      ++g.live;
      g.ids.insert(next_id_);
      tasks_[next_id_++] = {now_ + duration, duration % 2 != 0, &g};
      just_started_.push_back(&g);
    }
  }

  /// Whoever got room stands in line again, behind those who stand there by now.
  void go_on() {
    while (!just_started_.empty()) {
      group& g = *just_started_.front();
      just_started_.pop_front();
      wants(g);
    }
  }

  void ended(weir::task_id id) {
    const running t = tasks_[id];
    tasks_.erase(id);
    recent.insert(id);
    ++(t.cancelled ? cancelled : t.fails ? failed : finished);
    if (t.cancelled)
      events.insert("c" + std::to_string(id));
    events.insert("e" + std::to_string(id));
    --t.of->on_the_way;
    --t.of->live;
    fill();
    wants(*t.of);
    go_on();
  }

  void forget(group& g) {
    g.known = false;
    cancelled += g.waiting.size();
    g.waiting.clear();
    std::erase(line_, &g);
    g.in_line = false;
    for (auto& [id, t] : tasks_) {
      if (t.of == &g)
        t.cancelled = true;
    }
  }

  void deliver() {
    std::vector<weir::task_id> ids;
    for (const auto& [id, t] : tasks_) {
      if (t.cancelled)
        ids.push_back(id);
    }
    for (const auto id : ids)
      ended(id);
  }

  std::size_t limit_;
  long long now_ = 0;
  weir::task_id next_id_ = 0;
  std::deque<group> groups_;
  std::deque<group*> line_;
  std::deque<group*> just_started_;
  std::map<weir::task_id, running> tasks_;
  std::map<std::string, std::size_t> numbers_;
};

/// What `call` means for a pool that has started so many tasks: mostly one of the newest.
weir::task_id some_id(unsigned pick, weir::task_id started) {
  return started < 2 ? pick % 3 : started + 1 - std::min<weir::task_id>(started, pick % 9);
}

class play {
 public:
  explicit play(const std::vector<call>& calls) : calls_(calls) {}

  /// \return the first difference.
  std::optional<std::string> run() {
    const auto body = [this]() -> weir::task<> { return main(*this); };
    stage_.rt.block_on(body());
    return difference_;
  }

 private:
  static weir::task<> sleeper(long long duration) {
    co_await weir::sleep_for(nanoseconds(duration));
    if (duration % 2 != 0)
      throw std::runtime_error("as asked");
  }

  static weir::task<> main(play& self) {
    weir::task_pool pool(self.stage_.rt, {.pool_size = 3});
    for (self.at_ = 0; self.at_ < self.calls_.size(); ++self.at_) {
      const call& c = self.calls_[self.at_];
      if (c.what == kind::flush) {
        (void)co_await pool.flush(weir::on_exception::collect);
        self.model_.flush();
      } else {
        const std::string answer = self.act(pool, c);
        self.same(answer, self.expect(c), "answer");
      }
      // The clock moves on only when everything else has been done.
      const long long step = c.what == kind::pass ? c.a % 500'000'000 + 1 : 1;
      co_await weir::sleep_for(nanoseconds(step));
      self.time_ += step;
      self.model_.pass(self.time_);
      self.same(self.state_of(pool), self.model_.state(), "state");
      self.events_.clear();
      self.model_.events.clear();
      if (self.difference_)
        break;
    }
    pool.set_pool_size(weir::unlimited);
    (void)co_await pool.gather_and_close(weir::on_exception::collect);
  }

  std::string act(weir::task_pool& pool, const call& c) {
    const auto note = [this](const char* what) {
      return [this, what](weir::task_id id) { events_.insert(what + std::to_string(id)); };
    };
    try {
      switch (c.what) {
      case kind::apply:
        return pool
            .apply(&sleeper, std::tuple(c.durations.empty() ? 0 : c.durations[0]),
                   {.num = c.durations.size(),
                    .end_callback = note("e"),
                    .cancel_callback = note("c")})
            .name();
      case kind::map:
        return pool
            .map(&sleeper, c.durations,
                 {.num_concurrent = c.a % 4 + 1,
                  .end_callback = note("e"),
                  .cancel_callback = note("c")})
            .name();
      case kind::resize:
        pool.set_pool_size(std::size_t{c.a % 6});
        return "";
      case kind::cancel:
        pool.cancel(some_id(c.a, pool.stats().started));
        return "";
      case kind::cancel_two: { // one of which is not there
        const auto started = pool.stats().started;
        pool.cancel({some_id(c.a, started), started + 7});
        return "";
      }
      case kind::cancel_group: {
        const auto known = model_.known_groups();
        if (known.empty())
          return "none";
        const std::string name = known[c.a % known.size()]->name;
        pool.cancel_group(name);
        return name;
      }
      case kind::cancel_all:
        pool.cancel_all();
        return "";
      case kind::lock:
        pool.lock();
        return "";
      case kind::unlock:
        pool.unlock();
        return "";
      case kind::flush:
      case kind::pass:
        return "";
      }
    } catch (const weir::pool_is_locked&) {
      return "locked";
    } catch (const weir::already_ended&) {
      return "ended";
    } catch (const weir::task_not_found&) {
      return "not found";
    } catch (const weir::pool_error& e) {
      return e.what();
    }
    return "";
  }

  std::string expect(const call& c) {
    switch (c.what) {
    case kind::apply:
      return model_.submit("apply-task-group-", c.durations, SIZE_MAX);
    case kind::map:
      return model_.submit("map-task-group-", c.durations, c.a % 4 + 1);
    case kind::resize:
      model_.resize(c.a % 6);
      return "";
    case kind::cancel:
      return model_.cancel({some_id(c.a, model_.started())});
    case kind::cancel_two:
      return model_.cancel({some_id(c.a, model_.started()), model_.started() + 7});
    case kind::cancel_group:
      return model_.cancel_group(c.a);
    case kind::cancel_all:
      model_.cancel_all();
      return "";
    case kind::lock:
    case kind::unlock:
      model_.locked = c.what == kind::lock;
      return "";
    case kind::flush:
    case kind::pass:
      return "";
    }
    return "";
  }

  std::string state_of(const weir::task_pool& pool) {
    std::ostringstream text;
    for (const auto* g : model_.known_groups()) {
      text << g->name << ':';
      try {
        for (const auto id : pool.get_group_ids(g->name))
          text << ' ' << id;
      } catch (const weir::task_group_not_found&) {
        text << " unknown";
      }
      text << "; ";
    }
    const auto s = pool.stats();
    text << "size " << pool.pool_size() << " running " << pool.num_running() << " waiting "
         << s.waiting << " ended " << pool.num_ended() << " started " << s.started << " finished "
         << s.finished << " failed " << s.failed << " cancelled " << s.cancelled
         << (pool.is_locked() ? " locked" : "") << " events";
    for (const auto& e : events_)
      text << ' ' << e;
    return text.str();
  }

  void same(const std::string& got, const std::string& expected, const char* what) {
    if (!difference_ && got != expected)
      difference_ = std::string(what) + " after call " + std::to_string(at_) +
                    ":\n  pool:  " + got + "\n  model: " + expected;
  }

  const std::vector<call>& calls_;
  test::pool_stage stage_;
  model model_{3};
  std::multiset<std::string> events_;
  long long time_ = 0;
  std::size_t at_ = 0;
  std::optional<std::string> difference_;
};

std::optional<std::string> difference(const std::vector<call>& calls) {
  return play(calls).run();
}

} // namespace

TEST_CASE("random calls do what a sequential model says", "[model]") {
  constexpr int sequences = 252;
  constexpr std::size_t length = 400;
  test::play_sequences(
      sequences, length, random_calls,
      [](std::uint64_t, const std::vector<call>& calls) { return difference(calls); }, shown);
  STATIC_REQUIRE(sequences * length >= 100'000);
}
