// SPDX-License-Identifier: MIT
// The tree of what pools throw, its exact texts, and the log sink.
#include <weir/pool/errors.hpp>
#include <weir/pool/log.hpp>

#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <catch.hpp>

namespace {

static_assert(std::is_base_of_v<weir::error, weir::pool_error>);
static_assert(std::is_base_of_v<weir::pool_error, weir::pool_is_closed>);
static_assert(std::is_base_of_v<weir::pool_error, weir::pool_is_locked>);
static_assert(std::is_base_of_v<weir::pool_error, weir::pool_is_full>);
static_assert(std::is_base_of_v<weir::pool_error, weir::pool_still_unlocked>);
static_assert(std::is_base_of_v<weir::pool_error, weir::invalid_pool_option>);
static_assert(std::is_base_of_v<weir::pool_error, weir::task_ended>);
static_assert(std::is_base_of_v<weir::task_ended, weir::already_cancelled>);
static_assert(std::is_base_of_v<weir::task_ended, weir::already_ended>);
static_assert(std::is_base_of_v<weir::invalid_task_id, weir::task_not_found>);
static_assert(std::is_base_of_v<weir::invalid_group_name, weir::task_group_not_found>);
static_assert(std::is_base_of_v<weir::invalid_group_name, weir::task_group_already_exists>);
static_assert(std::is_base_of_v<weir::task_pool_error, weir::not_available>);
static_assert(std::is_nothrow_copy_constructible_v<weir::already_ended>);

void check(const weir::pool_error& thrown, weir::errc code, const char* text) {
  CHECK(thrown.code() == code);
  CHECK(std::strcmp(thrown.what(), text) == 0);
  try {
    throw weir::pool_error(thrown);
  } catch (const weir::error& caught) {
    CHECK(caught.code() == code);
    CHECK(std::strcmp(caught.what(), text) == 0);
  }
}

struct written {
  weir::log_level level;
  std::string logger;
  std::string line;
};

} // namespace

TEST_CASE("1A.12, 1B.10: each exception has its exact text and a code", "[errors]") {
  using weir::errc;
  check(weir::pool_is_closed(), errc::pool_closed, "You must use another pool");
  check(weir::pool_is_locked(), errc::pool_locked, "Cannot start new tasks");
  check(weir::pool_is_full(), errc::queue_full, "Too many groups wait for room in this pool");
  check(weir::pool_still_unlocked(), errc::pool_unlocked,
        "Pool must be locked, before tasks can be gathered");
  check(weir::already_cancelled("TaskPool-0_Task-3"), errc::already_cancelled,
        "'TaskPool-0_Task-3' has been cancelled");
  check(weir::already_ended("TaskPool-x_Task-0"), errc::already_ended,
        "'TaskPool-x_Task-0' has finished running");
  check(weir::task_not_found(99, "SimpleTaskPool-0"), errc::task_not_found,
        "No task with ID 99 found in SimpleTaskPool-0");
  check(weir::task_group_not_found("nope"), errc::group_not_found,
        "No task group named 'nope' exists in this pool.");
  check(weir::task_group_already_exists("mine"), errc::group_exists,
        "Task group named 'mine' already exists.");
  check(weir::not_available::paused(), errc::pool_paused, "task pool is paused");
  check(weir::not_available::full(), errc::queue_full, "task pool can not put task any more");
  check(weir::invalid_pool_option("Pool size can not be less than 0"), errc::invalid_option,
        "Pool size can not be less than 0");
}

TEST_CASE("a sink gets level, logger and line, and only what it takes", "[log]") {
  std::vector<written> lines;
  const weir::log_sink sink(
      [&lines](weir::log_level level, std::string_view logger, std::string_view line) {
        lines.push_back({level, std::string(logger), std::string(line)});
      },
      weir::log_level::info);
  sink(weir::log_level::debug, "pool", "not ", "taken");
  sink(weir::log_level::info, "pool", std::string("a"), " b ", 12U, -3);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].level == weir::log_level::info);
  CHECK(lines[0].logger == "pool");
  CHECK(lines[0].line == "a b 12-3");
  CHECK_FALSE(sink.takes(weir::log_level::debug));
  CHECK(sink.takes(weir::log_level::error));
}

TEST_CASE("nothing is formatted when nobody listens", "[log]") {
  struct never {
    operator std::string_view() const { // NOLINT: as a text
      throw std::logic_error("formatted");
    }
  };
  const weir::log_sink nobody;
  CHECK_FALSE(nobody.takes(weir::log_level::error));
  nobody(weir::log_level::error, "pool", never());
  int calls = 0;
  const weir::log_sink counting([&calls](auto...) { ++calls; }, weir::log_level::warning);
  counting(weir::log_level::info, "pool", never());
  counting(weir::log_level::error, "pool", never()); // what formatting throws is dropped too
  CHECK(calls == 0);
  counting(weir::log_level::error, "pool");
  CHECK(calls == 1);
}

TEST_CASE("what a sink throws is dropped", "[log]") {
  const weir::log_sink throwing([](auto...) { throw std::runtime_error("disk full"); });
  CHECK_NOTHROW(throwing(weir::log_level::info, "pool", "line"));
}

TEST_CASE("levels have the names that logs use", "[log]") {
  CHECK(weir::to_string(weir::log_level::debug) == "DEBUG");
  CHECK(weir::to_string(weir::log_level::info) == "INFO");
  CHECK(weir::to_string(weir::log_level::warning) == "WARNING");
  CHECK(weir::to_string(weir::log_level::error) == "ERROR");
}
