// SPDX-License-Identifier: MIT
/// \file
/// The engine of a strand: what waits for its turn, and who has it.
///
/// B1  `busy_` is set from the moment something has the turn until nothing is left. Who sets it has
///     the turn or starts the runner; who clears it does so under the lock, with nothing waiting.
///     `keep_alive_` is set as long, so that the engine outlives the strand's other owners.
/// B2  The runner is the engine itself as a job of the runtime. It is one root task from the start
///     to the clearing of `busy_`, so that the runtime cannot end while anything waits (`rooted_`).
///     The exception is a section that a task of the same runtime enters when nothing is there:
///     that task is itself a root task, and what comes to wait meanwhile gets a runner when it
///     leaves.
/// B3  A turn that outlives the runner's call (a suspended coroutine, a section) goes on without
///     the runner. Of the two, the runner that returns and the turn that ends, the second to
///     exchange `turn_` goes on with the next one.
#pragma once

#include <weir/detail/ring_buffer.hpp>
#include <weir/detail/scheduler.hpp>
#include <weir/detail/sync.hpp>
#include <weir/detail/task_block.hpp>
#include <weir/detail/wait_list.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace weir::detail {

class WEIR_API strand_engine final : public accepted_job,
                                     public std::enable_shared_from_this<strand_engine> {
 public:
  explicit strand_engine(scheduler& home) noexcept;
  strand_engine(const strand_engine&) = delete;
  strand_engine& operator=(const strand_engine&) = delete;
  ~strand_engine();

  [[nodiscard]] scheduler& home() const noexcept { return *home_; }

  /// Appends a posted callable. Throws `std::bad_alloc`; then `posted` is untouched.
  void post(thread_state& thread, job& posted);
  /// Appends a submitted task, a `strand_block` of this strand. Throws as `post`.
  void submit(thread_state& thread, task_block& task);

  /// A coroutine that waits for a section of its own, and its place in the queue.
  class section_node : public wait_node {
   public:
    using wait_node::wait_node;

   private:
    friend class strand_engine;
    std::uint64_t place_ = 0;
  };

  /// \return true if `node` waits; false if the section has begun.
  /// Throws `errc::would_deadlock` if the task has the turn already, and `std::bad_alloc`.
  [[nodiscard]] bool enter_or_wait(section_node& node);
  [[nodiscard]] bool withdraw(section_node& node) noexcept;
  /// The calling code has the section from now on.
  void take_over() noexcept;
  /// The end of a section.
  void leave() noexcept;

  /// Whether the calling code has the turn.
  [[nodiscard]] bool on_strand() const noexcept;

  /// By a submitted task at its end.
  void task_published(thread_state& thread) noexcept;

 private:
  enum class kind : std::uint8_t { nothing, posted, task, section };
  struct item {
    kind what = kind::nothing;
    void* which = nullptr;
  };

  /// How many turns the runner takes in a row before it goes behind other work.
  static constexpr int batch = 64;

  static constexpr std::uint32_t with_runner = 0;
  static constexpr std::uint32_t runner_left = 1;
  static constexpr std::uint32_t ended = 2;

  static void run_turns(job& self, thread_state& thread) noexcept;
  void run_all(thread_state& thread) noexcept;
  /// \return whether the runner goes on; if not, the engine may be gone.
  [[nodiscard]] bool run_task(thread_state& thread, task_block& task) noexcept;

  void append(thread_state& thread, kind what, void* which);
  [[nodiscard]] item take() noexcept;
  void skip_withdrawn() noexcept;
  [[nodiscard]] std::shared_ptr<strand_engine> become_idle() noexcept;
  void turn_ended(thread_state& thread) noexcept;

  scheduler* home_;
  // Who has the turn: the scope of a task, or a thread that runs none. Only compared, by code that
  // asks whether it is itself.
  sync::atomic<const void*> has_turn_{nullptr};
  sync::atomic<std::uint32_t> turn_{with_runner};
  // Whether the runner is a root task. Used by who has the turn.
  bool rooted_ = false;

  sync::mutex mutex_; // guards the rest
  bool busy_ = false;
  std::uint64_t taken_ = 0;
  ring_buffer<item> items_;
  std::shared_ptr<strand_engine> keep_alive_;
};

/// The control block of a task that was submitted to a strand.
template <class Block>
class strand_block final : public Block {
 public:
  template <class... Parts>
  explicit strand_block(strand_engine& strand, Parts&&... parts)
      : Block(strand.home(), std::forward<Parts>(parts)...), strand_(&strand) {}

 private:
  void task_published(thread_state& thread) noexcept override { strand_->task_published(thread); }

  strand_engine* strand_;
};

} // namespace weir::detail
