// SPDX-License-Identifier: MIT
// What a pool and its tasks say, with the time of the manual clock.
#pragma once

#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace test {

/// Lines in the order in which they came, by any thread.
class pool_log {
 public:
  explicit pool_log(const weir::clock_source* clock = nullptr) : clock_(clock) {}

  void say(std::string line) {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
    times_.push_back(clock_ == nullptr ? 0
                                       : std::chrono::duration_cast<std::chrono::milliseconds>(
                                             clock_->now().time_since_epoch())
                                             .count());
  }

  /// Without levels.
  [[nodiscard]] weir::log_sink sink(weir::log_level least = weir::log_level::debug) {
    return {[this](weir::log_level, std::string_view, std::string_view line) {
              say(std::string(line));
            },
            least};
  }
  /// "LEVEL logger: line".
  [[nodiscard]] weir::log_sink full_sink() {
    return [this](weir::log_level level, std::string_view logger, std::string_view line) {
      std::string text(weir::to_string(level));
      say(text.append(" ").append(logger).append(": ").append(line));
    };
  }

  [[nodiscard]] std::vector<std::string> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  /// "<milliseconds> line".
  [[nodiscard]] std::vector<std::string> timeline() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> all;
    for (std::size_t i = 0; i < lines_.size(); ++i)
      all.push_back(std::to_string(times_[i]) + " " + lines_[i]);
    return all;
  }
  [[nodiscard]] std::size_t count(std::string_view line) const {
    const std::scoped_lock lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count(lines_, line));
  }
  /// How many lines contain `part`.
  [[nodiscard]] std::size_t count_with(std::string_view part) const {
    const std::scoped_lock lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count_if(
        lines_, [&](const std::string& l) { return l.find(part) != std::string::npos; }));
  }
  /// Whether both are there, once each, the first one earlier.
  [[nodiscard]] bool before(std::string_view first, std::string_view second) const {
    const std::scoped_lock lock(mutex_);
    const auto a = std::ranges::find(lines_, first);
    const auto b = std::ranges::find(lines_, second);
    return a != lines_.end() && b != lines_.end() && a < b;
  }
  void clear() {
    const std::scoped_lock lock(mutex_);
    lines_.clear();
    times_.clear();
  }

 private:
  const weir::clock_source* clock_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  std::vector<long long> times_;
};

/// A runtime on a manual clock, and what is said there.
struct pool_stage {
  explicit pool_stage(std::size_t workers = 1)
      : log(&clock), rt({.workers = workers, .clock = &clock}) {}
  pool_stage(const pool_stage&) = delete;
  pool_stage& operator=(const pool_stage&) = delete;

  /// Runs a coroutine function to its end.
  template <class F>
  auto play(F&& f) {
    return rt.block_on(f());
  }

  weir::manual_clock clock;
  pool_log log;
  weir::runtime rt;
};

/// A list for coroutines: GCC 12 does not take a braced one in the expression of a co_await.
template <class... Ids>
std::vector<weir::task_id> ids(Ids... each) {
  return {static_cast<weir::task_id>(each)...};
}

/// Waits at the door until it is opened; no worker is held.
inline weir::task<> passes(weir::event& door) {
  co_await door.wait();
}

/// The class and text of what `f` throws.
template <class E, class F>
std::string thrown_text(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (...) {
    return "another exception";
  }
  return "nothing";
}

} // namespace test
