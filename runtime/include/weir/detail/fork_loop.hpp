// SPDX-License-Identifier: MIT
/// \file
/// A loop whose elements several threads go through.
///
/// G1  Each element is part of one piece, and each piece is one thread's: of the one that runs it,
///     which may cut off its end and fork that, or of whoever takes it from a fork stack.
/// G2  Nobody waits for a piece. The owner waits until thieves have dealt with as many elements as
///     it has not dealt with itself. Each thief lets go of its share, once it has none of the
///     loop's pieces any more, and does not touch the loop after that. So the loop, which is in the
///     owner's frame, lives as long as somebody has a piece of it.
/// G3  A thief whose worker has other work waiting, and no task on its native stack, leaves what
///     remains of its piece on its fork stack, where everybody finds it, and lets go. The worker
///     comes back for it if nobody else does. Only if the owner, should it wait, can help: so what
///     the worker does instead never holds up the loop.
#pragma once

#include <weir/detail/fork_stack.hpp>
#include <weir/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>

namespace weir::detail {

/// Looks from time to time whether a worker should leave a loop to others.
class WEIR_API loop_watch {
 public:
  explicit loop_watch(worker& self) noexcept : self_(&self), looked_(sync::now()) {}

  /// At most as many elements should follow before the next due().
  [[nodiscard]] std::size_t most() const noexcept { return left_; }
  /// After `count` elements. \return whether to leave, because something waits for this worker.
  [[nodiscard]] bool due(std::size_t count) noexcept {
    if (count < left_)
      left_ -= count;
    else
      look();
    return leaves_;
  }
  [[nodiscard]] bool leaves() const noexcept { return leaves_; }

 private:
  void look() noexcept;

  worker* self_;
  sync::time_point looked_;
  bool leaves_ = false;
  // Elements until the next look, and from one to the next: so many that the clock costs nothing.
  std::size_t left_ = 1;
  std::size_t each_ = 1;
};

class WEIR_API fork_loop {
 public:
  fork_loop(const fork_loop&) = delete;
  fork_loop& operator=(const fork_loop&) = delete;

  // By thieves.
  [[nodiscard]] fork_progress& progress() noexcept { return progress_; }
  /// Goes through `piece`. \param on the worker that gives way to other work, or null.
  /// \return of how many elements the caller is to let go.
  [[nodiscard]] std::size_t run_stolen(fork_stack& thief, loop_piece piece, worker* on) noexcept;
  /// The thief's last touch.
  void let_go(std::size_t share, std::uint32_t outcome) noexcept;

 protected:
  fork_loop() noexcept {}
  ~fork_loop() = default;

  /// By the owner. Goes through `whole`; throws what the loop has thrown.
  void run(loop_piece whole);
  /// Forks the end of `piece` from `middle` on. If stop was requested, what is left is left out.
  /// \return false if nothing can be forked.
  [[nodiscard]] bool cut_off(fork_stack& forks, loop_piece& piece, std::size_t middle) noexcept;
  /// The exception that is being handled was thrown in a piece from `first` on.
  void failed(std::size_t first) noexcept;

 private:
  /// Goes through `piece`, from whose end it cuts off others as they are wanted. \return what
  /// remains because `watch`, if it is not null, has said so.
  virtual loop_piece run_piece(fork_stack& forks, loop_piece piece, loop_watch* watch) noexcept = 0;
  [[nodiscard]] std::size_t run_own(fork_stack& forks, loop_piece piece,
                                    loop_watch* watch) noexcept;
  /// Leaves `rest` and all pieces above `base`. \return false if it has to be gone through here.
  [[nodiscard]] bool leave(fork_stack& forks, loop_piece rest, const fork_slot* base) noexcept;

  fork_progress progress_;
  // Written before the first piece is public.
  bool owner_helps_ = false;
  /// Elements that thieves have to deal with, less those of which they have let go.
  sync::atomic<std::size_t> balance_{0};
  sync::atomic<bool> stopped_{false};
  sync::mutex mutex_;
  // Guarded by the mutex; the owner reads them in the end.
  std::exception_ptr error_;
  std::size_t error_at_ = 0;
};

} // namespace weir::detail
