// SPDX-License-Identifier: MIT
/// \file
/// What a pool has done so far, and how long its tasks waited and ran.
#pragma once

#include <weir/detail/sync.hpp>

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir {

/// How a task has ended.
enum class task_end : std::uint8_t { finished, failed, cancelled };

/// How many durations fell into which class. Class 0 holds 0 ns, class n from 2^(n-1) ns to below
/// 2^n ns; the last one everything longer. A plain value.
struct duration_histogram {
  using duration = std::chrono::nanoseconds;

  /// The last class begins at about 39 hours.
  static constexpr std::size_t class_count = 49;

  std::array<std::uint64_t, class_count> counts{};

  /// The class of a duration; negative ones count as 0.
  [[nodiscard]] static constexpr std::size_t class_of(duration value) noexcept {
    if (value.count() <= 0)
      return 0;
    const auto width =
        static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(value.count())));
    return width < class_count ? width : class_count - 1;
  }
  /// The longest duration of a class; `duration::max()` for the last one.
  [[nodiscard]] static constexpr duration upper_bound(std::size_t index) noexcept {
    return index + 1 < class_count
               ? duration(static_cast<duration::rep>((std::uint64_t{1} << index) - 1))
               : duration::max();
  }

  /// How many durations there are.
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t sum = 0;
    for (const auto n : counts)
      sum += n;
    return sum;
  }

  /// A duration that the given share of all does not exceed: the upper bound of the class that
  /// holds it, so at most twice too long. 0 if there are none.
  /// \param share 0 to 1, as 0.5 for the median.
  [[nodiscard]] duration percentile(double share) const noexcept {
    const auto total = count();
    const double wanted = share * static_cast<double>(total);
    std::uint64_t seen = 0;
    std::size_t last = 0;
    for (std::size_t i = 0; i < class_count; ++i) {
      if (counts[i] == 0)
        continue;
      seen += counts[i];
      last = i;
      if (static_cast<double>(seen) >= wanted)
        break;
    }
    return total == 0 ? duration(0) : upper_bound(last);
  }

  duration_histogram& operator+=(const duration_histogram& other) noexcept {
    for (std::size_t i = 0; i < class_count; ++i)
      counts[i] += other.counts[i];
    return *this;
  }
};

/// A snapshot of a pool. Whatever else happens at that moment, its figures fit together:
/// `accepted == waiting + running + ended` and `ended == finished + failed + cancelled`.
struct pool_stats {
  /// Tasks that were accepted and have neither started nor ended.
  std::size_t waiting = 0;
  /// Tasks in a slot.
  std::size_t running = 0;
  /// The largest number of slots that were taken at once.
  std::size_t peak_running = 0;
  /// The limit: how many tasks may run at once.
  std::size_t limit = 0;

  // Totals, which only grow.
  /// Tasks taken in.
  std::uint64_t accepted = 0;
  /// Tasks that started, in a slot.
  std::uint64_t started = 0;
  /// Tasks that returned.
  std::uint64_t finished = 0;
  /// Tasks that ended by an exception.
  std::uint64_t failed = 0;
  /// Tasks that were stopped, before they started or while they ran.
  std::uint64_t cancelled = 0;
  /// The sum of the last three.
  std::uint64_t ended = 0;
  /// Attempts beyond the first ones of their tasks, for calls with `retry`. Tasks that are tried
  /// again have started once and end once.
  std::uint64_t retried = 0;

  /// How long tasks waited from their acceptance until they came into a slot, and how long they
  /// then held it, suspensions included, by the runtime's clock. A pool may measure only every
  /// n-th task; see its options.
  duration_histogram queue_delay;
  duration_histogram run_time;
};

namespace detail {

/// A histogram that many threads record into. One relaxed addition each.
class histogram_recorder {
 public:
  histogram_recorder() noexcept {}
  histogram_recorder(const histogram_recorder&) = delete;
  histogram_recorder& operator=(const histogram_recorder&) = delete;

  void record(std::chrono::nanoseconds value) noexcept {
    // Relaxed, as everywhere here: figures that nothing else depends on.
    counts_[duration_histogram::class_of(value)].fetch_add(1, std::memory_order_relaxed);
  }

  [[nodiscard]] duration_histogram snapshot() const noexcept {
    duration_histogram copy;
    for (std::size_t i = 0; i < counts_.size(); ++i)
      copy.counts[i] = counts_[i].load(std::memory_order_relaxed);
    return copy;
  }

 private:
  std::array<sync::atomic<std::uint64_t>, duration_histogram::class_count> counts_{};
};

} // namespace detail

} // namespace weir
