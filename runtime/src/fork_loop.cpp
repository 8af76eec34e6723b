// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <weir/detail/fork_loop.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace weir::detail {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

/// About how often a worker looks up from a loop.
constexpr std::chrono::microseconds between_looks{50};

} // namespace

void loop_watch::look() noexcept {
  const auto now = sync::now();
  const auto took = now - looked_;
  if (took < between_looks / 2) {
    // Too early, also for leaving: coming here has cost something too.
    each_ *= 2;
    left_ = each_;
    return;
  }
  if (took > between_looks)
    each_ = std::max<std::size_t>(1, each_ / static_cast<std::size_t>(took / between_looks + 1));
  left_ = each_;
  looked_ = now;
  leaves_ = self_->should_leave_loop();
}

void fork_loop::run(loop_piece whole) {
  fork_stack& forks = *this_forks;
  forks.begin_loop();
  owner_helps_ = forks.may_help();
  const std::size_t stolen = whole.size() - run_own(forks, whole, nullptr);
  // Acquire-release: pairs with let_go; the thieves' results are seen. What they have let go of
  // before has made it less than 0, which wraps around.
  if (stolen != 0 && balance_.fetch_add(stolen, std::memory_order_acq_rel) + stolen != 0)
    (void)forks.wait(progress_, owner_helps_);
  forks.end_loop();
  if (error_ != nullptr)
    std::rethrow_exception(std::move(error_));
  if (stopped_.load(relaxed)) // ordered as the results are
    throw_fork_cancelled();
}

std::size_t fork_loop::run_stolen(fork_stack& thief, loop_piece piece, worker* on) noexcept {
  if (on == nullptr || !owner_helps_)
    return run_own(thief, piece, nullptr);
  loop_watch watch(*on);
  return run_own(thief, piece, &watch);
}

void fork_loop::let_go(std::size_t share, std::uint32_t outcome) noexcept {
  if (outcome == fork_progress::dropped)
    stopped_.store(true, relaxed); // ordered by what follows
  // Acquire-release: pairs with the owner's addition and with the other thieves', so that whoever
  // comes to 0, and through it the owner, sees what all have done. Nobody else comes to 0: before
  // the owner's addition it is less.
  if (balance_.fetch_sub(share, std::memory_order_acq_rel) == share)
    progress_.end(fork_progress::done);
}

std::size_t fork_loop::run_own(fork_stack& forks, loop_piece piece, loop_watch* watch) noexcept {
  fork_slot* const base = forks.top();
  std::size_t share = 0;
  for (;;) {
    const std::size_t first = piece.first;
    piece = run_piece(forks, piece, watch);
    share += piece.first - first;
    if (watch != nullptr && watch->leaves()) {
      if (leave(forks, piece, base))
        return share;
      watch = nullptr;
    }
    if (piece.size() != 0)
      continue;
    for (auto how = fork_end::stolen; how != fork_end::untouched;) {
      if (forks.top() == base)
        return share;
      how = forks.pop_piece(piece);
      if (how == fork_end::dropped) {
        stopped_.store(true, relaxed); // ordered as the results are
        share += piece.size();
      }
    }
  }
}

bool fork_loop::leave(fork_stack& forks, loop_piece rest, const fork_slot* base) noexcept {
  if (rest.size() != 0 && forks.push_piece(*this, rest) != fork_start::forked)
    return false; // also where stop was requested: going on finds that out too
  if (forks.top() != base) {
    forks.pin_all(); // other code runs on top of them
    progress_.call_for_help();
  }
  return true;
}

bool fork_loop::cut_off(fork_stack& forks, loop_piece& piece, std::size_t middle) noexcept {
  switch (forks.push_piece(*this, {middle, piece.last})) {
  case fork_start::forked:
    piece.last = middle;
    return true;
  case fork_start::full:
    return false;
  case fork_start::stopped:
    break;
  }
  stopped_.store(true, relaxed); // ordered as the results are
  piece.first = piece.last;
  return true;
}

void fork_loop::failed(std::size_t first) noexcept {
  std::exception_ptr other = std::current_exception();
  {
    const std::scoped_lock lock(mutex_);
    if (error_ == nullptr || first < error_at_) {
      std::swap(error_, other);
      error_at_ = first;
    }
  }
  if (other != nullptr)
    suppress_fork_error(other);
}

} // namespace weir::detail
