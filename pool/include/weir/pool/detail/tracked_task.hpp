// SPDX-License-Identifier: MIT
/// \file
/// What a task of a `fixed_pool` or `autoscale_pool` has beside its callable and its place in the
/// queue, if its pool gives ids or its submitter asked for callbacks or a deadline.
///
/// A task's way with callbacks: its callable has ended -> if it was cancelled, cancel_callback ->
/// its slot is freed -> end_callback -> its outcome is published. One that is cancelled before it
/// starts leaves its place at once; its callbacks are run by a job of their own, while what is left
/// in the queue is taken out by a slot at some time: each of the two has a share of the block.
#pragma once

#include <weir/clock.hpp>
#include <weir/detail/job.hpp>
#include <weir/detail/timer.hpp>
#include <weir/pool/callback.hpp>
#include <weir/pool/close.hpp>
#include <weir/pool/detail/callback_run.hpp>
#include <weir/pool/detail/engine.hpp>
#include <weir/pool/detail/pool_item.hpp>
#include <weir/pool/detail/task_table.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace weir::detail {

/// What a submitter may ask for.
struct task_wishes {
  task_callback end_callback{};
  task_callback cancel_callback{};
  std::optional<clock_source::time_point> start_by{};
};

class WEIR_API tracked_task {
 public:
  tracked_task(const tracked_task&) = delete;
  tracked_task& operator=(const tracked_task&) = delete;

  /// Once it was accepted.
  [[nodiscard]] task_id id() const noexcept { return id_; }
  /// By the slot that has taken it: ends it if it comes too late.
  void look_at_deadline() noexcept;
  [[nodiscard]] task_table& table() const noexcept { return pool_->tasks(); }

 protected:
  tracked_task(std::shared_ptr<pool_engine> pool, std::shared_ptr<const pool_settings> settings,
               task_wishes wishes);
  virtual ~tracked_task();

  /// The callable has ended in a slot. \return false if the task is completed from here.
  [[nodiscard]] bool callable_ended(thread_state& thread) noexcept;
  /// It was cancelled before it started. \return false if the outcome is published from here.
  [[nodiscard]] bool cancelled_unstarted(thread_state& thread) noexcept;
  [[nodiscard]] bool slot_is_free() const noexcept { return slot_is_free_; }
  /// Asked by the task itself.
  [[nodiscard]] bool is_out_of_slot() const noexcept {
    return slot_is_free_ || (callbacks_ != nullptr && callbacks_->unstarted);
  }
  [[nodiscard]] bool is_of(const void* owner) const noexcept { return pool_.get() == owner; }

 private:
  friend class task_table;

  enum class state : std::uint8_t { accepted, cancelling, cancelled, ended };

  /// While it may still have to be ended for not having started.
  struct deadline final : timer, job {
    deadline(tracked_task& task, clock_source::time_point when) noexcept
        : timer(&fire), job(&run_late), owner(&task), at(when) {}
    static job* fire(timer& self, thread_state& thread) noexcept;
    static void run_late(job& self, thread_state& thread) noexcept;
    tracked_task* owner;
    clock_source::time_point at;
    bool armed = false; // guarded by the table's mutex; holds a share of the block
  };

  struct callbacks final : accepted_job {
    callbacks(tracked_task& task, std::shared_ptr<const pool_settings> of_pool,
              task_wishes& wishes) noexcept
        : owner(&task), settings(std::move(of_pool)), on_end(std::move(wishes.end_callback)),
          on_cancel(std::move(wishes.cancel_callback)) {}
    tracked_task* owner;
    std::shared_ptr<const pool_settings> settings;
    task_callback on_end;
    task_callback on_cancel;
    callback_run running;
    std::exception_ptr error;
    bool unstarted = false;
  };

  // The typed part.
  [[nodiscard]] virtual pool_item& as_item() noexcept = 0;
  [[nodiscard]] virtual task_block& as_block() noexcept = 0;
  [[nodiscard]] virtual task_end how_it_ended() const noexcept = 0;
  [[nodiscard]] virtual std::exception_ptr its_error() noexcept = 0;
  virtual void replace_outcome(std::exception_ptr error) noexcept = 0;

  static void run_unstarted(job& self, thread_state& thread) noexcept;
  static void run_cancelled(job& self, thread_state& thread) noexcept;
  static void run_ending(job& self, thread_state& thread) noexcept;
  static void run_ended(job& self, thread_state& thread) noexcept;
  [[nodiscard]] callback_run::host callback_host() noexcept;
  /// After cancel_callback. \return true if the caller completes the task.
  [[nodiscard]] bool leave(thread_state& thread, bool by_completion) noexcept;
  void run_end_callback(thread_state& thread) noexcept;
  void finish(thread_state& thread) noexcept;

  std::shared_ptr<pool_engine> pool_;
  std::unique_ptr<deadline> deadline_;
  std::unique_ptr<callbacks> callbacks_;
  task_id id_ = 0;
  // Guarded by the table's mutex:
  tracked_task* next_in_bucket_ = nullptr;
  state state_ = state::accepted;
  // Of who completes the task:
  task_end how_ = task_end::cancelled;
  bool slot_is_free_ = false;
};

/// Of a task that has been accepted and is kept by the caller's share.
[[nodiscard]] inline std::optional<task_id> id_of(pool_item& item) noexcept {
  const tracked_task* const t = item.tracked();
  return t == nullptr ? std::nullopt : std::optional<task_id>(t->id());
}

/// A control block that is tracked.
template <class Block>
class tracked final : public pooled<Block>, public tracked_task {
  using base = pooled<Block>;

 public:
  template <class... Parts>
  tracked(std::shared_ptr<pool_engine> pool, std::shared_ptr<const pool_settings> settings,
          task_wishes wishes, Parts&&... parts)
      : base(pool->home(), std::forward<Parts>(parts)...),
        tracked_task(std::move(pool), std::move(settings), std::move(wishes)) {
    this->item().set_tracked();
  }

 private:
  static_assert(alignof(tracked_task) <= alignof(base), "`pooled` leaves room for its item");

  bool slot_freed(thread_state& thread, bool started) noexcept override {
    if (started)
      return this->callable_ended(thread);
    leave_slot_unstarted(this->item());
    return true;
  }
  bool ended_unstarted(thread_state& thread) noexcept override {
    return this->cancelled_unstarted(thread);
  }
  void task_published(thread_state& thread) noexcept override {
    if (!this->slot_is_free())
      base::task_published(thread);
  }
  [[nodiscard]] bool belongs_to(const void* owner) noexcept override {
    // Out of its slot it is in its callbacks, which its own pool waits for.
    return this->is_out_of_slot() ? this->is_of(owner) : base::belongs_to(owner);
  }
  [[nodiscard]] bool holds_slot_of(const void* owner) noexcept override {
    return !this->is_out_of_slot() && base::holds_slot_of(owner);
  }

  [[nodiscard]] tracked_task* tracked_part() noexcept override { return this; }
  [[nodiscard]] pool_item& as_item() noexcept override { return this->item(); }
  [[nodiscard]] task_block& as_block() noexcept override { return *this; }
  [[nodiscard]] task_end how_it_ended() const noexcept override { return base::how_it_ended(); }
  [[nodiscard]] std::exception_ptr its_error() noexcept override { return this->failure(); }
  void replace_outcome(std::exception_ptr error) noexcept override {
    this->outcome.set_error(std::move(error));
  }
};

/// As `make_pooled`, tracked.
template <class F, class... Args>
[[nodiscard]] new_task<submit_result_t<F, Args...>>
make_tracked(std::shared_ptr<pool_engine> pool, std::shared_ptr<const pool_settings> settings,
             task_wishes wishes, F&& f, Args&&... args) {
  auto* const made =
      new tracked<block_for<F, Args...>>(std::move(pool), std::move(settings), std::move(wishes),
                                         std::forward<F>(f), std::forward<Args>(args)...);
  return {made->item(), *made};
}

} // namespace weir::detail
