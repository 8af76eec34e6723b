// SPDX-License-Identifier: MIT
/// \file
/// What a pool remembers of ended tasks: a ring that has room for each task before it starts, so
/// that its end needs no memory.
#pragma once

#include <weir/pool/reports.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace weir::detail {

/// The newest `most` reports, the oldest first. Not synchronised.
class task_history {
 public:
  explicit task_history(std::size_t most) noexcept : most_(most) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many reports have ever been pushed.
  [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_; }

  /// Keeps room for one report more. Throws `std::bad_alloc`; then nothing has happened.
  void reserve_one() {
    const auto needed = std::min(most_, size_ + reserved_ + 1);
    if (needed > ring_.size())
      grow(std::min(most_, std::max({needed, 2 * ring_.size(), std::size_t{16}})));
    ++reserved_;
  }
  /// Gives up that room.
  void unreserve_one() noexcept { --reserved_; }

  /// In the room that was kept. \return the exception of what had to be forgotten for it.
  [[nodiscard]] std::exception_ptr push(task_report report) noexcept {
    --reserved_;
    ++pushed_;
    if (most_ == 0)
      return std::move(report.error);
    task_report& place = ring_[(first_ + size_) % ring_.size()];
    if (size_ < ring_.size())
      ++size_;
    else // the oldest one's place
      first_ = (first_ + 1) % ring_.size();
    return std::exchange(place, std::move(report)).error;
  }

  template <class F>
  void for_each(F&& f) const {
    for (std::size_t i = 0; i < size_; ++i)
      f(ring_[(first_ + i) % ring_.size()]);
  }
  /// The first report for which `f` holds, or null.
  template <class F>
  [[nodiscard]] task_report* find(F&& f) noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      if (task_report& report = ring_[(first_ + i) % ring_.size()]; f(report))
        return &report;
    }
    return nullptr;
  }

  /// How large an empty ring must be to stand in for this one.
  [[nodiscard]] std::size_t needed_when_empty() const noexcept {
    return std::min(most_, reserved_);
  }
  /// Takes all reports out, and goes on with a ring of at least `needed_when_empty()`.
  void exchange_ring(std::vector<task_report>& ring, std::size_t& first,
                     std::size_t& size) noexcept {
    ring_.swap(ring);
    first = std::exchange(first_, 0);
    size = std::exchange(size_, 0);
  }

 private:
  void grow(std::size_t capacity) {
    std::vector<task_report> larger(capacity);
    for (std::size_t i = 0; i < size_; ++i)
      larger[i] = std::move(ring_[(first_ + i) % ring_.size()]);
    ring_.swap(larger);
    first_ = 0;
  }

  const std::size_t most_;
  std::vector<task_report> ring_;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
  std::uint64_t pushed_ = 0;
  std::size_t reserved_ = 0; // tasks that may end and have not
};

} // namespace weir::detail
