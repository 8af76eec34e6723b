// SPDX-License-Identifier: MIT
#include "injector.hpp"

#include <weir/error.hpp>

#include <array>
#include <iterator>
#include <mutex>

namespace weir::detail {

namespace {

// Addresses of injectors are used again; numbers are not.
constinit sync::atomic<std::uint64_t> next_id{1};

} // namespace

/// The producers that one thread holds, of the runtimes that it used last.
struct producer_leases {
  struct lease {
    std::uint64_t id = 0;
    injector::producer* held = nullptr;
    std::shared_ptr<injector::registry> registry;

    /// Whether this thread is inside a submission through it.
    [[nodiscard]] bool in_use() const noexcept {
      if (held == nullptr)
        return false;
      const std::scoped_lock lock(registry->mutex);
      return registry->owner != nullptr && held->calls.load(std::memory_order_relaxed) != 0;
    }

    void give_back() noexcept {
      if (held == nullptr)
        return;
      if (sync::process_id() != registry->process) {
        // A forked child: the lock may be held by a thread that is not here.
        (void)new std::shared_ptr<injector::registry>(std::move(registry));
        held = nullptr;
        return;
      }
      const std::scoped_lock lock(registry->mutex);
      if (registry->owner != nullptr) {
        held->holder.store(nullptr, std::memory_order_relaxed); // see use
        held->next_free = registry->owner->free_;
        registry->owner->free_ = held;
      }
      held = nullptr;
    }
  };

  producer_leases() noexcept {}
  producer_leases(const producer_leases&) = delete;
  producer_leases& operator=(const producer_leases&) = delete;
  ~producer_leases() {
    thread_state& thread = this_thread();
    thread.producer = nullptr;
    thread.producer_id = 0;
    thread.leases_closed = true;
    for (auto& l : leases)
      l.give_back();
  }

  std::array<lease, 8> leases;
  std::size_t next_victim = 0;
};

injector::injector()
    : queue_(0), id_(next_id.fetch_add(1, std::memory_order_relaxed)),
      registry_(std::make_shared<registry>()) {
  registry_->owner = this;
}

injector::~injector() {
  {
    const std::scoped_lock lock(registry_->mutex);
    registry_->owner = nullptr;
  }
  packet left;
  while (queue_.try_dequeue(left))
    left.drop();
  auto* p = producers_.load(std::memory_order_relaxed);
  while (p != nullptr)
    delete std::exchange(p, p->next);
}

injector::producer& injector::add_producer() {
  const std::scoped_lock lock(registry_->mutex);
  if (free_ != nullptr)
    return *std::exchange(free_, free_->next_free);
  auto* added = new producer(queue_);
  if (!added->token.valid()) {
    delete added;
    throw std::bad_alloc();
  }
  added->next = producers_.load(std::memory_order_relaxed);
  // Seq_cst: precedes the new producer's first packet in the order that I3 argues with.
  producers_.store(added, std::memory_order_seq_cst);
  return *added;
}

injector::producer& injector::lease(thread_state& thread) {
  if (sync::process_id() != registry_->process)
    throw_forked(); // the lock may be held by a thread that is not here
  static thread_local producer_leases table;
  if (thread.leases_closed) {
    // A thread-local destructor that runs after ours submits: the producer stays leased, which only
    // costs its memory until the runtime ends.
    return use(thread, add_producer());
  }
  for (auto& l : table.leases) {
    if (l.id == id_ && l.held != nullptr)
      return use(thread, *l.held);
  }
  producer_leases::lease* victim = nullptr;
  for (std::size_t i = 0; i < table.leases.size() && victim == nullptr; ++i) {
    auto& l = table.leases[table.next_victim++ % table.leases.size()];
    if (!l.in_use())
      victim = &l;
  }
  if (victim == nullptr) // all are in use further down on this stack
    return use(thread, add_producer());
  thread.producer_id = 0; // might be the victim's
  victim->give_back();
  victim->registry = registry_;
  victim->held = &add_producer();
  victim->id = id_;
  return use(thread, *victim->held);
}

injector::producer& injector::use(thread_state& thread, producer& p) noexcept {
  // Relaxed: only the thread itself recognises itself by it.
  p.holder.store(&thread, std::memory_order_relaxed);
  thread.producer = &p;
  thread.producer_id = id_;
  return p;
}

// GCC 12 thinks that the queue's token may hold a null producer and warns of the write through it;
// add_producer has checked the token.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

bool injector::push(producer& from, packet& p) noexcept {
  if (!queue_.enqueue(from.token, std::move(p)))
    return false;
  // Seq_cst: I1, W1's "write mine" before the idle word is read.
  from.published.store(from.published.load(std::memory_order_relaxed) + 1,
                       std::memory_order_seq_cst);
  return true;
}

namespace {

/// Makes packets as the queue copies them into its blocks.
class source_iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = packet;
  using difference_type = std::ptrdiff_t;
  using pointer = packet*;
  using reference = packet;

  explicit source_iterator(packet_source& source) noexcept : source_(&source) {}
  packet operator*() const noexcept { return source_->next(); }
  source_iterator& operator++() noexcept { return *this; }
  source_iterator operator++(int) noexcept { return *this; }

 private:
  packet_source* source_;
};

} // namespace

bool injector::push(producer& from, packet_source& source, std::size_t count) noexcept {
  if (!queue_.enqueue_bulk(from.token, source_iterator(source), count))
    return false;
  // Seq_cst: as for one.
  from.published.store(from.published.load(std::memory_order_relaxed) + count,
                       std::memory_order_seq_cst);
  return true;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

std::uint64_t injector::published() const noexcept {
  std::uint64_t sum = 0;
  for (auto* p = producers_.load(std::memory_order_seq_cst); p != nullptr; p = p->next)
    sum += p->published.load(std::memory_order_seq_cst);
  return sum;
}

void injector::wait_for_submitters(const thread_state& thread) const noexcept {
  for (auto* p = producers_.load(std::memory_order_seq_cst); p != nullptr; p = p->next) {
    // A callable that stops its runtime while it is being moved into the queue must not wait for
    // itself.
    if (p->holder.load(std::memory_order_relaxed) == &thread)
      continue;
    // Seq_cst: S2, pairs with submission_guard's announcement; acquires what was done under it.
    while (p->calls.load(std::memory_order_seq_cst) != 0)
      sync::yield_thread();
  }
}

std::uint64_t injector::accepted() const noexcept {
  std::uint64_t sum = 0;
  // Relaxed: exact only once the scheduler is sealed, which ordered it (S2).
  for (auto* p = producers_.load(std::memory_order_seq_cst); p != nullptr; p = p->next)
    sum += p->accepted.load(std::memory_order_relaxed);
  return sum;
}

} // namespace weir::detail
