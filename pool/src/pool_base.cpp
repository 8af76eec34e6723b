// SPDX-License-Identifier: MIT
#include <weir/pool/pool_base.hpp>

#include <algorithm>

namespace weir {

namespace {

/// Waits for something of a pool.
class pool_wait final : public detail::list_awaiter<pool_wait, detail::pool_waiter> {
  using base = detail::list_awaiter<pool_wait, detail::pool_waiter>;

 public:
  pool_wait(detail::task_pool_core& core, detail::pool_waiter::kind wanted,
            on_exception exceptions = on_exception::collect) noexcept
      : base(&take_back), core_(&core) {
    what = wanted;
    fail_fast = exceptions == on_exception::fail_fast;
  }
  void await_resume() const { check(); }

 private:
  friend base;
  [[nodiscard]] bool wait_or_take() { return core_->wait(*this); }
  static bool take_back(suspension& self) noexcept {
    auto& w = static_cast<pool_wait&>(self);
    return w.core_->withdraw(w);
  }

  detail::task_pool_core* core_;
};

/// Throws the first exception of the report, and counts the others as given up.
void rethrow_first(detail::task_pool_core& core, const std::exception_ptr& first,
                   const gather_report& report) {
  if (first == nullptr)
    return;
  detail::count_grouped(core.home());
  for (const task_report& t : report.tasks) {
    if (t.error != nullptr)
      detail::count_suppressed(core.home());
  }
  for (std::size_t i = 0; i < report.groups.size(); ++i)
    detail::count_suppressed(core.home());
  std::rethrow_exception(first);
}

} // namespace

pool_base::~pool_base() {
  listed_.end();
  if (detail::is_forked(core_->home())) { // its lock may be held by threads that are not here
    (void)new std::shared_ptr<detail::task_pool_core>(std::move(core_));
    return;
  }
  core_->shut_down();
  if (detail::this_thread().self == nullptr)
    core_->wait_idle();
  else
    detail::task_pool_core::keep_until_idle(std::move(core_));
}

std::size_t pool_base::room() const {
  const auto now = core_->snapshot();
  return now.pool_size - std::min(now.pool_size, now.in_use);
}

std::set<task_id> pool_base::group_ids(std::span<const std::string_view> names) const {
  const auto ids = core_->group_ids(names);
  return {ids.begin(), ids.end()};
}

task<flush_report> pool_base::flush_of(core_pointer core, on_exception what) {
  pool_wait wait(*core, detail::pool_waiter::kind::flushed);
  co_await wait;
  std::exception_ptr first;
  auto report = core->collect({}, what == on_exception::collect ? nullptr : &first);
  rethrow_first(*core, first, report);
  co_return report;
}

task<gather_report> pool_base::gather_of(core_pointer core, on_exception what, bool close) {
  if (close)
    core->lock_to_close(detail::running_task(detail::this_thread()));
  else
    core->require_locked();
  const auto start = core->begin_gather();
  for (;;) {
    pool_wait wait(
        *core, close ? detail::pool_waiter::kind::idle_to_close : detail::pool_waiter::kind::idle,
        what);
    co_await wait;
    if (!wait.failed)
      break;
    if (const auto first = core->take_first_error(); first != nullptr) {
      detail::count_grouped(core->home());
      std::rethrow_exception(first);
    } // else somebody else has it
  }
  std::exception_ptr first;
  auto report = core->collect(start, what == on_exception::rethrow_first ? &first : nullptr);
  rethrow_first(*core, first, report);
  co_return report;
}

task<bool> pool_base::closed_of(core_pointer core) {
  pool_wait wait(*core, detail::pool_waiter::kind::closed);
  co_await wait;
  co_return true;
}

} // namespace weir
