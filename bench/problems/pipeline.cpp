// SPDX-License-Identifier: MIT
// A stream of items through eight stages, of which each handles them one after the other in their
// order, while the others handle other items. At most 64 items are on their way.
#include "measure.hpp"
#include "problems/mix.hpp"
#include "problems/problems.hpp"

#include <weir/weir.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace bench {

namespace {

/// What a stage makes of an item depends on all items that it has handled before, so the last item
/// says whether all went through all stages in order.
class stream {
 public:
  using item = std::uint32_t;
  static constexpr std::size_t items = 20'000;
  static constexpr std::size_t stages = 8;
  static constexpr std::size_t in_flight = 64;
  /// As many may wait between two stages, and behind the last, if one in each stage is on its way.
  static constexpr std::size_t between = (in_flight - stages) / stages;

  void reset() {
    for (auto& stage : states_)
      stage.value = 1;
    sum_ = 0;
  }
  static item source(std::size_t number) { return static_cast<item>(number); }
  item stage(std::size_t number, item x) {
    std::uint32_t& state = states_[number].value;
    state = mixed(x ^ state, steps);
    return state;
  }
  void sink(item x) { sum_ += x; }
  [[nodiscard]] std::uint64_t sum() const { return sum_; }

 private:
  static constexpr std::uint32_t steps = 300;
  struct alignas(128) stage_state {
    std::uint32_t value;
  };
  std::array<stage_state, stages> states_{};
  std::uint64_t sum_ = 0;
};

class pipeline {
 public:
  static constexpr const char* name = "pipeline";
  static constexpr int iterations = 1;
  static constexpr long forks = 0;
  static constexpr long work = stream::items * stream::stages;
  static constexpr bool beyond_cpus = true;

  void reset() { stream_.reset(); }
  static bool correct(std::uint64_t result) {
    static const std::uint64_t expected = [] {
      pipeline reference;
      reference.reset();
      return reference.serial();
    }();
    return result == expected;
  }
  static std::size_t bytes() { return sizeof(stream); }

  std::uint64_t serial() {
    for (std::size_t i = 0; i < stream::items; ++i) {
      stream::item x = stream::source(i);
      for (std::size_t s = 0; s < stream::stages; ++s)
        x = stream_.stage(s, x);
      stream_.sink(x);
    }
    return stream_.sum();
  }
  template <class Peer>
    requires requires(stream& s) { Peer::pipeline(s); }
  std::uint64_t solve() {
    Peer::pipeline(stream_);
    return stream_.sum();
  }
  /// A task for each stage, and queues between them.
  weir::task<std::uint64_t> coroutines() {
    std::vector<std::unique_ptr<weir::queue<stream::item>>> queues;
    std::vector<weir::task<void>> tasks;
    for (std::size_t s = 0; s < stream::stages; ++s)
      queues.push_back(std::make_unique<weir::queue<stream::item>>(stream::between));
    for (std::size_t s = 0; s < stream::stages; ++s)
      tasks.push_back(run_stage(s, s == 0 ? nullptr : queues[s - 1].get(), *queues[s]));
    tasks.push_back(run_sink(*queues.back()));
    co_await weir::when_all(std::move(tasks));
    co_return stream_.sum();
  }

 private:
  weir::task<void> run_stage(std::size_t number, weir::queue<stream::item>* from,
                             weir::queue<stream::item>& to) {
    for (std::size_t i = 0; i < stream::items; ++i) {
      stream::item x = stream::source(i);
      if (from != nullptr)
        x = *co_await from->pop();
      co_await to.push(stream_.stage(number, x));
    }
  }
  weir::task<void> run_sink(weir::queue<stream::item>& from) {
    for (std::size_t i = 0; i < stream::items; ++i)
      stream_.sink(*co_await from.pop());
  }

  stream stream_;
};

const problem added([](const sweep& workers) { add_all<pipeline>(workers); });

} // namespace

} // namespace bench
