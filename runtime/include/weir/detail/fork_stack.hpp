// SPDX-License-Identifier: MIT
/// \file
/// A thread's stack of forks: work that its parent will do itself unless a thief takes it first.
///
/// After van Dijk and van de Pol, "Lace: non-blocking split deque for work-stealing" (2014). Forks
/// sit in slots, the oldest at the bottom. One word says which of them thieves may take; the owner
/// writes it only when thieves are waiting or have been there, so that a fork which nobody wants
/// costs a few plain instructions (docs/fork-join.md).
///
///     slots   [0, tail)   stolen, not joined yet
///             [tail, split)   public: anybody may take the one at `tail`, the oldest
///             [split, top)    private: only the owner looks at them
///
/// F1  Forks are joined in reverse order by the thread that forked them, and whatever runs other
///     code on top leaves `top` as it found it.
/// F2  Only the owner moves `split` or lowers `tail`, and it changes the version with it. A thief
///     raises `tail` by one. All of it is one exchange of the word (or the owner's store, while
///     nothing is public): so what a thief has read of a slot before its exchange is what was
///     public there, and each fork has one taker.
/// F3  If nothing is public, `guard` is 0, or somebody is about to make it so: the owner's next
///     fork is published. If forks are private meanwhile, `floor` is the top of memory, and the
///     owner's next join publishes those that are older.
/// F4  `guard` and `floor` are hints. A wrong one costs a slow path, in which the word decides.
#pragma once

#include <weir/detail/sync.hpp>
#include <weir/detail/thread_state.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace weir::detail {

class fork_loop;
class fork_stack;

/// What a thread waits for whose fork was stolen.
struct fork_progress {
  // What `state` says.
  static constexpr std::uint32_t pending = 0;
  static constexpr std::uint32_t waited_for = 1;
  static constexpr std::uint32_t done = 2;
  static constexpr std::uint32_t dropped = 3;

  sync::atomic<std::uint32_t> state{pending};
  // Written by the thief: whom the owner may help meanwhile.
  sync::atomic<fork_stack*> thief{nullptr};

  /// By the thief, whose last touch it is: the owner goes on.
  void end(std::uint32_t outcome) noexcept;
  /// By the thief: an owner that sleeps looks again for what it may help with.
  void call_for_help() noexcept;
};

/// A fork. Fields are relaxed: the stack's word orders them (F2).
struct alignas(64) fork_slot {
  using run_function = void (*)(void* data, thread_state& thread) noexcept;

  // Written by every fork.
  sync::atomic<run_function> run;
  sync::atomic<void*> data;
  // Written when the fork becomes public.
  sync::atomic<task_scope*> scope;
  sync::atomic<context_node*> context;
  fork_progress progress;
  // Of a piece of a loop, whose `run` is null.
  sync::atomic<std::size_t> first;
  sync::atomic<std::size_t> last;
};
static_assert(sizeof(fork_slot) == 64);

/// Elements [first, last) of a loop.
struct loop_piece {
  std::size_t first = 0;
  std::size_t last = 0;
  [[nodiscard]] std::size_t size() const noexcept { return last - first; }
};

/// What a thief has taken.
struct stolen_fork {
  fork_slot::run_function run = nullptr; ///< null: a piece of the loop that `data` is
  void* data = nullptr;
  task_scope* scope = nullptr;
  context_node* context = nullptr;
  fork_slot* slot = nullptr;
  loop_piece piece;

  /// Runs it on this thread, whose own forks are all joined or stolen, and says so to the owner.
  /// \param on the worker in whose loop this is: there a piece of a loop gives way to other work.
  /// Null inside of a task.
  WEIR_API void execute(thread_state& thread, fork_stack& thief,
                        worker* on = nullptr) const noexcept;
};

/// What has become of a fork whose parent joins it.
enum class fork_end : std::uint8_t {
  untouched, ///< nobody took it: the parent runs it
  stolen,    ///< a thief has run it; of a coroutine: has taken it
  dropped,   ///< it was not run, because stop was requested
};

/// What has become of an attempt to fork.
enum class fork_start : std::uint8_t {
  forked,
  full,    ///< there is no slot left: the parent runs it at once
  stopped, ///< nothing may start, because stop was requested
};

class WEIR_API fork_stack {
 public:
  static constexpr std::size_t capacity = 960;
  static constexpr std::size_t reserve = 64;

  /// Of no thread: its first fork throws `errc::not_on_worker`.
  constexpr fork_stack() noexcept {}
  /// Of a worker or guest of `home`. Throws `std::bad_alloc`.
  explicit fork_stack(scheduler& home);
  struct without_slots {};
  /// As above, where nothing can be forked: parents run everything at once.
  fork_stack(scheduler& home, without_slots) noexcept : home_(&home) {}
  fork_stack(const fork_stack&) = delete;
  fork_stack& operator=(const fork_stack&) = delete;
  ~fork_stack();

  // The owner.

  /// Makes it the calling thread's, until `detach`.
  void attach(thread_state& thread) noexcept;
  void detach() noexcept;

  /// Forks `run(data)`. \return false if it has not: then push_slow() must be called.
  [[nodiscard, gnu::always_inline]] bool push(fork_slot::run_function run, void* data) noexcept {
    fork_slot* const slot = top_;
    // Relaxed: a hint (F4).
    if (slot >= guard_.load(std::memory_order_relaxed)) [[unlikely]]
      return false;
    fill(*slot, run, data);
    top_ = slot + 1;
    return true;
  }
  /// Forks coroutines with the numbers `Count` to 1, after one look at the hint. \return false if
  /// it has forked none.
  template <std::size_t Count>
  [[nodiscard, gnu::always_inline]] bool push_coroutines(void* data) noexcept {
    fork_slot* const slots = top_;
    // Relaxed: a hint (F4). As numbers: there may be no slots at all.
    if (reinterpret_cast<std::uintptr_t>(slots) + (Count - 1) * sizeof(fork_slot) >=
        reinterpret_cast<std::uintptr_t>(guard_.load(std::memory_order_relaxed))) [[unlikely]]
      return false;
    [&]<std::size_t... Is>(std::index_sequence<Is...>) {
      (fill(slots[Is], coroutine(Count - Is), data), ...);
    }(std::make_index_sequence<Count>());
    top_ = slots + Count;
    return true;
  }
  /// Forks and makes it public. Throws `errc::not_on_worker`.
  [[nodiscard]] fork_start push_slow(fork_slot::run_function run, void* data);

  /// As push_slow() of a coroutine. \return false if it was not forked: the stack is full, or the
  /// thread has none. Only the `first` of a join's coroutines is refused: slots in reserve are
  /// there for the others.
  [[nodiscard]] bool push_coroutine_slow(fork_slot::run_function run, void* data,
                                         bool first) noexcept;

  /// Forks a piece of `loop` and makes it public. Its owner does not wait for it, but for the loop.
  [[nodiscard]] fork_start push_piece(fork_loop& loop, loop_piece piece) noexcept;
  /// The newest fork, which is a piece of a loop, if nobody has taken it.
  [[nodiscard]] fork_end pop_piece(loop_piece& piece) noexcept;
  /// For a worker's loop: the newest piece that was left there to make way for other work. \return
  /// false if there is none.
  [[nodiscard]] bool take_rest(stolen_fork& taken) noexcept;

  /// Joins the newest fork. \return whether it is simply there: the parent runs it. Otherwise
  /// pop_slow() or pop_without_wait() must be called.
  [[nodiscard, gnu::always_inline]] bool pop() noexcept { return pop(top_ - 1); }
  /// The same by one who knows which slot that is. Not to be read back: each load of the top would
  /// wait for the store just before, and a recursion would run at the pace of that chain.
  [[nodiscard, gnu::always_inline]] bool pop(fork_slot* slot) noexcept {
    top_ = slot;
    // Relaxed: a hint (F4).
    return slot >= floor_.load(std::memory_order_relaxed);
  }
  /// For a function. If it was stolen, waits until the thief has run it.
  [[nodiscard]] fork_end pop_slow() noexcept;
  /// For a coroutine or a piece of a loop: does not wait.
  [[nodiscard]] fork_end pop_without_wait() noexcept;

  /// Waits until thieves have brought it to an end. For a thread whose own forks have all been
  /// stolen. \param helps whether it runs other forks meanwhile. \return how it has ended.
  std::uint32_t wait(fork_progress& progress, bool helps) noexcept;
  /// Whether there is room on the native stack to run other forks while this thread waits.
  [[nodiscard]] bool may_help() const noexcept;
  /// Whether something is left for take_rest.
  [[nodiscard]] bool has_rest() const noexcept { return top_ != bottom_; }
  /// How many loops of this thread's are under way: what runs inside of one leaves `top` as it has
  /// found it, though no fork is above.
  [[nodiscard]] std::uint32_t open_loops() const noexcept { return open_loops_; }
  void begin_loop() noexcept { ++open_loops_; }
  void end_loop() noexcept { --open_loops_; }

  /// Whether it is worthwhile to fork now: nothing is public, or workers are idle, or stop was
  /// requested. Costs a load and a compare.
  [[nodiscard]] bool hungry() const noexcept {
    return guard_.load(std::memory_order_relaxed) == nullptr; // a hint (F4)
  }

  [[nodiscard]] fork_slot* top() const noexcept { return top_; }
  /// Makes all private forks public, because the thread is about to block.
  void publish_all() noexcept {
    if (top_ != bottom_)
      publish_rest();
  }
  /// As publish_all, because the thread is about to change what they were forked under: none of
  /// them is written again.
  void pin_all() noexcept {
    if (top_ != bottom_)
      pin_rest();
  }

  [[nodiscard]] scheduler* home() const noexcept { return home_; }
  [[nodiscard]] thread_state& thread() const noexcept { return *thread_; }
  /// What the thread had before; null on threads without forks.
  [[nodiscard]] fork_stack* before() const noexcept { return before_; }

  // Anybody.

  /// Takes the oldest public fork. \return false if there is none.
  [[nodiscard]] bool steal(stolen_fork& taken) noexcept;
  /// W2's and W3's look.
  [[nodiscard]] bool has_public() const noexcept {
    const auto seen = word_.load(std::memory_order_seq_cst); // pairs with publish
    return tail(seen) < split(seen);
  }
  /// Makes the owner's next fork or join look around: stop was requested of what it runs.
  void poison() noexcept {
    // Seq_cst, all: pair with set_hints. Either the owner sees why, or it finds these. Written only
    // if they change: the owner reads the line again and again.
    auto* const everything_is_below = reinterpret_cast<fork_slot*>(UINTPTR_MAX);
    if (guard_.load(std::memory_order_seq_cst) != nullptr)
      guard_.store(nullptr, std::memory_order_seq_cst);
    if (floor_.load(std::memory_order_seq_cst) != everything_is_below)
      floor_.store(everything_is_below, std::memory_order_seq_cst);
  }

  /// Figures. Relaxed: each for itself.
  [[nodiscard]] std::uint64_t published() const noexcept {
    return published_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t stolen() const noexcept {
    return stolen_.load(std::memory_order_relaxed);
  }

  /// A coroutine's fork that is not published has a number in place of a function, from 1 to
  /// `reserve`; the data of one that is carries a mark. See forked_tasks.hpp.
  static constexpr std::uintptr_t published_mark = 2;
  [[nodiscard, gnu::always_inline]] static fork_slot::run_function
  coroutine(std::size_t number) noexcept {
    return reinterpret_cast<fork_slot::run_function>(number);
  }
  /// That number, of such a fork.
  [[nodiscard]] static std::size_t number(fork_slot::run_function run) noexcept {
    return reinterpret_cast<std::size_t>(run);
  }
  [[nodiscard]] static bool is_unpublished_coroutine(fork_slot::run_function run) noexcept {
    return number(run) - 1 < reserve;
  }
  [[nodiscard]] static bool is_published_coroutine(const void* data) noexcept {
    return (reinterpret_cast<std::uintptr_t>(data) & published_mark) != 0;
  }

 private:
  // The word.
  static constexpr std::uint64_t field = 0xfff;
  static constexpr std::uint64_t one_split = 1 << 12;
  static constexpr std::uint64_t one_version = 1 << 24;
  static_assert(capacity + reserve < field);
  static constexpr std::size_t tail(std::uint64_t word) noexcept { return word & field; }
  static constexpr std::size_t split(std::uint64_t word) noexcept { return (word >> 12) & field; }
  static constexpr std::uint64_t changed(std::uint64_t word, std::size_t tail,
                                         std::size_t split) noexcept {
    return (word & ~(one_version - 1)) + one_version + split * one_split + tail;
  }

  [[nodiscard]] std::size_t index(const fork_slot* slot) const noexcept {
    return static_cast<std::size_t>(slot - bottom_);
  }

  [[gnu::always_inline]] static void fill(fork_slot& slot, fork_slot::run_function run,
                                          void* data) noexcept {
    slot.run.store(run, std::memory_order_relaxed);
    slot.data.store(data, std::memory_order_relaxed);
  }
  void push_public(fork_slot::run_function run, void* data) noexcept;
  [[nodiscard]] fork_end take_back() noexcept;
  void forget_stolen() noexcept;
  void publish_rest() noexcept;
  void pin_rest() noexcept;
  void publish() noexcept;
  void set_hints() noexcept;
  [[nodiscard]] bool stop_requested() const noexcept;
  [[nodiscard]] bool help(const fork_progress& progress, thread_state& thread) noexcept;
  void park(fork_progress& progress, thread_state& thread, bool helps) noexcept;

  // Owner only.
  fork_slot* top_ = nullptr;
  fork_slot* bottom_ = nullptr;
  scheduler* home_ = nullptr;
  thread_state* thread_ = nullptr;
  std::unique_ptr<fork_slot[]> slots_;
  fork_stack* before_ = nullptr;
  std::uint32_t open_loops_ = 0;
  // Where on the native stack the region has begun.
  std::uintptr_t native_top_ = 0;
  std::size_t next_victim_ = 0;
  // How many more forks to publish for idle workers, and what had been stolen when this was set.
  std::size_t extra_ = 0;
  std::size_t last_tail_ = 0;
  // Slots below stay public until they are joined. At most `split`.
  std::size_t pinned_ = 0;

  // Read whenever the owner forks or joins, written by it and by thieves when something changes.
  alignas(sync::line_size) sync::atomic<fork_slot*> guard_{nullptr};
  sync::atomic<fork_slot*> floor_{nullptr};

  alignas(sync::line_size) sync::atomic<std::uint64_t> word_{0};

  alignas(sync::line_size) sync::atomic<std::uint64_t> published_{0};
  sync::atomic<std::uint64_t> stolen_{0};
};

/// The calling thread's forks. Initial-exec: two loads. A plain function reads it once; between two
/// suspension points of a coroutine the thread does not change.
[[gnu::tls_model("initial-exec")]] extern WEIR_API constinit thread_local fork_stack* this_forks;

/// Makes the calling thread a guest of `home`: it takes part in the runtime's forks as long as this
/// lives. Nothing is done on a worker of `home`, or if it is a guest already.
class WEIR_API fork_guest {
 public:
  /// Throws `errc::stopped`, `errc::forked`, `std::bad_alloc`.
  explicit fork_guest(scheduler& home);
  fork_guest(const fork_guest&) = delete;
  fork_guest& operator=(const fork_guest&) = delete;
  ~fork_guest();

 private:
  scheduler* home_ = nullptr;
  fork_stack* forks_ = nullptr;
  // If the runtime has many guests already: nobody would find what is forked, nor may a thread be
  // named as a thief whose stack goes with it.
  std::unique_ptr<fork_stack> unlisted_;
};

/// Whether the calling thread is inside of a guest's region of `home`, also below others.
[[nodiscard]] WEIR_API bool is_fork_guest(const scheduler& home) noexcept;

/// Throws `errc::not_on_worker` if the calling thread has no forks.
WEIR_API void require_forks();

/// Throws `task_cancelled` for the running task.
[[noreturn]] WEIR_API void throw_fork_cancelled();

/// Counts an exception that gives way to another one of the same join: the one that is being
/// handled, or the given one. Stopped as asked does not count.
WEIR_API void suppress_fork_error() noexcept;
WEIR_API void suppress_fork_error(const std::exception_ptr& error) noexcept;

} // namespace weir::detail
