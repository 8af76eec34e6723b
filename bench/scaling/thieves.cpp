// SPDX-License-Identifier: MIT
// The simulation's thieves: what they find, what that costs them and the owner, and their sleep.
#include "simulation.hpp"

#include <algorithm>

namespace scaling {

namespace {

constexpr std::size_t entry_lines = 2; // of a stolen fork: its slot, and what it points to

} // namespace

void simulation::publish(worker& w, std::size_t count) {
  const int self = index(w);
  const std::size_t fresh = count - w.split;
  picoseconds cost = write(w.bottom, self) + model_.rmw;
  cost += static_cast<picoseconds>(fresh) * model_.hit + read(idle_word_, self);
  if (w.split == 0 || w.tail != w.last_tail)
    w.extra = searching_ != 0 || !sleepers_.empty() ? model_.workers - 1 : 0;
  else if (w.extra != 0)
    --w.extra;
  w.last_tail = w.tail;
  w.split = count;
  ++out_.publications;
  out_.published += fresh;
  w.owed += cost;
  set_hints(w);
  picoseconds waking = 0;
  (void)wake_one(w, waking);
  w.owed += waking;
}

void simulation::set_hints(worker& w) {
  w.owed += write(w.hints, index(w)) + model_.rmw;
  w.floor_high = w.tail == w.split;
  w.guard_null = w.extra > 1 || w.tail == w.split;
}

/// \return whether the newest fork is still there.
bool simulation::take_back(worker& w) {
  const std::size_t at = w.frames.size() - 1;
  if (at >= w.split) {
    if (at > w.split)
      publish(w, at);
    else if (w.tail < w.split)
      set_hints(w);
    else
      w.floor_high = false;
    return true;
  }
  if (w.tail > at)
    return false;
  ++out_.taken_back;
  w.owed += write(w.bottom, index(w)) + model_.rmw;
  w.split = w.tail + (at - w.tail + 1) / 2;
  if (w.split != w.tail) {
    set_hints(w);
  } else {
    w.floor_high = false;
    w.guard_null = true;
  }
  return true;
}

void simulation::poison(worker& thief, worker& victim, picoseconds& cost) {
  cost += read(victim.hints, index(thief));
  if (victim.guard_null && victim.floor_high)
    return;
  cost += write(victim.hints, index(thief));
  victim.guard_null = victim.floor_high = true;
  delay(victim, victim.hints, false);
}

void simulation::look_for_work(worker& w) {
  if (model_.lazy) {
    start_searching(w);
    return;
  }
  w.doing = activity::searching;
  schedule(w, now_ + w.owed);
  w.owed = 0;
}

int simulation::choose_victim(int thief) {
  constexpr int close = 8;
  const int count = static_cast<int>(model_.workers);
  const int first = thief / close * close;
  const int close_ones = std::min(close, count - first);
  const bool is_near = close_ones > 1 && static_cast<std::int64_t>(random() % 8) < model_.near_of_8;
  int victim = is_near ? first + static_cast<int>(random() % static_cast<unsigned>(close_ones - 1))
                       : static_cast<int>(random() % static_cast<unsigned>(count - 1));
  if (victim >= thief)
    ++victim;
  return victim;
}

/// A thief's turn.
void simulation::attempt(worker& w) {
  const int self = index(w);
  if (w.doing == activity::waiting && w.frames.back().done) {
    continue_join(w);
    return;
  }
  const std::size_t count = workers_.size();
  picoseconds cost = 0;
  if (!model_.lazy) {
    worker& victim = workers_[static_cast<std::size_t>(choose_victim(self))];
    bring_up(victim, now_);
    cost = read(victim.bottom, self);
    if (!model_.one_word)
      cost += read(victim.top, self);
    // The owner writes there at each fork and join.
    delay(victim, victim.bottom, true);
    if (!steal(w, victim, cost)) {
      ++out_.failed;
      schedule(w, now_ + cost + model_.pause);
    }
    plan(victim);
    return;
  }
  // Helping begins with the thief of what is waited for.
  if (w.doing == activity::waiting && w.frames.back().thief >= 0) {
    worker& first = workers_[static_cast<std::size_t>(w.frames.back().thief)];
    cost += read(first.bottom, self);
    if (steal(w, first, cost))
      return;
  }
  std::size_t at = random() % count;
  for (std::size_t i = 0; i < count; ++i, at = at + 1 == count ? 0 : at + 1) {
    worker& victim = workers_[at];
    if (&victim == &w)
      continue;
    cost += read(victim.bottom, self);
    if (steal(w, victim, cost))
      return;
  }
  ++out_.failed;
  cost += (w.doing == activity::waiting ? 32 : 4) * model_.pause;
  if (w.doing == activity::searching && now_ + cost - w.searches_since > model_.spin) {
    --searching_;
    w.owed += cost + write(idle_word_, self) + model_.rmw;
    go_to_sleep(w);
    return;
  }
  schedule(w, now_ + cost);
}

bool simulation::steal(worker& thief, worker& victim, picoseconds& cost) {
  if (&thief == &victim || !stealable(victim))
    return false;
  const int self = index(thief);
  const int other = index(victim);
  bring_up(victim, now_);
  if (!stealable(victim))
    return false;
  const std::size_t at = victim.tail++;
  victim.frames[at].thief = self;
  ++out_.steals;
  line& word = model_.lazy || model_.one_word ? victim.bottom : victim.top;
  cost += write(word, self) + model_.rmw;
  if (model_.locked)
    cost += write(victim.hints, self) + 2 * model_.rmw;
  for (std::size_t i = 0; i < entry_lines; ++i) {
    line entry{.sharers = std::uint64_t{1} << other, .owner = other};
    cost += read(entry, self);
  }
  if (model_.counted)
    cost += write(thieves_word_, self) + model_.rmw;
  if (model_.lazy) {
    if (victim.tail == victim.split)
      poison(thief, victim, cost);
    if (thief.doing == activity::searching)
      stop_searching(thief, cost);
  } else {
    delay(victim, word, model_.one_word != 0); // its next join looks there
  }
  if (model_.suspends) {
    joins_.push_back({2, victim.target});
    thief.target = victim.target = static_cast<int>(joins_.size()) - 1;
  }
  take_up(thief, victim.frames[at].right, cost, other, at);
  plan(victim);
  return true;
}

void simulation::signal(worker& w, int target) {
  while (target >= 0) {
    join& j = joins_[static_cast<std::size_t>(target)];
    w.owed += model_.rmw + model_.far;
    ++out_.far_lines;
    if (--j.missing != 0)
      return;
    target = j.above;
  }
  finished_ = true;
}

bool simulation::any_public() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [this](const worker& w) { return stealable(w); });
}

void simulation::start_searching(worker& w) {
  w.owed += read(idle_word_, index(w));
  if (searching_ >= std::max<std::int64_t>(1, model_.workers / 2)) {
    go_to_sleep(w);
    return;
  }
  ++searching_;
  w.owed += write(idle_word_, index(w)) + model_.rmw;
  w.doing = activity::searching;
  w.searches_since = now_;
  schedule(w, now_ + w.owed);
  w.owed = 0;
}

void simulation::stop_searching(worker& w, picoseconds& cost) {
  cost += write(idle_word_, index(w)) + model_.rmw;
  if (--searching_ == 0 && any_public())
    (void)wake_one(w, cost);
}

void simulation::go_to_sleep(worker& w) {
  if (searching_ == 0 && any_public()) { // it wakes itself
    ++searching_;
    w.doing = activity::searching;
    w.searches_since = now_;
    schedule(w, now_ + w.owed);
    w.owed = 0;
    return;
  }
  ++out_.parks;
  w.owed = 0;
  w.doing = activity::sleeping;
  sleepers_.push_back(index(w));
}

bool simulation::wake_one(worker& w, picoseconds& cost) {
  cost += read(idle_word_, index(w));
  const std::int64_t limit = model_.wake_many ? std::max<std::int64_t>(1, model_.workers / 2) : 1;
  if (searching_ >= limit || sleepers_.empty())
    return false;
  worker& woken = workers_[static_cast<std::size_t>(sleepers_.back())];
  sleepers_.pop_back();
  ++searching_;
  ++out_.wakes;
  cost += write(idle_word_, index(w)) + model_.rmw + model_.wake_call;
  woken.doing = activity::searching;
  woken.searches_since = now_ + cost + model_.wake;
  schedule(woken, woken.searches_since);
  return true;
}

} // namespace scaling
