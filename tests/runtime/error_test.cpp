// SPDX-License-Identifier: MIT
// weir::error, its category and its codes, and task_cancelled, which no `catch (std::exception&)`
// may eat.
#include "catch.hpp"

#include <weir/error.hpp>

#include <exception>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using weir::errc;

static_assert(std::is_error_code_enum_v<errc>);
static_assert(std::is_base_of_v<std::system_error, weir::error>);
static_assert(!std::is_base_of_v<std::exception, weir::task_cancelled>);
static_assert(std::is_nothrow_default_constructible_v<weir::task_cancelled>);
static_assert(std::is_nothrow_copy_constructible_v<weir::task_cancelled>);

// The numbers are part of the interface: they must never change.
const std::vector<std::pair<int, errc>> all{
    {1, errc::invalid_option},
    {2, errc::empty_callable},
    {3, errc::stopped},
    {4, errc::pool_closed},
    {5, errc::would_deadlock},
    {6, errc::no_state},
    {7, errc::already_awaited},
    {8, errc::thread_start_failed},
    {9, errc::queue_full},
    {10, errc::queue_closed},
    {11, errc::not_locked},
    {12, errc::limit_exceeded},
    {13, errc::timed_out},
    {14, errc::forked},
    {15, errc::not_on_worker},
    {16, errc::pool_locked},
    {17, errc::pool_unlocked},
    {18, errc::pool_paused},
    {19, errc::already_cancelled},
    {20, errc::already_ended},
    {21, errc::task_not_found},
    {22, errc::group_not_found},
    {23, errc::group_exists},
    {24, errc::callback_failed},
};

} // namespace

TEST_CASE("the category is weir's own and always the same", "[error]") {
  CHECK(std::string(weir::error_category().name()) == "weir");
  CHECK(&weir::error_category() == &weir::error_category());
  CHECK(weir::error_category() != std::generic_category());
}

TEST_CASE("each code has a stable value and a message of its own", "[error]") {
  const std::string unknown = weir::error_category().message(0);
  CHECK_FALSE(unknown.empty());
  CHECK(weir::error_category().message(static_cast<int>(all.size()) + 1) == unknown);
  CHECK(weir::error_category().message(-1) == unknown);
  std::set<std::string> messages{unknown};
  for (const auto& [value, code] : all) {
    INFO(value);
    const std::error_code made = code;
    CHECK(made.value() == value);
    CHECK(made.category() == weir::error_category());
    CHECK(made == weir::make_error_code(code));
    CHECK_FALSE(made.message().empty());
    CHECK(messages.insert(made.message()).second);
  }
}

TEST_CASE("codes of other categories with the same value are different", "[error]") {
  CHECK(std::error_code(errc::stopped) !=
        std::error_code(static_cast<int>(errc::stopped), std::generic_category()));
  CHECK(std::error_code(errc::stopped) != errc::pool_closed);
}

TEST_CASE("an error is a std::system_error that carries code and text", "[error]") {
  for (const auto& [value, code] : all) {
    INFO(value);
    bool caught = false;
    try {
      throw weir::error(code, "the field is too large");
    } catch (const std::system_error& e) {
      caught = true;
      CHECK(e.code() == code);
      CHECK(std::string(e.what()).find("the field is too large") != std::string::npos);
    }
    CHECK(caught);
  }
}

TEST_CASE("throw_error throws an error of that code and text", "[error]") {
  bool caught = false;
  try {
    weir::detail::throw_error(errc::no_state, "nothing here");
  } catch (const weir::error& e) {
    caught = true;
    CHECK(e.code() == errc::no_state);
    CHECK(std::string(e.what()).find("nothing here") != std::string::npos);
  }
  CHECK(caught);
}

TEST_CASE("task_cancelled passes a handler for std::exception", "[error]") {
  bool eaten = false;
  bool arrived = false;
  try {
    try {
      throw weir::task_cancelled();
    } catch (const std::exception&) {
      eaten = true;
    }
  } catch (const weir::task_cancelled&) {
    arrived = true;
  }
  CHECK_FALSE(eaten);
  CHECK(arrived);
}
