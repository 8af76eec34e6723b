// SPDX-License-Identifier: MIT
// Random sequences of calls to fixed_pool and autoscale_pool, against a pool of the simplest kind:
// one thread, one loop, no waiting.
#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <catch.hpp>
#include <support/call_sequences.hpp>
#include <support/pool_log.hpp>
#include <support/support.hpp>

namespace {

using nanoseconds = std::chrono::nanoseconds;
constexpr long long never = std::numeric_limits<long long>::max();

enum class kind : unsigned char {
  submit_nowait,
  try_submit,
  post,
  submit,
  give_up,
  stop_by_handle,
  cancel,
  cancel_two,
  cancel_all,
  scale,
  scale_hard,
  step,
  pause,
  resume,
  toggle,
  close_soft,
  close_hard,
  close,
  start,
  pass,
};
constexpr const char* kind_names[] = {"submit_nowait", "try_submit",     "post",       "submit",
                                      "give_up",       "stop_by_handle", "cancel",     "cancel_two",
                                      "cancel_all",    "scale",          "scale_hard", "step",
                                      "pause",         "resume",         "toggle",     "close_soft",
                                      "close_hard",    "close",          "start",      "pass"};

struct call {
  kind what = kind::pass;
  unsigned a = 0;
  int weight = 4;
  long long duration = 0; // in nanoseconds; 0: a plain function. Odd ones fail
  long long start_by = never;
  long long timeout = never;
  bool callbacks = false;
};

std::vector<call> random_calls(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  std::vector<call> calls;
  for (std::size_t i = 0; i < count; ++i) {
    call c;
    const auto pick = random() % 200;
    c.what = pick < 30    ? kind::submit_nowait
             : pick < 45  ? kind::try_submit
             : pick < 53  ? kind::post
             : pick < 75  ? kind::submit
             : pick < 81  ? kind::give_up
             : pick < 91  ? kind::stop_by_handle
             : pick < 103 ? kind::cancel
             : pick < 107 ? kind::cancel_two
             : pick < 109 ? kind::cancel_all
             : pick < 119 ? kind::scale
             : pick < 123 ? kind::scale_hard
             : pick < 130 ? kind::step
             : pick < 132 ? kind::pause
             : pick < 140 ? kind::resume
             : pick < 142 ? kind::toggle
             : pick < 144 ? kind::close_soft
             : pick < 145 ? kind::close_hard
             : pick < 148 ? kind::close
             : pick < 155 ? kind::start
                          : kind::pass;
    c.a = static_cast<unsigned>(random());
    c.weight = static_cast<int>(random() % 4) - 1;
    if (c.what != kind::post && !one_in(6))
      c.duration = static_cast<long long>(random() % 1'000'000'000) + 1;
    if (one_in(8))
      c.start_by = static_cast<long long>(random() % 500'000'000) - 50'000'000;
    if (c.duration != 0 && one_in(8))
      c.timeout = static_cast<long long>(random() % 1'000'000'000) + 1;
    c.callbacks = one_in(3);
    calls.push_back(c);
  }
  return calls;
}

std::string shown(const std::vector<call>& calls) {
  std::ostringstream text;
  for (const call& c : calls)
    text << kind_names[static_cast<std::size_t>(c.what)] << ' ' << c.a << " weight " << c.weight
         << " takes " << c.duration << " start_by " << c.start_by << " timeout " << c.timeout
         << (c.callbacks ? " callbacks\n" : "\n");
  return text.str();
}

enum class order : unsigned char { fifo, lifo, priority };

struct setup {
  order by = order::fifo;
  bool scales = false; // an autoscale_pool
  std::size_t size = 2;
  std::size_t most = 9;
  std::size_t bound = 0;
  bool ids = false;
};

int by_number(unsigned number, unsigned span) {
  return static_cast<int>(number % (2 * span + 1)) - static_cast<int>(span);
}

/// Twice as many waiting as there are slots: two more. None: one fewer.
std::ptrdiff_t wanted_step(std::size_t waiting, std::size_t size) {
  return waiting > 2 * size ? 2 : waiting == 0 ? -1 : 0;
}

/// A pool without tasks: it only knows what should happen when. Tasks are known by the number of
/// their call.
class model {
 public:
  explicit model(const setup& s) : setup_(s), target_(s.size) {}

  struct task {
    std::size_t number = 0;
    call said;
    long long start_by = never;
    long long end = never;
    bool fails = false;
    std::optional<weir::task_id> id{};
    std::uint64_t arrival = 0;
  };

  // What calls answer.

  std::string submit(std::size_t number, const call& c, bool waits) {
    if (const auto refused = refusal(); !refused.empty()) {
      if (waits)
        event("r", number);
      return refused;
    }
    const task t = made(number, c);
    if (!has_room()) {
      if (!waits)
        return "full";
      room_line_.push_back(t);
      return "waits";
    }
    ++room_;
    accept(t);
    settle();
    return "accepted";
  }

  /// The submitter's own wait is given up.
  void give_up(std::size_t number) {
    const auto waits = std::ranges::find(room_line_, number, &task::number);
    if (waits != room_line_.end()) {
      room_line_.erase(waits);
      event("g", number);
      settle();
      return;
    }
    given_up_.insert(number);
    stop({number});
  }

  /// Those that wait first, then those that run; none twice.
  void stop(const std::vector<std::size_t>& numbers) {
    for (const auto number : numbers) {
      if (std::ranges::find(waiting_, number, &task::number) != waiting_.end())
        cancel_waiting(number);
    }
    for (const auto number : numbers) {
      if (running_.contains(number))
        ended(number, "c");
    }
    settle();
  }

  [[nodiscard]] std::string refusal_of(weir::task_id id) const {
    if (id >= next_id_)
      return "not found";
    return number_of(id) ? "" : "ended";
  }
  std::string cancel(const std::vector<weir::task_id>& ids) {
    for (const auto id : ids) {
      if (auto refused = refusal_of(id); !refused.empty())
        return refused;
    }
    std::vector<std::size_t> numbers;
    for (const auto id : ids)
      numbers.push_back(*number_of(id));
    stop(numbers);
    return "";
  }
  std::string cancel_all() {
    std::map<weir::task_id, std::size_t> by_id;
    for (const task& t : waiting_) {
      if (t.id)
        by_id.emplace(*t.id, t.number);
    }
    for (const auto& [number, t] : running_) {
      if (t.id)
        by_id.emplace(*t.id, number);
    }
    std::vector<std::size_t> numbers;
    for (const auto& [id, number] : by_id)
      numbers.push_back(number);
    stop(numbers);
    return std::to_string(numbers.size());
  }

  /// \param stopped what a hard removal has stopped: which ones, only the pool knows.
  std::string scale(int by, bool hard, std::vector<std::size_t> stopped) {
    if (closed_)
      return "closed";
    const std::size_t before = target_;
    std::erase_if(stopped, [this](std::size_t number) { return !running_.contains(number); });
    set_target(by, least(), setup_.scales ? setup_.most : 1'000'000);
    std::string answer = std::to_string(target_);
    const std::size_t busy = std::min(running_.size(), before);
    const std::size_t victims = hard && target_ < before && busy > target_ ? busy - target_ : 0;
    if (hard && stopped.size() != victims)
      return answer + ", stops " + std::to_string(victims);
    for (std::size_t i = 0; i < victims; ++i)
      ended(stopped[i], "c");
    settle();
    return answer;
  }

  std::string step() {
    if (!setup_.scales || closed_)
      return "0";
    const std::size_t before = target_;
    set_target(wanted_step(waiting_.size(), target_), least(), setup_.most);
    settle();
    return std::to_string(static_cast<long long>(target_) - static_cast<long long>(before));
  }

  void set_paused(bool to) { paused_ = to; }
  std::string toggle() {
    paused_ = !paused_;
    return paused_ ? "1" : "0";
  }

  void close(bool hard) {
    closed_ = true;
    if (drained_)
      return;
    if (hard || target_ == 0)
      drop_waiting();
    if (hard)
      stop_running();
    settle();
  }
  void close_in_time(std::size_t number, long long waiting, long long running) {
    closed_ = true;
    if (drained_) {
      event("closed", number);
      return;
    }
    if (target_ == 0)
      drop_waiting();
    closers_.push_back({number, waiting == never ? never : now_ + waiting, running});
    settle();
  }
  std::string start() {
    if (closed_ && !drained_)
      return "closing";
    closed_ = false;
    drained_ = false;
    paused_ = false;
    sweep_ = false;
    if (target_ < setup_.size)
      set_target(static_cast<long long>(setup_.size - target_), 0, 1'000'000);
    settle();
    return "";
  }

  /// Lets things happen until `time`.
  void pass(long long time) {
    for (;;) {
      long long next = never;
      for (const auto& [number, t] : running_)
        next = std::min(next, t.end);
      for (const task& t : waiting_)
        next = std::min(next, t.start_by);
      for (const closer& c : closers_)
        next = std::min(next, c.deadline);
      if (next > time)
        break;
      now_ = std::max(now_, next);
      happen(next);
      settle();
    }
    now_ = time;
  }

  [[nodiscard]] std::string state() const {
    std::ostringstream text;
    const std::size_t accepted =
        waiting_.size() + running_.size() + finished_ + failed_ + cancelled_;
    text << "size " << std::max(target_, running_.size()) << " target " << target_ << " waiting "
         << waiting_.size() << " running " << running_.size() << " accepted " << accepted
         << " finished " << finished_ << " failed " << failed_ << " cancelled " << cancelled_
         << " max " << setup_.bound << (paused_ || closed_ ? " paused" : "")
         << (drained_ ? " closed" : "") << " events";
    for (const auto& e : events)
      text << ' ' << e;
    return text.str();
  }
  [[nodiscard]] weir::task_id ids_given() const { return next_id_; }

  std::multiset<std::string> events; // since the last look

 private:
  struct closer {
    std::size_t number = 0;
    long long deadline = never;
    long long for_running = never;
    bool emptied = false;
  };

  void event(const char* what, std::size_t number) { events.insert(what + std::to_string(number)); }

  [[nodiscard]] std::string refusal() const { return closed_ ? "closed" : paused_ ? "paused" : ""; }
  [[nodiscard]] std::size_t least() const { return setup_.scales ? setup_.size : 0; }

  task made(std::size_t number, const call& c) const {
    task t;
    t.number = number;
    t.said = c;
    if (c.what == kind::post) {
      t.said.callbacks = false;
      t.said.start_by = never;
      t.said.timeout = never;
    } else if (c.start_by != never)
      t.start_by = now_ + c.start_by;
    return t;
  }
  [[nodiscard]] static bool tracked(const task& t) {
    return t.said.callbacks || t.said.start_by != never || t.said.timeout != never;
  }

  // Room.

  [[nodiscard]] bool has_room() const {
    return setup_.bound == 0 || (room_line_.empty() && room_ < target_ + setup_.bound);
  }
  void accept(task t) {
    if (setup_.ids || tracked(t))
      t.id = next_id_++;
    t.arrival = arrivals_++;
    waiting_.push_back(t);
  }
  void admit_first() {
    const task t = room_line_.front();
    room_line_.pop_front();
    accept(t);
  }
  void room_freed() {
    if (setup_.bound == 0)
      return;
    if (!room_line_.empty() && room_ <= target_ + setup_.bound)
      admit_first();
    else
      --room_;
  }
  void set_target(long long by, std::size_t fewest, std::size_t most) {
    const auto to = static_cast<long long>(target_) + by;
    target_ = static_cast<std::size_t>(
        std::clamp(to, static_cast<long long>(fewest), static_cast<long long>(most)));
    while (setup_.bound != 0 && !room_line_.empty() && room_ < target_ + setup_.bound) {
      ++room_;
      admit_first();
    }
  }

  // Slots.

  [[nodiscard]] std::deque<task>::iterator best() {
    switch (setup_.by) {
    case order::fifo:
      return waiting_.begin();
    case order::lifo:
      return waiting_.end() - 1;
    case order::priority:
      return std::ranges::min_element(
          waiting_, {}, [](const task& t) { return std::pair(t.said.weight, t.arrival); });
    }
    return waiting_.end();
  }

  /// A slot whose last task still has its room, if `owes`, until the next one was taken.
  void go_on(bool owes) {
    for (;;) {
      const bool surplus = running_.size() >= target_;
      const bool found = !surplus && !waiting_.empty();
      std::optional<task> next;
      if (found) {
        const auto at = best();
        next = *at;
        waiting_.erase(at);
      }
      if (std::exchange(owes, false))
        room_freed();
      if (!next) {
        if (surplus || waiting_.empty())
          return;
        continue; // somebody was admitted
      }
      if (sweep_) {
        ++cancelled_;
        tell(*next, "c");
        owes = true;
        continue;
      }
      if (next->start_by < now_) {
        ++cancelled_;
        tell(*next, "c");
        room_freed();
        continue;
      }
      if (next->said.duration != 0) {
        started(*next);
        return;
      }
      ++finished_;
      tell(*next, "f");
      owes = true;
    }
  }

  void started(task t) {
    const bool late = t.said.timeout < t.said.duration;
    t.end = now_ + std::min(t.said.duration, t.said.timeout);
    t.fails = late || t.said.duration % 2 != 0;
    running_.emplace(t.number, t);
  }

  void tell(const task& t, const char* how) {
    if (t.said.what != kind::post || how[0] == 'f')
      event(how[0] == 'c' && given_up_.contains(t.number) ? "g" : how, t.number);
    if (t.said.callbacks) {
      if (how[0] == 'c')
        event("C", t.number);
      event("E", t.number);
    }
  }

  void ended(std::size_t number, const char* how) {
    const task t = running_.at(number);
    running_.erase(number);
    ++(how[0] == 'c' ? cancelled_ : how[0] == 'x' ? failed_ : finished_);
    tell(t, how);
    ++owing_;
  }

  void cancel_waiting(std::size_t number) {
    const auto at = std::ranges::find(waiting_, number, &task::number);
    const task t = *at;
    waiting_.erase(at);
    ++cancelled_;
    tell(t, "c");
    room_freed();
  }

  /// From now on.
  void drop_waiting() {
    sweep_ = true;
    while (!waiting_.empty())
      cancel_waiting(waiting_.front().number);
  }
  void stop_running() {
    while (!running_.empty())
      ended(running_.begin()->first, "c");
  }

  void happen(long long time) {
    for (auto t = running_.begin(); t != running_.end(); ++t) {
      if (t->second.end == time) {
        ended(t->first, t->second.fails ? "x" : "f");
        return;
      }
    }
    for (const task& t : waiting_) {
      if (t.start_by == time) {
        cancel_waiting(t.number);
        return;
      }
    }
    for (auto c = closers_.begin(); c != closers_.end(); ++c) {
      if (c->deadline == time) {
        events.insert("late" + std::to_string(c->number) + ":" + std::to_string(waiting_.size()) +
                      "," + std::to_string(running_.size()));
        closers_.erase(c);
        drop_waiting();
        stop_running();
        return;
      }
    }
  }

  void settle() {
    for (;;) {
      while (owing_ != 0) {
        --owing_;
        go_on(true);
      }
      if (closed_ && running_.empty() && target_ == 0 && !waiting_.empty()) {
        drop_waiting(); // no slot would come to it
        continue;
      }
      const auto late =
          std::ranges::find_if(waiting_, [this](const task& t) { return t.start_by <= now_; });
      if (late != waiting_.end()) {
        cancel_waiting(late->number);
        continue;
      }
      if (waiting_.empty() || running_.size() >= target_)
        break;
      go_on(false);
    }
    if (!closed_ || drained_)
      return;
    if (waiting_.empty() && room_line_.empty()) {
      for (closer& c : closers_) {
        if (!std::exchange(c.emptied, true))
          c.deadline = c.for_running == never ? never : now_ + c.for_running;
      }
    }
    if (waiting_.empty() && room_line_.empty() && running_.empty()) {
      drained_ = true;
      target_ = 0;
    }
    if (drained_) {
      for (const closer& c : closers_)
        events.insert("closed" + std::to_string(c.number));
      closers_.clear();
    }
  }

  [[nodiscard]] std::optional<std::size_t> number_of(weir::task_id id) const {
    for (const task& t : waiting_) {
      if (t.id == id)
        return t.number;
    }
    for (const auto& [number, t] : running_) {
      if (t.id == id)
        return number;
    }
    return std::nullopt;
  }

  const setup setup_;
  std::size_t target_;
  long long now_ = 0;
  bool paused_ = false;
  bool closed_ = false;
  bool drained_ = false;
  bool sweep_ = false;
  std::size_t room_ = 0;
  std::size_t owing_ = 0; // slots whose task has ended
  std::uint64_t arrivals_ = 0;
  weir::task_id next_id_ = 0;
  std::deque<task> waiting_;
  std::deque<task> room_line_;
  std::map<std::size_t, task> running_;
  std::vector<closer> closers_;
  std::set<std::size_t> given_up_;
  std::size_t finished_ = 0;
  std::size_t failed_ = 0;
  std::size_t cancelled_ = 0;
};

template <class Pool>
class play {
 public:
  play(const setup& s, const std::vector<call>& calls) : setup_(s), calls_(calls), model_(s) {}

  /// \return the first difference.
  std::optional<std::string> run() {
    const auto body = [this]() -> weir::task<> { return main(*this); };
    stage_.rt.block_on(body());
    return difference_;
  }

 private:
  using options_type = typename Pool::options_type;

  static weir::task<> sleeper(long long duration) {
    co_await weir::sleep_for(nanoseconds(duration));
    if (duration % 2 != 0)
      throw std::runtime_error("as asked");
  }

  std::unique_ptr<Pool> made() {
    if constexpr (requires(Pool& p) { p.step_now(); }) {
      weir::autoscale_options options;
      options.min_size = setup_.size;
      options.max_size = setup_.most;
      options.auto_scale_interval = std::chrono::hours(24 * 365);
      options.policy = [](const weir::autoscale_input& in) {
        return weir::autoscale_decision{wanted_step(in.window.back().waiting, in.size), false};
      };
      options.queue_maxsize = setup_.bound;
      options.ids = setup_.ids;
      return std::make_unique<Pool>(stage_.rt, options);
    } else {
      weir::fixed_pool_options options;
      options.size = setup_.size;
      options.queue_maxsize = setup_.bound;
      options.ids = setup_.ids;
      return std::make_unique<Pool>(stage_.rt, options);
    }
  }

  static weir::task<> main(play& self) {
    const auto pool = self.made();
    for (self.at_ = 0; self.at_ < self.calls_.size(); ++self.at_) {
      const call& c = self.calls_[self.at_];
      self.picked_.reset();
      self.cancelled_.clear();
      const std::string answer = self.act(*pool, c);
      // The clock moves on only when everything else has been done.
      const long long step = c.what == kind::pass ? c.a % 400'000'000 + 1 : 1;
      co_await weir::sleep_for(nanoseconds(1));
      self.look_at_handles();
      self.same(answer, self.expect(c), "answer");
      co_await weir::sleep_for(nanoseconds(step));
      self.look_at_handles();
      self.time_ += step + 1;
      self.model_.pass(self.time_);
      self.same(self.state_of(*pool), self.model_.state(), "state");
      self.events_.clear();
      self.model_.events.clear();
      if (self.difference_)
        break;
    }
    pool->close_nowait(weir::removal::hard);
    auto closing = pool->close();
    co_await closing;
    co_await weir::sleep_for(nanoseconds(1)); // until whoever waited has gone on
    self.look_at_handles();
  }

  options_type options_of(const call& c) {
    options_type options;
    if constexpr (requires { options.weight; })
      options.weight = c.weight;
    if (c.start_by != never)
      options.start_by = stage_.rt.now() + nanoseconds(c.start_by);
    if (c.timeout != never)
      options.timeout = nanoseconds(c.timeout);
    return options;
  }
  /// With callbacks that name the call.
  template <class Submit>
  auto with_callbacks(const call& c, Submit&& submit) {
    options_type options = options_of(c);
    const weir::task_callback end = [this, n = at_] { event("E", n); };
    const weir::task_callback can = [this, n = at_]() -> weir::task<> {
      co_await weir::yield();
      event("C", n);
    };
    if (c.callbacks) {
      options.end_callback = end;
      options.cancel_callback = can;
    }
    return submit(options);
  }

  std::string act(Pool& pool, const call& c) {
    try {
      return act_or_throw(pool, c);
    } catch (const weir::pool_is_closed&) {
      return "closed";
    } catch (const weir::not_available& e) {
      return e.code() == weir::errc::pool_paused ? "paused" : "full";
    } catch (const weir::already_ended&) {
      return "ended";
    } catch (const weir::task_not_found&) {
      return "not found";
    } catch (const weir::error& e) {
      return e.code() == weir::errc::pool_closed ? "closing" : e.what();
    }
  }

  std::string act_or_throw(Pool& pool, const call& c) {
    switch (c.what) {
    case kind::submit_nowait:
      handles_.emplace(at_, with_callbacks(c, [&](const options_type& o) {
                         return c.duration == 0 ? pool.submit_nowait(o, [] {})
                                                : pool.submit_nowait(o, &sleeper, c.duration);
                       }));
      return "accepted";
    case kind::try_submit: {
      auto handle = with_callbacks(c, [&](const options_type& o) {
        return c.duration == 0 ? pool.try_submit(o, [] {})
                               : pool.try_submit(o, &sleeper, c.duration);
      });
      if (!handle)
        return "full";
      handles_.emplace(at_, std::move(*handle));
      return "accepted";
    }
    case kind::post: {
      options_type options;
      if constexpr (requires { options.weight; })
        options.weight = c.weight;
      pool.post(options, [this, n = at_] { event("f", n); });
      return "accepted";
    }
    case kind::submit:
      submitters_.emplace(at_, stage_.rt.spawn(with_callbacks(c, [&](const options_type& o) {
        return submitter(*this, at_,
                         c.duration == 0 ? pool.submit(o, [] {})
                                         : pool.submit(o, &sleeper, c.duration));
      })));
      return "";
    case kind::give_up:
      stop_one_of(submitters_, c.a);
      return "";
    case kind::stop_by_handle:
      stop_one_of(handles_, c.a);
      return "";
    case kind::cancel:
      pool.cancel(some_id(c));
      return "";
    case kind::cancel_two: {
      const auto first = some_id(c);
      pool.cancel({first, first / 2});
      return "";
    }
    case kind::cancel_all:
      return std::to_string(pool.cancel_all());
    case kind::scale:
    case kind::scale_hard:
      return std::to_string(static_cast<std::ptrdiff_t>(pool.scale(
          by_number(c.a, 3), c.what == kind::scale ? weir::removal::soft : weir::removal::hard)));
    case kind::step:
      if constexpr (requires { pool.step_now(); })
        return std::to_string(pool.step_now());
      return "0";
    case kind::pause:
    case kind::resume:
      pool.set_paused(c.what == kind::pause);
      return "";
    case kind::toggle:
      return pool.pause() ? "1" : "0";
    case kind::close_soft:
    case kind::close_hard:
      pool.close_nowait(c.what == kind::close_soft ? weir::removal::soft : weir::removal::hard);
      return "";
    case kind::close: {
      weir::close_options options;
      if (c.a % 2 == 0)
        options.close_worker_timeout = nanoseconds(c.duration + 1'000'003);
      if (c.a % 3 == 0)
        options.close_pool_timeout = nanoseconds(c.duration / 2 + 1'000'003);
      closers_.push_back(stage_.rt.spawn(closer(*this, at_, pool.close(options))));
      return "";
    }
    case kind::start:
      pool.start();
      return "";
    case kind::pass:
      return "";
    }
    return "";
  }

  template <class Map>
  void stop_one_of(Map& map, unsigned which) {
    if (map.empty())
      return;
    auto at = map.begin();
    std::advance(at, which % map.size());
    picked_ = at->first;
    (void)at->second.request_stop();
  }

  template <class Submission>
  static weir::task<> submitter(play& self, std::size_t number, Submission submission) {
    try {
      co_await submission;
      self.event("f", number);
    } catch (const weir::task_cancelled&) {
      self.event(weir::this_task::stop_requested() ? "g" : "c", number);
    } catch (const weir::pool_error&) {
      self.event("r", number);
    } catch (const std::exception&) {
      self.event("x", number);
    }
  }
  static weir::task<> closer(play& self, std::size_t number,
                             weir::task<weir::close_report> closing) {
    const auto report = co_await std::move(closing);
    if (report.in_time)
      self.event("closed", number);
    else
      self.events_.insert("late" + std::to_string(number) + ":" +
                          std::to_string(report.left_waiting) + "," +
                          std::to_string(report.left_running));
  }

  std::string expect(const call& c) {
    switch (c.what) {
    case kind::submit_nowait:
    case kind::try_submit:
    case kind::post:
      return model_.submit(at_, c, false);
    case kind::submit:
      (void)model_.submit(at_, c, true);
      return "";
    case kind::give_up:
      if (picked_)
        model_.give_up(*picked_);
      return "";
    case kind::stop_by_handle:
      if (picked_)
        model_.stop({*picked_});
      return "";
    case kind::cancel:
      return model_.cancel({some_id(c)});
    case kind::cancel_two:
      return model_.cancel({some_id(c), some_id(c) / 2});
    case kind::cancel_all:
      return model_.cancel_all();
    case kind::scale:
    case kind::scale_hard:
      return model_.scale(by_number(c.a, 3), c.what == kind::scale_hard, cancelled_);
    case kind::step:
      return model_.step();
    case kind::pause:
    case kind::resume:
      model_.set_paused(c.what == kind::pause);
      return "";
    case kind::toggle:
      return model_.toggle();
    case kind::close_soft:
    case kind::close_hard:
      model_.close(c.what == kind::close_hard);
      return "";
    case kind::close:
      model_.close_in_time(at_, c.a % 2 == 0 ? c.duration + 1'000'003 : never,
                           c.a % 3 == 0 ? c.duration / 2 + 1'000'003 : never);
      return "";
    case kind::start:
      return model_.start();
    case kind::pass:
      return "";
    }
    return "";
  }

  void event(const char* what, std::size_t number) {
    events_.insert(what + std::to_string(number));
    if (what[0] == 'c')
      cancelled_.push_back(number);
  }

  /// Which tasks have ended since the last look, and how.
  void look_at_handles() {
    std::erase_if(submitters_, [](const auto& one) { return one.second.done(); });
    for (auto at = handles_.begin(); at != handles_.end();) {
      auto& [number, handle] = *at;
      if (!handle.done()) {
        ++at;
        continue;
      }
      try {
        handle.get();
        event("f", number);
      } catch (const weir::task_cancelled&) {
        event("c", number);
      } catch (const std::exception&) {
        event("x", number);
      }
      at = handles_.erase(at);
    }
  }

  std::string state_of(const Pool& pool) {
    const auto s = pool.stats();
    std::ostringstream text;
    text << "size " << pool.size() << " target " << pool.target_size() << " waiting "
         << pool.waiting_tasks_number() << " running " << pool.running_tasks_number()
         << " accepted " << s.accepted << " finished " << s.finished << " failed " << s.failed
         << " cancelled " << s.cancelled << " max " << pool.max_tasks_number()
         << (pool.paused() ? " paused" : "") << (pool.closed() ? " closed" : "") << " events";
    for (const auto& e : events_)
      text << ' ' << e;
    return text.str();
  }

  void same(const std::string& got, const std::string& expected, const char* what) {
    if (!difference_ && got != expected)
      difference_ = std::string(what) + " after call " + std::to_string(at_) + ", " +
                    kind_names[static_cast<std::size_t>(calls_[at_].what)] + ":\n  pool:  " + got +
                    "\n  model: " + expected;
  }

  weir::task_id some_id(const call& c) const {
    const auto given = model_.ids_given();
    return given < 2 ? c.a % 3 : given + 1 - std::min<weir::task_id>(given, c.a % 9);
  }
  const setup setup_;
  const std::vector<call>& calls_;
  test::pool_stage stage_;
  model model_;
  std::multiset<std::string> events_;
  std::map<std::size_t, weir::pool_handle<void>> handles_;
  std::map<std::size_t, weir::handle<void>> submitters_;
  std::vector<weir::handle<void>> closers_;
  std::optional<std::size_t> picked_;  // by this call
  std::vector<std::size_t> cancelled_; // since this call
  long long time_ = 0;
  std::size_t at_ = 0;
  std::optional<std::string> difference_;
};

template <class Pool>
constexpr order order_of() {
  if constexpr (std::is_base_of_v<weir::detail::queued_pool<weir::lifo>, Pool>)
    return order::lifo;
  else if constexpr (std::is_base_of_v<weir::detail::queued_pool<weir::priority>, Pool>)
    return order::priority;
  else
    return order::fifo;
}

template <class Pool>
setup setup_of(std::uint64_t seed) {
  constexpr std::size_t bounds[] = {0, 2, 5};
  setup s;
  s.by = order_of<Pool>();
  s.scales = requires(Pool& p) { p.step_now(); };
  s.size = 1 + seed % 3;
  s.bound = bounds[seed / 3 % 3];
  s.ids = seed % 2 != 0;
  return s;
}

} // namespace

TEMPLATE_TEST_CASE("random calls of the six kinds do what a sequential model says", "[model]",
                   weir::fixed_pool<weir::fifo>, weir::fixed_pool<weir::lifo>,
                   weir::fixed_pool<weir::priority>, weir::autoscale_pool<weir::fifo>,
                   weir::autoscale_pool<weir::lifo>, weir::autoscale_pool<weir::priority>) {
  constexpr int sequences = 43; // of each kind: more than 10^5 calls together
  constexpr std::size_t length = 400;
  test::play_sequences(
      sequences, length, random_calls,
      [](std::uint64_t seed, const std::vector<call>& calls) {
        return play<TestType>(setup_of<TestType>(seed), calls).run();
      },
      shown);
  STATIC_REQUIRE(6 * sequences * length >= 100'000);
}
