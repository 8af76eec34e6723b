// SPDX-License-Identifier: MIT
// A task pool whose log lines go through spdlog.
#include "spdlog_sink.hpp"

#include <weir/weir.hpp>

#include <chrono>
#include <stdexcept>
#include <tuple>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

using namespace std::chrono_literals;

namespace {

weir::task<> download(int seconds) {
  co_await weir::sleep_for(std::chrono::seconds(seconds));
  if (seconds == 2)
    throw std::runtime_error("connection reset");
}

weir::task<> run(weir::runtime& rt) {
  const auto logger = spdlog::stdout_logger_mt("pool");
  logger->set_pattern("[%n] [%l] %v");
  logger->set_level(spdlog::level::info); // nothing is made of what is below
  weir::task_pool pool(rt, {.pool_size = 2, .name = "downloads", .log = spdlog_sink(logger)});
  (void)pool.map(weir::fn<&download>, std::vector<int>{1, 2, 3}, {.num_concurrent = 2});
  co_await weir::sleep_for(3500ms);
  pool.cancel_all();
  (void)co_await pool.gather_and_close(weir::on_exception::collect);
}

} // namespace

/// With any argument: on a clock that jumps, in no time.
int main(int argc, char**) {
  const weir::manual_clock quick;
  weir::runtime rt{{.workers = 1, .clock = argc > 1 ? &quick : nullptr}};
  rt.block_on(run(rt));
}
