// SPDX-License-Identifier: MIT
#include "simulation.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace scaling {

namespace {

std::uint64_t bit(int who) {
  return std::uint64_t{1} << who;
}

} // namespace

bool model::set(std::string_view name, std::int64_t value) {
  struct parameter {
    std::string_view name;
    std::int64_t model::* where;
  };
  static constexpr parameter parameters[] = {{"workers", &model::workers},
                                             {"seed", &model::seed},
                                             {"lazy", &model::lazy},
                                             {"suspends", &model::suspends},
                                             {"one_word", &model::one_word},
                                             {"locked", &model::locked},
                                             {"counted", &model::counted},
                                             {"near_of_8", &model::near_of_8},
                                             {"parked", &model::parked},
                                             {"wake_many", &model::wake_many},
                                             {"fork", &model::fork},
                                             {"leaf", &model::leaf},
                                             {"hit", &model::hit},
                                             {"near", &model::near},
                                             {"far", &model::far},
                                             {"rmw", &model::rmw},
                                             {"pause", &model::pause},
                                             {"spin", &model::spin},
                                             {"wake_call", &model::wake_call},
                                             {"wake", &model::wake},
                                             {"group", &model::group}};
  for (const auto& p : parameters) {
    if (p.name == name) {
      this->*p.where = value;
      return true;
    }
  }
  return false;
}

simulation::simulation(const tree& work, const model& m)
    : work_(work), model_(m),
      random_(static_cast<std::uint64_t>(m.seed) * 0x9e3779b97f4a7c15U + 1) {
  if (m.workers < 1 || m.workers > 64)
    throw std::invalid_argument("1 to 64 workers");
  workers_.resize(static_cast<std::size_t>(m.workers));
  not_begun_ = workers_.size();
  for (worker& w : workers_) {
    const int i = index(w);
    for (line* l : {&w.bottom, &w.top, &w.hints})
      *l = {.sharers = bit(i), .owner = i};
  }
  for (line* l : {&idle_word_, &thieves_word_})
    l->sharers = bit(static_cast<int>(m.workers - 1)) * 2 - 1;
  for (int i = 0; i < 8; ++i)
    (void)random();
}

const outcome& simulation::run() {
  take_up(workers_[0], work_.root(), 0, -1, 0);
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    worker& w = workers_[i];
    if (!model_.lazy) {
      schedule(w, 0);
    } else if (!model_.parked && searching_ < model_.workers / 2) {
      ++searching_;
      schedule(w, 0);
    } else {
      w.doing = activity::sleeping;
      sleepers_.push_back(static_cast<int>(i));
    }
  }
  while (!finished_) {
    if (events_.empty())
      throw std::logic_error("everybody sleeps and the work is not done");
    const event next = events_.top();
    events_.pop();
    worker& w = workers_[static_cast<std::size_t>(next.who)];
    if (next.turn != w.turn)
      continue;
    now_ = next.time;
    if (w.doing != activity::working) {
      attempt(w);
      continue;
    }
    bring_up(w, now_);
    w.time = now_;
    if (calm(w)) {
      out_.forks += work_.forks(w.at);
      out_.leaves += work_.leaves(w.at);
      pop(w);
    } else {
      end_step(w);
    }
  }
  out_.time = now_;
  if (!model_.lazy)
    out_.published = out_.publications = out_.forks;
  return out_;
}

picoseconds simulation::transfer(line& l, int to, int from) {
  const bool is_near = to / model_.group == from / model_.group;
  ++(is_near ? out_.near_lines : out_.far_lines);
  const picoseconds begin = std::max(now_, l.free_at);
  l.free_at = begin + (is_near ? model_.near : model_.far);
  return l.free_at - now_;
}

picoseconds simulation::read(line& l, int who) {
  if ((l.sharers & bit(who)) != 0)
    return model_.hit;
  l.sharers |= bit(who);
  return transfer(l, who, l.owner);
}

picoseconds simulation::write(line& l, int who) {
  const std::uint64_t others = l.sharers & ~bit(who);
  if (others == 0)
    return model_.hit;
  // All copies go at once; what counts is the one that is furthest away.
  int from = l.owner;
  for (int i = 0; i < model_.workers; ++i) {
    if ((others & bit(i)) != 0 && (from == who || i / model_.group != who / model_.group))
      from = i;
  }
  l.sharers = bit(who);
  l.owner = who;
  return transfer(l, who, from);
}

/// An owner at work finds that somebody has had its line. While it waits for one, it does not lose
/// it again, and then it gets at least one step further.
void simulation::delay(worker& w, line& l, bool writes) {
  if (w.doing != activity::working || now_ < w.stalled)
    return;
  const picoseconds others = std::exchange(l.free_at, now_); // thieves wait for it, not it for them
  const picoseconds cost = writes ? write(l, index(w)) : read(l, index(w));
  l.free_at = std::max(others, l.free_at);
  ++out_.owner_lines;
  w.left += cost;
  w.stalled = now_ + cost + model_.fork;
}

void simulation::schedule(worker& w, picoseconds time) {
  events_.push({time, index(w), ++w.turn});
}

/// When it will next do something that others take part in.
void simulation::plan(worker& w) {
  if (w.doing != activity::working)
    return;
  picoseconds left = w.left;
  if (calm(w)) {
    left = remaining(w);
    for (std::size_t i = bound(w); i < w.frames.size(); ++i)
      left += span_of(w.frames[i].right);
  }
  schedule(w, w.time + left);
}

void simulation::bring_up(worker& w, picoseconds time) {
  if (w.doing != activity::working)
    return;
  picoseconds passed = time - w.time;
  while (calm(w)) {
    const picoseconds all = remaining(w);
    if (all <= passed) {
      if (w.frames.size() <= bound(w))
        break; // its own event comes at this moment
      passed -= all;
      out_.forks += work_.forks(w.at);
      out_.leaves += work_.leaves(w.at);
      const node next = w.frames.back().right;
      w.frames.pop_back();
      begin(w, next);
    } else if (w.left > passed) {
      break;
    } else {
      passed -= w.left;
      ++out_.forks;
      push(w);
    }
  }
  const picoseconds part = std::min(passed, w.left);
  w.left -= part;
  w.time = time - (passed - part);
}

void simulation::begin(worker& w, const node& n) {
  w.doing = activity::working;
  w.at = n;
  w.left = first_step(n) + w.owed;
  w.owed = 0;
}

void simulation::take_up(worker& w, const node& n, picoseconds cost, int parent,
                         std::size_t parent_frame) {
  w.contexts.push_back({w.frames.size(), parent, parent_frame});
  w.owed += cost;
  w.time = now_;
  begin(w, n);
  if (!w.began) {
    w.began = true;
    if (--not_begun_ == 0)
      out_.all_busy = now_ + cost;
  }
  plan(w);
}

void simulation::end_step(worker& w) {
  if (work_.is_leaf(w.at)) {
    ++out_.leaves;
    pop(w);
  } else {
    ++out_.forks;
    push(w);
    plan(w);
  }
}

void simulation::push(worker& w) {
  const node n = w.at;
  w.frames.push_back({work_.right(n)});
  out_.deepest = std::max<std::uint64_t>(out_.deepest, w.frames.size());
  if (model_.lazy && w.guard_null)
    publish(w, w.frames.size());
  begin(w, work_.left(n));
}

void simulation::pop(worker& w) {
  if (w.frames.size() == w.contexts.back().base || (model_.suspends && w.frames.size() == w.tail)) {
    end_context(w);
    return;
  }
  const std::size_t at = w.frames.size() - 1;
  if (model_.lazy ? (at >= w.split && !w.floor_high) || take_back(w) : at >= w.tail) {
    const node next = w.frames.back().right;
    w.frames.pop_back();
    begin(w, next);
    plan(w);
  } else {
    continue_join(w);
  }
}

void simulation::end_context(worker& w) {
  const context ended = w.contexts.back();
  w.contexts.pop_back();
  if (model_.suspends) {
    w.frames.clear();
    w.tail = 0;
    signal(w, w.target);
  } else if (ended.parent < 0) {
    finished_ = true;
  } else {
    worker& parent = workers_[static_cast<std::size_t>(ended.parent)];
    parent.frames[ended.parent_frame].done = true;
    line result{.sharers = bit(ended.parent), .owner = ended.parent};
    const picoseconds cost = write(result, index(w)) + model_.rmw;
    w.owed += cost;
    // The owner polls it; the line comes back to it.
    if (parent.doing == activity::waiting && parent.frames.size() == ended.parent_frame + 1)
      schedule(parent, now_ + cost + read(result, ended.parent));
  }
  if (finished_)
    return;
  if (w.contexts.empty())
    look_for_work(w);
  else
    continue_join(w);
}

/// The newest fork of `w` was stolen.
void simulation::continue_join(worker& w) {
  if (w.frames.back().done) {
    w.frames.pop_back();
    w.tail = w.split = w.frames.size();
    w.guard_null = true;
    w.floor_high = false;
    w.time = now_;
    pop(w);
    return;
  }
  w.doing = activity::waiting;
  w.guard_null = true;
  w.floor_high = false;
  schedule(w, now_ + w.owed);
  w.owed = 0;
}

} // namespace scaling
