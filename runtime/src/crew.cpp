// SPDX-License-Identifier: MIT
#include "crew.hpp"

#include "scheduler.hpp"
#include "worker.hpp"

#include <weir/error.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <utility>

namespace weir::detail {

namespace {

using namespace std::chrono_literals;

// After a thread could not be started for a backlog, the next one is tried this much later, and
// twice as much later each time.
constexpr std::chrono::steady_clock::duration first_retry_delay = 1ms;
constexpr std::chrono::steady_clock::duration longest_retry_delay = 1s;

error error_of_start(const std::string& what, int code) {
  return error(errc::thread_start_failed,
               what + " could not be started: " + std::generic_category().message(code));
}

} // namespace

crew::crew(scheduler& owner)
    : owner_(owner), capacity_(owner.options().max_workers + owner.options().max_blocking),
      slots_(std::make_unique<std::unique_ptr<worker>[]>(capacity_)),
      target_(owner.options().workers) {
  spares_.reserve(capacity_);
  for (std::size_t i = 0; i < owner.options().workers; ++i)
    make_slot();
}

crew::~crew() = default;

// Counting.

std::size_t crew::occupied() const noexcept {
  return active_ + blocked_ + leaving_ + spares_.size();
}

bool crew::has_room() const noexcept {
  return !spares_.empty() || occupied() < capacity_;
}

bool crew::is_short() const noexcept {
  // The second part is the cap: of those that work or block, all beyond the target are stand-ins.
  return active_ < target() && active_ + blocked_ < target() + owner_.options().max_blocking;
}

bool crew::may_grow_by_itself() const noexcept {
  return owner_.options().elastic && phase_ == phase::open && active_ == target() &&
         target() < owner_.options().growth_limit;
}

bool crew::somebody_arrives() const noexcept {
  // Relaxed: a hint. Everybody in transit who is not leaving has been started.
  return transit_.load(std::memory_order_relaxed) > leaving_;
}

void crew::update() noexcept {
  const auto wanted = target();
  const std::size_t surplus = phase_ == phase::open && active_ > wanted ? active_ - wanted : 0;
  spare_credit_ = std::min(spare_credit_, surplus);
  // Seq_cst: E3, before the sleepers are looked at. Written only if it changes: every job reads it.
  if (surplus_.load(std::memory_order_relaxed) != surplus)
    surplus_.store(surplus, std::memory_order_seq_cst);
  const bool grows = phase_ != phase::ended && has_room() && (is_short() || may_grow_by_itself());
  if (may_grow_.load(std::memory_order_relaxed) != grows)
    may_grow_.store(grows, std::memory_order_relaxed); // a hint
}

// Starting.

void crew::make_slot() {
  const auto made = slots_made_.load(std::memory_order_relaxed);
  slots_[made] = std::make_unique<worker>(owner_, made);
  // Seq_cst: pairs with slots(), before anything that the new worker publishes.
  slots_made_.store(made + 1, std::memory_order_seq_cst);
}

worker& crew::vacant_slot() {
  const auto made = slots_made_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < made; ++i) {
    if (!slots_[i]->occupied)
      return *slots_[i];
  }
  make_slot();
  return *slots_[made];
}

int crew::place_one(bool searching, sync::thread& left) noexcept {
  if (!spares_.empty()) {
    worker& recalled = *spares_.back();
    spares_.pop_back();
    ++active_;
    recalled.recall(searching);
    return 0;
  }
  int error = ENOMEM;
  try {
    worker& slot = vacant_slot();
    left = slot.take_thread();
    // Before the thread is there: it counts itself out in arrived() (E5).
    transit_.fetch_add(1, std::memory_order_acq_rel);
    error = slot.start_thread(searching);
    if (error == 0) {
      slot.occupied = true;
      ++active_;
      ++threads_started_;
      if (detached_)
        slot.take_thread().detach();
      return 0;
    }
    transit_.fetch_sub(1, std::memory_order_acq_rel);
  } catch (const std::bad_alloc&) {
    // No memory for the slot: as if the thread could not be started.
  }
  ++start_failures_;
  return error;
}

crew::started crew::start() noexcept {
  const std::scoped_lock lock(mutex_);
  sync::thread left;
  int error = 0;
  while (active_ < target() && error == 0)
    error = place_one(false, left);
  update();
  return {active_, error};
}

bool crew::give_up_search() noexcept {
  // Not by wake_one, which might come back here.
  const bool helpless =
      owner_.idle().stop_searching() && owner_.has_visible_work() && !owner_.wake_sleeper();
  owner_.wake_keeper_if_missing(); // K2
  if (owner_.current_state() != scheduler::state::open)
    owner_.stop_if_quiescent(); // E5: a start that failed was in transit for a moment
  return helpless;
}

bool crew::stand_in(bool for_blocking) noexcept {
  // A thread that has left its slot joins nobody, so that no two can wait for each other.
  if (this_thread().retired)
    return false;
  // Relaxed: only this word says when. A submission must not try, and fail, each time; whoever
  // blocks has all the time.
  const auto retry_at = retry_at_.load(std::memory_order_relaxed);
  if (!for_blocking && retry_at != 0 && sync::now().time_since_epoch().count() < retry_at)
    return false;
  while (owner_.idle().start_searching_if_all_busy()) { // E4
    sync::thread left;
    bool comes = false;
    bool tried = false;
    {
      const std::scoped_lock lock(mutex_);
      const bool shortage = is_short();
      const bool arrives = !shortage && somebody_arrives();
      if (phase_ != phase::ended && has_room() &&
          (shortage || (may_grow_by_itself() && !arrives))) {
        tried = true;
        const int error = place_one(true, left);
        comes = error == 0;
        if (comes && shortage)
          ++stand_ins_;
        else if (comes)
          target_.store(target() + 1, std::memory_order_relaxed); // read as a hint
        retry_delay_ =
            comes ? 0ms : std::clamp(2 * retry_delay_, first_retry_delay, longest_retry_delay);
        retry_at_.store(comes ? 0 : (sync::now() + retry_delay_).time_since_epoch().count(),
                        std::memory_order_relaxed);
      } else if (for_blocking && active_ < target()) {
        ++blocking_refused_;
        tried = true;
      }
      tried = tried || arrives;
      update();
    }
    const bool helpless = !comes && give_up_search();
    if (left.joinable())
      left.join();
    if (comes)
      return true;
    // While it counted as a searcher here, others may have relied on it and started nobody.
    if (tried || !helpless || !may_grow())
      return false;
  }
  return false;
}

bool crew::grow() noexcept {
  return stand_in(false);
}

void crew::resize(std::size_t wanted) {
  if (this_thread().retired)
    throw_error(errc::would_deadlock, "resize() must not be called by a thread-local destructor of "
                                      "a worker thread; call it in a task or on another thread");
  std::size_t before = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (phase_ != phase::open || owner_.current_state() != scheduler::state::open)
      throw_error(errc::stopped, "the runtime has been stopped or drained and keeps its workers");
    before = target();
    target_.store(wanted, std::memory_order_relaxed); // read as a hint
    update();
  }
  wake_surplus();
  reap();
  for (;;) {
    sync::thread left;
    int error = 0;
    std::size_t running = 0;
    {
      const std::scoped_lock lock(mutex_);
      // Without room, those that are leaving come back to fill the places (returns()).
      if (phase_ != phase::open || !is_short() || !has_room())
        return;
      // E4: counted as a searcher, nobody else is woken until this one has looked.
      (void)owner_.idle().start_searching(idle_set::largest_capacity);
      error = place_one(true, left);
      if (error != 0 && target() == wanted)
        target_.store(std::clamp(active_, std::min(before, wanted), wanted),
                      std::memory_order_relaxed);
      running = active_ + blocked_;
      update();
    }
    if (left.joinable())
      left.join();
    if (error == 0)
      continue;
    give_up_search();
    throw error_of_start("resize to " + std::to_string(wanted) +
                             " workers: " + std::to_string(running) + " run now; one more",
                         error);
  }
}

// Leaving.

void crew::arrived() noexcept {
  // Release: E5, pairs with settled(); what the start hook has submitted is counted.
  transit_.fetch_sub(1, std::memory_order_acq_rel);
}

bool crew::keeps_place(worker& self) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (phase_ != phase::open || active_ <= target())
      return true;
    --active_;
    if (spare_credit_ == 0) {
      ++leaving_;
      transit_.fetch_add(1, std::memory_order_acq_rel); // E5, ended in returns() or arrived()
      update();
      return false;
    }
    --spare_credit_;
    spares_.push_back(&self);
    update();
  }
  return wait_as_spare(self);
}

bool crew::wait_as_spare(worker& self) noexcept {
  const auto deadline = sync::now() + owner_.options().keep_alive;
  if (owner_.manual() != nullptr)
    owner_.manual()->asleep(); // M1
  while (!self.recalled()) {
    if (self.sleep_as_spare(deadline))
      continue;
    const std::scoped_lock lock(mutex_);
    const auto at = std::find(spares_.begin(), spares_.end(), &self);
    if (at == spares_.end())
      break; // recalled meanwhile
    spares_.erase(at);
    if (owner_.manual() != nullptr)
      owner_.manual()->woken(); // M1
    ++leaving_;
    transit_.fetch_add(1, std::memory_order_acq_rel); // as in keeps_place
    update();
    return false;
  }
  self.accept_recall();
  return true;
}

bool crew::returns(worker& self) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    --leaving_;
    if (phase_ != phase::ended && is_short()) {
      ++active_; // still in transit, until arrived()
      update();
      return true;
    }
    self.occupied = false; // E1
    update();
    // Release: E5, pairs with settled().
    transit_.fetch_sub(1, std::memory_order_acq_rel);
  }
  if (owner_.current_state() != scheduler::state::open)
    owner_.stop_if_quiescent(); // E5
  return false;
}

void crew::wake_surplus() noexcept {
  // Seq_cst: E3, pairs with update on one side, with the sleeper's push on the other.
  for (auto n = surplus_.load(std::memory_order_seq_cst); n != 0; --n) {
    const auto sleeper = owner_.idle().pop();
    if (!sleeper)
      return; // the others are busy and see the surplus at their job's end, or before they sleep
    owner_.wake(*sleeper);
  }
}

void crew::retire_idle(sync::time_point now) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (phase_ != phase::open || !owner_.options().elastic)
      return;
    std::size_t idle = 0;
    const auto made = slots_made_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < made; ++i)
      idle += slots_[i]->occupied && slots_[i]->asleep_for(now) >= owner_.options().keep_alive;
    const auto wanted = target();
    const auto least = std::min(wanted, owner_.options().min_workers);
    target_.store(std::max(least, wanted - std::min(wanted, idle)), std::memory_order_relaxed);
    update();
  }
  wake_surplus();
}

void crew::reap() noexcept {
  for (;;) {
    sync::thread left;
    {
      const std::scoped_lock lock(mutex_);
      const auto made = slots_made_.load(std::memory_order_relaxed);
      for (std::size_t i = 0; i < made && !left.joinable(); ++i) {
        if (!slots_[i]->occupied)
          left = slots_[i]->take_thread();
      }
    }
    if (!left.joinable())
      return;
    left.join();
  }
}

// Blocking.

void crew::enter_blocking() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    --active_;
    ++blocked_;
    update();
    if (active_ >= target())
      return;
  }
  (void)stand_in(true);
}

void crew::leave_blocking() noexcept {
  // The caller sees a surplus at its job's end and becomes the spare itself, if no other worker
  // does before.
  const std::scoped_lock lock(mutex_);
  --blocked_;
  ++active_;
  if (active_ > target())
    ++spare_credit_;
  update();
}

// Shutdown.

void crew::close() noexcept {
  const std::scoped_lock lock(mutex_);
  if (phase_ == phase::open)
    phase_ = phase::closing;
  for (worker* w : spares_)
    w->recall(false);
  active_ += spares_.size();
  spares_.clear();
  update();
}

void crew::join() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    phase_ = phase::ended;
    update();
  }
  // Nobody writes the slots any more.
  for (std::size_t i = 0; i < slots(); ++i) {
    sync::thread ended = at(i).take_thread();
    if (!ended.joinable())
      continue;
    // A runtime may end in a thread-local destructor of a thread that was its worker.
    if (ended.is_this_thread())
      ended.detach();
    else
      ended.join();
  }
}

void crew::detach() noexcept {
  const std::scoped_lock lock(mutex_);
  detached_ = true;
  for (std::size_t i = 0; i < slots(); ++i) {
    if (sync::thread running = at(i).take_thread(); running.joinable())
      running.detach();
  }
}

void crew::fill(runtime_stats& stats) const {
  const std::scoped_lock lock(mutex_);
  stats.running_workers = active_;
  stats.blocked_workers = blocked_;
  stats.spare_workers = spares_.size();
  stats.threads_started = threads_started_;
  stats.thread_start_failures = start_failures_;
  stats.stand_ins = stand_ins_;
  stats.blocking_refused = blocking_refused_;
}

} // namespace weir::detail
