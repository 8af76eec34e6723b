// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <weir/cpus.hpp>
#include <weir/detail/fork_stack.hpp>
#include <weir/error.hpp>
#include <weir/runtime.hpp>

#include <string>

namespace weir {

namespace {

[[noreturn]] void invalid(const std::string& field, const std::string& value,
                          const std::string& limit) {
  throw error(errc::invalid_option, "runtime_options." + field + " is " + value + "; " + limit);
}

detail::scheduler_options checked(runtime_options&& options) {
  const std::string limit = std::to_string(runtime::worker_limit);
  detail::scheduler_options o;
  o.workers = options.workers;
  if (o.workers == 0)
    o.workers = std::min(usable_cpus().count, runtime::worker_limit);
  if (o.workers > runtime::worker_limit)
    invalid("workers", std::to_string(options.workers),
            "it must be 1 to " + limit + ", or 0 for the usable CPUs");
  o.max_workers = options.max_workers == 0 ? o.workers : options.max_workers;
  if (o.max_workers < o.workers || o.max_workers > runtime::worker_limit)
    invalid("max_workers", std::to_string(options.max_workers),
            "it must be " + std::to_string(o.workers) + " (the number of workers) to " + limit +
                ", or 0 for the number of workers");
  o.min_workers = options.min_workers == 0 ? o.workers : options.min_workers;
  if (o.min_workers > o.workers)
    invalid("min_workers", std::to_string(options.min_workers),
            "it must be 1 to " + std::to_string(o.workers) +
                " (the number of workers), or 0 for the number of workers");
  o.elastic = options.elastic;
  o.max_blocking = options.max_blocking;
  if (o.max_blocking > runtime::worker_limit)
    invalid("max_blocking", std::to_string(options.max_blocking), "it must be 0 to " + limit);
  if (options.keep_alive.count() < 0)
    invalid("keep_alive", std::to_string(options.keep_alive.count()) + " ns",
            "it must not be negative");
  o.keep_alive = detail::sync::clamped(options.keep_alive);
  constexpr std::size_t smallest_stack = 64 * 1024;
  if (options.stack_size != 0 && options.stack_size < smallest_stack)
    invalid("stack_size", std::to_string(options.stack_size),
            "it must be at least " + std::to_string(smallest_stack) +
                " bytes, or 0 for the default");
  o.stack_size = options.stack_size;
  if (options.thread_name.find('\0') != std::string::npos)
    invalid("thread_name", "a text with a null character", "it must have none");
  o.thread_name = std::move(options.thread_name);
  using namespace std::chrono_literals;
  if (options.spin && (*options.spin < 0ns || *options.spin > 1s))
    invalid("spin", std::to_string(options.spin->count()) + " ns", "it must be 0 to 1 s");
  // Read once: a handful of files for a tuning hint would be most of a runtime's start.
  static const std::size_t usable = usable_cpus().count;
  o.growth_limit = std::min(o.max_workers, usable);
  o.spin = options.spin.value_or(o.workers > usable ? 0ns : 20us);
  o.place_wakes = options.place_wakes;
  o.clock = options.clock != nullptr ? options.clock : &clock_source::steady();
  o.on_worker_start = std::move(options.on_worker_start);
  o.on_worker_stop = std::move(options.on_worker_stop);
  o.on_unhandled_exception = std::move(options.on_unhandled_exception);
  return o;
}

} // namespace

runtime::runtime(runtime_options options)
    : scheduler_(std::make_shared<detail::scheduler>(checked(std::move(options)))) {
  scheduler_->start();
}

runtime::~runtime() {
  if (scheduler_->forked()) {
    // Its locks may be held by threads that are not here.
    (void)new std::shared_ptr<detail::scheduler>(std::move(scheduler_));
    return;
  }
  scheduler_->request(detail::scheduler::state::stopping);
  if (on_worker() || detail::is_fork_guest(*scheduler_)) {
    scheduler_->detach();
  } else {
    (void)scheduler_->wait_stopped();
    scheduler_->join();
  }
}

namespace {

void require_may_wait(const detail::scheduler& target, const char* request) {
  if (target.forked())
    detail::throw_forked();
  if (detail::this_thread().home == &target)
    throw error(
        errc::would_deadlock,
        std::string("a worker must not wait for its own runtime to end: the task that waits "
                    "is part of it; call ") +
            request + "() instead");
  if (detail::is_fork_guest(target))
    throw error(errc::would_deadlock,
                std::string("a thread must not wait for a runtime to end inside of its own forks "
                            "there, which count as a task; call ") +
                    request + "() instead");
}

} // namespace

void runtime::drain() {
  require_may_wait(*scheduler_, "request_drain");
  scheduler_->request(detail::scheduler::state::draining);
  (void)scheduler_->wait_stopped();
}

std::uint64_t runtime::drain(std::chrono::steady_clock::time_point deadline) {
  require_may_wait(*scheduler_, "request_drain");
  scheduler_->request(detail::scheduler::state::draining);
  return scheduler_->wait_stopped(&deadline) ? 0 : scheduler_->left();
}

std::uint64_t runtime::drain(std::chrono::nanoseconds longest) {
  return drain(detail::sync::now() + detail::sync::clamped(longest));
}

void runtime::stop() {
  require_may_wait(*scheduler_, "request_stop");
  scheduler_->request(detail::scheduler::state::stopping);
  (void)scheduler_->wait_stopped();
}

std::uint64_t runtime::stop(std::chrono::steady_clock::time_point deadline) {
  require_may_wait(*scheduler_, "request_stop");
  scheduler_->request(detail::scheduler::state::stopping);
  return scheduler_->wait_stopped(&deadline) ? 0 : scheduler_->left();
}

std::uint64_t runtime::stop(std::chrono::nanoseconds longest) {
  return stop(detail::sync::now() + detail::sync::clamped(longest));
}

void runtime::request_drain() {
  if (scheduler_->forked())
    detail::throw_forked();
  scheduler_->request(detail::scheduler::state::draining);
}

void runtime::request_stop() {
  if (scheduler_->forked())
    detail::throw_forked();
  scheduler_->request(detail::scheduler::state::stopping);
}

std::size_t runtime::workers() const noexcept {
  return scheduler_->workers().target();
}

void runtime::resize(std::size_t workers) {
  const auto limit = scheduler_->options().max_workers;
  if (workers == 0 || workers > limit)
    throw error(errc::invalid_option, "resize to " + std::to_string(workers) +
                                          " workers; it must be 1 to " + std::to_string(limit) +
                                          " (runtime_options.max_workers)");
  if (scheduler_->forked())
    detail::throw_forked();
  scheduler_->workers().resize(workers);
}

clock_source::time_point runtime::now() const noexcept {
  return detail::time_of(scheduler_->now());
}

runtime_stats runtime::stats() const {
  if (scheduler_->forked())
    detail::throw_forked();
  return scheduler_->stats();
}

void runtime::require_blockable() {
  if (detail::this_thread().self != nullptr)
    detail::throw_error(
        errc::would_deadlock,
        "block_on must not be called on a worker thread: the task may need this very "
        "worker; co_await the task instead");
}

} // namespace weir
