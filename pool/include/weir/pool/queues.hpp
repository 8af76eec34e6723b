// SPDX-License-Identifier: MIT
/// \file
/// In which order a pool's tasks start: `fifo`, `lifo`, `priority`; and queues that pools share.
#pragma once

#include <weir/pool/detail/front_queue.hpp>
#include <weir/pool/detail/queue_core.hpp>
#include <weir/pool/submit_options.hpp>

#include <concepts>
#include <cstddef>
#include <memory>

namespace weir {

/// Queue policy: tasks start in the order in which they were submitted, exactly for the tasks of
/// one submitting thread; tasks of different threads may overtake each other.
struct fifo {
  using options = submit_options;
  [[nodiscard]] static std::unique_ptr<detail::front_queue> make_queue() {
    return detail::make_fifo_queue();
  }
  static void apply(const options&, auto&) noexcept {}
};

/// Queue policy: the task that was submitted last starts first; between threads as exactly as the
/// counters of their CPUs agree. Under a steady load the oldest may wait for ever.
struct lifo {
  using options = submit_options;
  [[nodiscard]] static std::unique_ptr<detail::front_queue> make_queue() {
    return detail::make_lifo_queue();
  }
  static void apply(const options&, auto&) noexcept {}
};

/// Queue policy: the task with the smallest weight starts first, of equal weights the one that was
/// submitted first; between threads as exactly as the counters of their CPUs agree. Under a steady
/// load large weights may wait for ever.
struct priority {
  using options = weighted_options;
  [[nodiscard]] static std::unique_ptr<detail::front_queue> make_queue() {
    return detail::make_priority_queue();
  }
  static void apply(const options& o, auto& to) noexcept { to.set_weight(o.weight); }
};

/// What a pool needs of its queue policy.
template <class Q>
concept queue_policy =
    requires(const typename Q::options& o, detail::pool_item& item, detail::word_call& word) {
      { Q::make_queue() } -> std::same_as<std::unique_ptr<detail::front_queue>>;
      Q::apply(o, item);
      Q::apply(o, word);
    };

/// A queue that several pools of one runtime take their tasks from: give it to their constructors.
/// Each task runs in a slot of any of them. Copies are the same queue.
///
/// The bound counts tasks of all these pools together. `close()` of each waits until the whole
/// queue is empty.
template <queue_policy Queue>
class work_queue {
 public:
  /// \param queue_maxsize tasks that may wait for a slot. 0: no bound.
  explicit work_queue(std::size_t queue_maxsize = 0)
      : core_(std::make_shared<detail::queue_core>(Queue::make_queue(), queue_maxsize)) {}

  /// For the library.
  [[nodiscard]] const std::shared_ptr<detail::queue_core>& core() const noexcept { return core_; }

 private:
  std::shared_ptr<detail::queue_core> core_;
};

} // namespace weir
