// SPDX-License-Identifier: MIT
#include <weir/blocking.hpp>
#include <weir/blocking_executor.hpp>

#include <algorithm>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace weir {

namespace detail {

namespace {

// The executor that the calling thread belongs to.
constinit thread_local const blocking_core* core_of_this_thread = nullptr;

} // namespace

blocking_core::blocking_core(options o, sink_ref sink)
    : options_(std::move(o)), sink_(std::move(sink)) {}

blocking_core::~blocking_core() = default;

bool blocking_core::full() const noexcept {
  // A call for which a thread is on its way does not wait.
  return options_.max_queued != 0 && idle_.empty() && running_ == options_.max_threads &&
         bounded_waiting_ >= options_.max_queued + coming_;
}

bool blocking_core::forked() const noexcept {
  return sync::process_id() != process_;
}

void blocking_core::submit(blocking_call& call, bool bounded) {
  if (forked())
    throw_forked();
  sync::thread left;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_)
      throw_error(errc::pool_closed, "the blocking_executor is closed and takes no new calls");
    if (bounded && full())
      throw error(errc::queue_full,
                  "the blocking_executor's queue is full: " + std::to_string(bounded_waiting_) +
                      " calls wait (blocking_executor_options.max_queued is " +
                      std::to_string(options_.max_queued) +
                      "); post later, raise the bound, or co_await run()");
    call.bounded_ = bounded;
    if (!idle_.empty()) {
      append(call);
      wake_idle();
      return;
    }
    if (running_ < options_.max_threads) {
      const int error = start_thread(left);
      if (error != 0 && running_ == 0)
        throw weir::error(errc::thread_start_failed,
                          "the first thread of a blocking_executor could not be started: " +
                              std::generic_category().message(error));
    }
    append(call);
  }
  if (!left.joinable())
    return;
  // The seat's last thread has left it. A thread that is ending itself waits for no other one.
  if (this_thread().retired)
    left.detach();
  else
    left.join();
}

void blocking_core::append(blocking_call& call) noexcept {
  call.next_ = nullptr;
  call.previous_ = last_;
  (last_ == nullptr ? first_ : last_->next_) = &call;
  last_ = &call;
  call.waits_ = true;
  ++waiting_;
  bounded_waiting_ += call.bounded_ ? 1 : 0;
}

void blocking_core::unlink(blocking_call& call) noexcept {
  (call.previous_ == nullptr ? first_ : call.previous_->next_) = call.next_;
  (call.next_ == nullptr ? last_ : call.next_->previous_) = call.previous_;
  call.waits_ = false;
  --waiting_;
  bounded_waiting_ -= call.bounded_ ? 1 : 0;
}

bool blocking_core::withdraw(blocking_call& call) noexcept {
  const std::scoped_lock lock(mutex_);
  if (!call.waits_)
    return false;
  unlink(call);
  return true;
}

void blocking_core::wake_idle() noexcept {
  seat& woken = *idle_.back();
  idle_.pop_back();
  ++coming_;
  woken.called.store(1, std::memory_order_relaxed); // the mutex orders it
  sync::futex_wake_one(woken.called);
}

int blocking_core::start_thread(sync::thread& left) {
  auto at = std::find_if(seats_.begin(), seats_.end(), [](const auto& s) { return !s->taken; });
  if (at == seats_.end()) {
    idle_.reserve(seats_.size() + 1);
    seats_.push_back(std::make_unique<seat>());
    at = seats_.end() - 1;
    (*at)->core = this;
    (*at)->index = seats_.size() - 1;
  }
  seat& free = **at;
  left = std::exchange(free.thread, sync::thread());
  free.keep_core = shared_from_this();
  const int error = free.thread.start(&thread_main, &free, 0);
  if (error != 0) {
    free.keep_core.reset();
    ++start_failures_;
    return error;
  }
  if (detached_)
    free.thread.detach();
  free.taken = true;
  ++running_;
  ++coming_;
  ++threads_started_;
  return 0;
}

void* blocking_core::thread_main(void* argument) noexcept {
  auto& self = *static_cast<seat*>(argument);
  std::shared_ptr<blocking_core> core;
  {
    // Whoever started this thread may still be about to write to the seat.
    const std::scoped_lock lock(self.core->mutex_);
    core = std::move(self.keep_core);
  }
  sync::name_this_thread(core->options_.thread_name, self.index);
  core_of_this_thread = core.get();
  core->work(self);
  core_of_this_thread = nullptr;
  this_thread().retired = true;
  return nullptr;
}

void blocking_core::work(seat& self) noexcept {
  std::unique_lock lock(mutex_);
  --coming_;
  for (;;) {
    if (blocking_call* const call = first_; call != nullptr) {
      unlink(*call);
      lock.unlock();
      call->run_(*call, this);
      lock.lock();
      continue;
    }
    if (closed_)
      break;
    self.called.store(0, std::memory_order_relaxed); // the mutex orders it
    idle_.push_back(&self);
    lock.unlock();
    const bool in_time = wait_idle(self);
    lock.lock();
    if (const auto at = std::find(idle_.begin(), idle_.end(), &self); at != idle_.end()) {
      idle_.erase(at);
      if (!in_time)
        break;
    } else {
      --coming_;
    }
  }
  // The last touch of the seat: another thread may be started there.
  self.taken = false;
  --running_;
}

bool blocking_core::wait_idle(seat& self) const noexcept {
  const auto deadline = sync::now() + options_.keep_alive;
  // Relaxed: the mutex is taken afterwards.
  while (self.called.load(std::memory_order_relaxed) == 0) {
    if (!sync::futex_wait_until(self.called, 0, deadline))
      return false;
  }
  return true;
}

void blocking_core::close() {
  if (forked())
    throw_forked();
  shut();
}

void blocking_core::shut() noexcept {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  while (!idle_.empty())
    wake_idle();
}

void blocking_core::end() noexcept {
  if (forked()) // the lock may be held by a thread that is not here
    return;
  shut();
  blocking_call* dropped = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    dropped = std::exchange(first_, nullptr);
    last_ = nullptr;
    for (blocking_call* call = dropped; call != nullptr; call = call->next_)
      call->waits_ = false; // whoever wants to withdraw it comes too late
    waiting_ = 0;
    bounded_waiting_ = 0;
    if (core_of_this_thread == this) {
      detached_ = true;
      for (const auto& s : seats_) {
        if (s->thread.joinable())
          s->thread.detach();
      }
    }
  }
  while (dropped != nullptr) {
    blocking_call& call = *std::exchange(dropped, dropped->next_);
    call.run_(call, nullptr);
  }
  if (core_of_this_thread == this)
    return;
  // Nobody writes the seats any more: the core is closed.
  const blocking_section section;
  for (const auto& s : seats_) {
    if (!s->thread.joinable())
      continue;
    // It may end in a thread-local destructor of a thread that was its own.
    if (s->thread.is_this_thread())
      s->thread.detach();
    else
      s->thread.join();
  }
}

blocking_executor_stats blocking_core::stats() const {
  if (forked())
    throw_forked();
  const std::scoped_lock lock(mutex_);
  return {.threads = running_,
          .idle_threads = idle_.size(),
          .waiting = waiting_,
          .threads_started = threads_started_,
          .thread_start_failures = start_failures_};
}

} // namespace detail

namespace {

[[noreturn]] void invalid(const std::string& field, const std::string& value,
                          const std::string& limit) {
  throw error(errc::invalid_option,
              "blocking_executor_options." + field + " is " + value + "; it must " + limit);
}

} // namespace

std::shared_ptr<detail::blocking_core>
blocking_executor::make_core(blocking_executor_options&& options) {
  if (options.max_threads == 0 || options.max_threads > thread_limit)
    invalid("max_threads", std::to_string(options.max_threads),
            "be 1 to " + std::to_string(thread_limit));
  if (options.keep_alive.count() < 0)
    invalid("keep_alive", std::to_string(options.keep_alive.count()) + " ns", "not be negative");
  if (options.thread_name.find('\0') != std::string::npos)
    invalid("thread_name", "a text with a null character", "have none");
  const detail::sink_ref sink(new detail::error_sink);
  sink->handler = std::move(options.on_unhandled_exception);
  return std::make_shared<detail::blocking_core>(
      detail::blocking_core::options{
          .max_threads = options.max_threads,
          .max_queued = options.max_queued,
          .keep_alive = detail::sync::clamped(options.keep_alive),
          .thread_name = std::move(options.thread_name),
      },
      sink);
}

} // namespace weir
