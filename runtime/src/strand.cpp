// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/detail/strand_engine.hpp>
#include <weir/error.hpp>

#include <mutex>
#include <utility>

namespace weir::detail {

namespace {

/// The calling code as `has_turn_` names it.
const void* caller() noexcept {
  const thread_state& thread = this_thread();
  if (thread.current != nullptr)
    return thread.current;
  return &thread;
}

} // namespace

strand_engine::strand_engine(scheduler& home) noexcept : accepted_job(&run_turns), home_(&home) {}

strand_engine::~strand_engine() = default;

void strand_engine::post(thread_state& thread, job& posted) {
  append(thread, kind::posted, &posted);
}

void strand_engine::submit(thread_state& thread, task_block& task) {
  append(thread, kind::task, &task);
}

void strand_engine::append(thread_state& thread, kind what, void* which) {
  {
    const std::scoped_lock lock(mutex_);
    items_.push_back({what, which});
    if (busy_)
      return;
    busy_ = true;
    keep_alive_ = shared_from_this();
  }
  // If the runtime has been closed meanwhile, everything is dropped in here (B2).
  submit_accepted(*home_, thread, *this);
}

bool strand_engine::enter_or_wait(section_node& node) {
  if (on_strand())
    throw_error(errc::would_deadlock,
                "a task that has the strand's turn must not wait for a section of its own: it "
                "would wait for itself");
  {
    const std::scoped_lock lock(mutex_);
    const bool idle = !std::exchange(busy_, true);
    if (!idle || &node.scope().root().home() != home_) {
      try {
        items_.push_back({kind::section, &node});
      } catch (...) {
        busy_ = !idle;
        throw;
      }
      node.place_ = taken_ + items_.size() - 1;
      if (!idle)
        return true;
    }
    keep_alive_ = shared_from_this();
    if (items_.empty()) {
      rooted_ = false;
      turn_.store(runner_left, std::memory_order_relaxed); // of this task until it leaves
      has_turn_.store(&node.scope(), std::memory_order_relaxed);
      return false;
    }
  }
  submit_accepted(*home_, this_thread(), *this);
  return true;
}

bool strand_engine::withdraw(section_node& node) noexcept {
  const std::scoped_lock lock(mutex_);
  if (node.place_ < taken_)
    return false;
  items_.at(node.place_ - taken_).what = kind::nothing;
  return true;
}

bool strand_engine::on_strand() const noexcept {
  // Relaxed: only the thread or task that has the turn can find itself here.
  return has_turn_.load(std::memory_order_relaxed) == caller();
}

void strand_engine::take_over() noexcept {
  has_turn_.store(caller(), std::memory_order_relaxed); // see on_strand
}

void strand_engine::skip_withdrawn() noexcept {
  while (!items_.empty() && items_.at(0).what == kind::nothing) {
    (void)items_.pop_front();
    ++taken_;
  }
}

strand_engine::item strand_engine::take() noexcept {
  skip_withdrawn();
  if (items_.empty())
    return {};
  ++taken_;
  return items_.pop_front();
}

std::shared_ptr<strand_engine> strand_engine::become_idle() noexcept {
  busy_ = false;
  return std::move(keep_alive_);
}

void strand_engine::run_turns(job& self, thread_state& thread) noexcept {
  static_cast<strand_engine&>(self).run_all(thread);
}

void strand_engine::run_all(thread_state& thread) noexcept {
  // Not on a worker of this runtime: the runtime is closed and everything is dropped.
  const bool on_worker = thread.home == home_;
  // What a turn wakes must not wait for the end of this run.
  thread.chain_budget = 0;
  for (int turns = 0;; ++turns) {
    item next;
    {
      std::unique_lock lock(mutex_);
      skip_withdrawn();
      if (items_.empty()) {
        auto keep = become_idle();
        lock.unlock();
        keep.reset();         // maybe the engine
        thread.count_ended(); // last, see task_block::retire
        return;
      }
      if (turns == batch && on_worker) {
        lock.unlock();
        schedule_last(*home_, thread, *this);
        return;
      }
      next = take();
    }
    if (on_worker)
      thread.discarding = home_->current_state() >= scheduler::state::stopping;
    if (next.what == kind::posted) {
      has_turn_.store(&thread, std::memory_order_relaxed); // see on_strand
      auto& posted = *static_cast<job*>(next.which);
      if (on_worker)
        thread.self->count_spawned(1); // S1
      posted.run(posted, thread);
      has_turn_.store(nullptr, std::memory_order_relaxed);
    } else if (next.what == kind::task) {
      if (!run_task(thread, *static_cast<task_block*>(next.which)))
        return;
    } else {
      auto& section = *static_cast<section_node*>(next.which);
      rooted_ = on_worker;
      turn_.store(runner_left, std::memory_order_relaxed); // completing hands it over
      has_turn_.store(&section.scope(), std::memory_order_relaxed);
      section.complete_and_schedule(thread);
      return;
    }
  }
}

bool strand_engine::run_task(thread_state& thread, task_block& task) noexcept {
  rooted_ = thread.home == home_;
  turn_.store(with_runner, std::memory_order_relaxed); // nobody else uses it yet
  has_turn_.store(&task.scope(), std::memory_order_relaxed);
  if (thread.home == home_)
    thread.self->count_spawned(1); // S1
  task.run(task, thread);
  thread.current = nullptr;
  // Acquire-release: B3, pairs with turn_ended.
  return turn_.exchange(runner_left, std::memory_order_acq_rel) == ended;
}

void strand_engine::task_published(thread_state& thread) noexcept {
  turn_ended(thread);
}

void strand_engine::leave() noexcept {
  turn_ended(this_thread());
}

void strand_engine::turn_ended(thread_state& thread) noexcept {
  has_turn_.store(nullptr, std::memory_order_relaxed); // see on_strand
  const bool rooted = rooted_;
  // Acquire-release: B3, pairs with run_task.
  if (turn_.exchange(ended, std::memory_order_acq_rel) == with_runner)
    return;
  if (rooted) {
    // The runner ends what it has begun, on a worker of its runtime.
    schedule(*home_, thread, *this);
    return;
  }
  std::shared_ptr<strand_engine> keep; // outlives the lock
  {
    const std::scoped_lock lock(mutex_);
    skip_withdrawn();
    if (items_.empty()) {
      keep = become_idle();
      return;
    }
  }
  submit_accepted(*home_, thread, *this);
}

} // namespace weir::detail
