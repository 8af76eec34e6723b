// SPDX-License-Identifier: MIT
#include <weir/pool/autoscale_policy.hpp>

#include <algorithm>
#include <cmath>

namespace weir::policies {

namespace {

using samples = std::span<const autoscale_sample>;

// Wide enough to add up a window of doubles and divide the sum as if without rounding.
#if defined(__SIZEOF_FLOAT128__)
__extension__ typedef __float128 wide; // NOLINT: the attribute goes with a typedef only
#else
using wide = long double;
#endif

double score_of(const autoscale_sample& s) noexcept {
  return static_cast<double>(s.waiting) / static_cast<double>(s.size);
}

/// The mean of the scores of the newest part of a window, from the given share of it on, rounded
/// once: of equal scores it is that score, which a plain sum of doubles does not give.
double mean_from(samples window, std::size_t quarters) noexcept {
  const std::size_t from = window.size() * quarters / 4;
  wide sum = 0;
  for (const auto& s : window.subspan(from))
    sum += static_cast<wide>(score_of(s));
  return static_cast<double>(sum / static_cast<wide>(window.size() - from));
}

std::ptrdiff_t away_from_zero(double value) noexcept {
  return static_cast<std::ptrdiff_t>(value > 0 ? std::ceil(value) : std::floor(value));
}

double distance(std::size_t to, std::size_t from) noexcept {
  return static_cast<double>(static_cast<std::ptrdiff_t>(to) - static_cast<std::ptrdiff_t>(from));
}

} // namespace

autoscale_decision upstream_exact(const autoscale_input& in) noexcept {
  const double score = score_of(in.window.back());
  const double mean = mean_from(in.window, 0);
  const double half = mean_from(in.window, 2);
  const double quarter = mean_from(in.window, 3);
  const double up = distance(in.max, in.size);
  const double down = distance(in.min, in.size);
  autoscale_decision made;
  made.accumulating = score > 2 && score > quarter && quarter > half && half > mean;
  double change = 0;
  if (score > 2) {
    change = up * 0.6;
  } else if (score >= 1) {
    change = up * 0.3;
  } else if (score > 0 && score > quarter) {
    change = up * 0.05;
  } else {
    // In this order: what is left of 0.1 in the end is not 0, and that is what upstream shrinks by.
    double rate = 0.1;
    if (quarter < 0.1) {
      rate += 0.2;
      if (half < 0.1) {
        rate -= 0.2;
        if (mean < 0.2)
          rate -= 0.1;
      }
    }
    change = down * rate;
  }
  made.delta = away_from_zero(change);
  return made;
}

autoscale_decision mended(const autoscale_input& in) noexcept {
  constexpr std::size_t cool_down = 3;
  const auto& now = in.window.back();
  const double score = score_of(now);
  const double quarter = mean_from(in.window, 3);
  const double up = std::max(0.0, distance(in.max, in.size));
  autoscale_decision made;
  // Compared by tasks, not by tasks for each slot: the pool may have grown meanwhile.
  made.accumulating =
      score > 2 && in.window.size() > 1 && now.waiting > in.window[in.window.size() - 2].waiting;
  if (made.accumulating)
    made.delta = away_from_zero(up);
  else if (score > 2)
    made.delta = away_from_zero(up * 0.6);
  else if (score >= 1)
    made.delta = away_from_zero(up * 0.3);
  else if (score > quarter)
    made.delta = away_from_zero(up * 0.05);
  if (made.delta != 0 || now.waiting != 0 || in.since_grown <= cool_down || in.size <= in.min)
    return made;
  // A quarter of the window without a backlog, and two samples unless it never has two.
  const std::size_t quiet =
      std::min(std::max<std::size_t>(2, in.window.size() / 4), in.window_length);
  if (in.window.size() < quiet)
    return made;
  const auto newest = in.window.last(quiet);
  if (std::all_of(newest.begin(), newest.end(), [](const auto& s) { return s.waiting == 0; }))
    made.delta = away_from_zero(distance(in.min, in.size) * 0.1);
  return made;
}

} // namespace weir::policies
