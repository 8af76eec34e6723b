// SPDX-License-Identifier: MIT
#include <weir/error.hpp>

namespace weir {

namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weir"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
    case errc::invalid_option:
      return "invalid option";
    case errc::empty_callable:
      return "empty callable";
    case errc::stopped:
      return "the runtime is stopped";
    case errc::pool_closed:
      return "the pool is closed";
    case errc::would_deadlock:
      return "blocking here could stop all progress";
    case errc::no_state:
      return "empty handle";
    case errc::already_awaited:
      return "already awaited";
    case errc::thread_start_failed:
      return "a worker thread could not be started";
    }
    return "unknown weir error";
  }
};

} // namespace

const std::error_category& error_category() noexcept {
  // Never destroyed: errors may be looked at while static objects die.
  static const category& instance = *new category;
  return instance;
}

error::~error() = default;
task_cancelled::~task_cancelled() = default;

namespace detail {

void throw_error(errc code, const char* what) {
  throw error(code, what);
}

} // namespace detail

} // namespace weir
