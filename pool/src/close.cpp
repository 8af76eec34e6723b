// SPDX-License-Identifier: MIT
#include <weir/error.hpp>
#include <weir/pool/close.hpp>
#include <weir/with_timeout.hpp>

#include <exception>
#include <utility>

namespace weir::detail {

pool_settings::pool_settings(std::string_view kind, std::string_view name, log_sink sink,
                             pool_executor on)
    : str(std::string(kind) + "-"), log(std::move(sink)), executor(on) {
  static sync::atomic<std::uint64_t> pools{0};
  const auto number = pools.fetch_add(1, std::memory_order_relaxed); // only a number
  if (name.empty())
    str += std::to_string(number);
  else
    str += name;
}

namespace {

constexpr std::string_view logger = "weir.pool";

/// Waits until `what`, for so long at the most. \return whether it has come to that.
task<bool> watch(std::shared_ptr<pool_engine> engine, pool_watcher::until what,
                 std::optional<std::chrono::nanoseconds> timeout) {
  if (!timeout) {
    pool_watcher end(std::move(engine), what);
    co_await end;
    co_return true;
  }
  if (engine->reached(what))
    co_return true; // however little time there is
  bool in_time = true;
  try {
    auto limited = with_timeout(pool_watcher(std::move(engine), what), *timeout);
    co_await limited;
  } catch (const error& e) {
    if (e.code() != errc::timed_out)
      throw;
    in_time = false;
  }
  co_return in_time;
}

} // namespace

task<close_report> finish_closing(std::shared_ptr<pool_engine> engine,
                                  std::shared_ptr<const pool_settings> settings,
                                  close_options options) {
  if (engine->target() == 0)
    engine->cancel_waiting(); // nobody would ever run it
  const bool emptied =
      co_await watch(engine, pool_watcher::until::queue_empty, options.close_worker_timeout);
  bool ended = false;
  if (emptied)
    ended = co_await watch(engine, pool_watcher::until::drained, options.close_pool_timeout);
  close_report report;
  if (ended)
    co_return report;
  report.in_time = false;
  report.left_waiting = engine->waiting();
  report.left_running = engine->running();
  if (options.cancel_on_timeout) {
    engine->cancel_waiting();
    engine->stop_running();
  }
  if (emptied)
    settings->log(log_level::warning, logger, "waiting for left tasks done timeout, ",
                  report.left_running);
  else
    settings->log(log_level::warning, logger, "close workers timeout");
  if (!options.safe)
    throw error(errc::timed_out,
                "the pool was not closed in time: " + std::to_string(report.left_waiting) +
                    " tasks were waiting and " + std::to_string(report.left_running) +
                    " running; await close() again to wait for them");
  co_return report;
}

} // namespace weir::detail
