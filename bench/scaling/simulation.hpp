// SPDX-License-Identifier: MIT
// A discrete-event simulation of workers that run one tree of forks, and of the cache lines that
// pass between them. docs/scaling.md says what it assumes.
//
// Between two events of a worker nobody else sees what it does, so it is not simulated fork by
// fork: what is left of a subtree takes a known time, and a worker is brought up to date only when
// a thief comes to it. So trees of 10^8 forks cost as much as their steals.
#pragma once

#include "tree.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace scaling {

using picoseconds = std::int64_t;

/// What a design does, and what that costs.
struct model {
  std::int64_t workers = 1;
  std::int64_t seed = 1;
  // The design. Flags are 0 or 1.
  std::int64_t lazy = 0;      ///< forks are published when asked for (weir); else each at once
  std::int64_t suspends = 0;  ///< who comes last to a join goes on; else its owner waits and helps
  std::int64_t one_word = 0;  ///< the deque's two ends share a line
  std::int64_t locked = 0;    ///< thieves lock the victim's deque
  std::int64_t counted = 0;   ///< thieves count themselves in one word of all, at each theft
  std::int64_t near_of_8 = 0; ///< so many of 8 victims are chosen among the 8 next workers
  std::int64_t parked = 0;    ///< all but the first worker sleep at the start; of lazy designs
  std::int64_t wake_many = 0; ///< publications wake also while others search; of lazy designs
  // Costs.
  picoseconds fork = 5'000;          ///< fork, join and bodies of an un-stolen fork
  picoseconds leaf = 0;              ///< work in a leaf
  picoseconds hit = 1'500;           ///< a look at another worker's line that is in the cache
  picoseconds near = 20'000;         ///< a line from a worker of the same group
  picoseconds far = 110'000;         ///< a line from another group
  picoseconds rmw = 7'000;           ///< a locked instruction
  picoseconds pause = 20'000;        ///< between two attempts of a thief
  picoseconds spin = 20'000'000;     ///< how long a thief looks before it sleeps; of lazy designs
  picoseconds wake_call = 2'000'000; ///< what a wake-up costs the one who wakes
  picoseconds wake = 8'000'000;      ///< from there until the other one runs
  std::int64_t group = 4;            ///< workers that share a cache

  /// Sets the parameter of that name. \return false if there is none.
  bool set(std::string_view name, std::int64_t value);
};

/// What has happened.
struct outcome {
  picoseconds time = 0;
  std::uint64_t forks = 0;
  std::uint64_t leaves = 0;
  std::uint64_t steals = 0;
  std::uint64_t failed = 0; ///< attempts to steal that found nothing
  std::uint64_t published = 0;
  std::uint64_t publications = 0;
  std::uint64_t taken_back = 0;
  std::uint64_t parks = 0;
  std::uint64_t wakes = 0;
  std::uint64_t near_lines = 0;
  std::uint64_t far_lines = 0;
  std::uint64_t owner_lines = 0; ///< of these, such as an owner at work had to wait for
  std::uint64_t deepest = 0;     ///< forks of one worker that were open at once
  picoseconds all_busy = 0;      ///< when each worker had begun something; 0: never
};

class simulation {
 public:
  simulation(const tree& work, const model& m);
  /// Runs the whole tree.
  const outcome& run();

 private:
  /// A cache line: who has a copy.
  struct line {
    std::uint64_t sharers = 0;
    int owner = 0;
    picoseconds free_at = 0; ///< transfers of one line wait for each other
  };
  /// A fork whose right side has not been joined.
  struct frame {
    node right;
    bool done = false; ///< if it was stolen
    int thief = -1;
  };
  /// Something that a worker has taken over, above the frames it had then.
  struct context {
    std::size_t base = 0;
    int parent = -1; ///< whose fork that is; -1: the tree's root
    std::size_t parent_frame = 0;
  };
  /// Who comes last to it goes on; of designs that suspend.
  struct join {
    int missing = 2;
    int above = -1; ///< -1: the tree's root
  };
  enum class activity { working, searching, waiting, sleeping };
  struct worker {
    activity doing = activity::searching;
    // What it does: the step of `at` that ends in `left`, if it is working.
    node at;
    picoseconds left = 0;
    picoseconds owed = 0;    ///< delays, before the next step
    picoseconds time = 0;    ///< up to when it has been simulated
    picoseconds stalled = 0; ///< until when it waits for a line
    std::vector<frame> frames;
    std::vector<context> contexts;
    int target = -1; ///< which join the present context ends at
    std::size_t tail = 0;
    bool began = false;
    // Lazy publication, as in weir/detail/fork_stack.hpp.
    std::size_t split = 0;
    std::int64_t extra = 0;
    std::size_t last_tail = 0;
    bool guard_null = true;
    bool floor_high = false;
    picoseconds searches_since = 0;
    // Its lines: the deque's ends (or its word), and the owner's hints.
    line bottom;
    line top;
    line hints;
    std::uint64_t turn = 0; ///< events with another one are stale
  };
  struct event {
    picoseconds time;
    int who;
    std::uint64_t turn;
    bool operator>(const event& other) const {
      return time != other.time ? time > other.time : who > other.who;
    }
  };

  [[nodiscard]] picoseconds span_of(const node& n) const {
    return static_cast<picoseconds>(work_.forks(n)) * model_.fork +
           static_cast<picoseconds>(work_.leaves(n)) * model_.leaf;
  }
  [[nodiscard]] picoseconds first_step(const node& n) const {
    return work_.is_leaf(n) ? model_.leaf : model_.fork;
  }
  [[nodiscard]] picoseconds remaining(const worker& w) const {
    return w.left + span_of(w.at) - first_step(w.at);
  }
  [[nodiscard]] bool calm(const worker& w) const {
    return !model_.lazy || (!w.guard_null && !w.floor_high);
  }
  [[nodiscard]] std::size_t bound(const worker& w) const {
    const std::size_t own = w.contexts.empty() ? 0 : w.contexts.back().base;
    return std::max(own, model_.lazy ? w.split : w.tail);
  }
  [[nodiscard]] bool stealable(const worker& w) const {
    return w.tail < (model_.lazy ? w.split : w.frames.size());
  }
  int index(const worker& w) const { return static_cast<int>(&w - workers_.data()); }

  // Lines.
  picoseconds transfer(line& l, int to, int from);
  picoseconds read(line& l, int who);
  picoseconds write(line& l, int who);
  void delay(worker& w, line& l, bool writes);

  // A worker at work.
  void schedule(worker& w, picoseconds time);
  void plan(worker& w);
  void bring_up(worker& w, picoseconds time);
  void begin(worker& w, const node& n);
  void take_up(worker& w, const node& n, picoseconds cost, int parent, std::size_t parent_frame);
  void end_step(worker& w);
  void push(worker& w);
  void pop(worker& w);
  void end_context(worker& w);
  void continue_join(worker& w);

  // Lazy publication.
  void publish(worker& w, std::size_t count);
  void set_hints(worker& w);
  [[nodiscard]] bool take_back(worker& w);
  void poison(worker& thief, worker& victim, picoseconds& cost);

  // Thieves.
  void look_for_work(worker& w);
  void attempt(worker& w);
  [[nodiscard]] bool steal(worker& thief, worker& victim, picoseconds& cost);
  [[nodiscard]] int choose_victim(int thief);
  void signal(worker& w, int target);

  // Sleep, as in runtime/src/idle_set.hpp.
  void start_searching(worker& w);
  void stop_searching(worker& w, picoseconds& cost);
  void go_to_sleep(worker& w);
  [[nodiscard]] bool wake_one(worker& w, picoseconds& cost);
  [[nodiscard]] bool any_public() const;

  std::uint64_t random() {
    // Marsaglia, "Xorshift RNGs" (2003).
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_;
  }

  tree work_;
  model model_;
  outcome out_;
  std::vector<worker> workers_;
  std::vector<join> joins_;
  std::priority_queue<event, std::vector<event>, std::greater<>> events_;
  picoseconds now_ = 0;
  bool finished_ = false;
  std::uint64_t random_;
  std::int64_t searching_ = 0;
  std::vector<int> sleepers_;
  line idle_word_;
  line thieves_word_;
  std::size_t not_begun_ = 0;
};

} // namespace scaling
