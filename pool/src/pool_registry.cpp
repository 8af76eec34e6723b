// SPDX-License-Identifier: MIT
#include <weir/detail/sync.hpp>
#include <weir/pool/pool_registry.hpp>

#include <mutex>
#include <new>
#include <utility>

namespace weir {

namespace detail {

namespace {

/// Never destroyed: pools may be static objects. In a forked child the page is empty: the lock is
/// free, and the parent's pools are not there.
struct listed_pools {
  sync::mutex mutex;
  pool_registration* first;
  pool_registration* last;
};

listed_pools& listed() {
  static const sync::wiped_page& page = []() -> const sync::wiped_page& {
    const auto& made = *new sync::wiped_page;
    ::new (made.get()) listed_pools{};
    return made;
  }();
  return *static_cast<listed_pools*>(page.get());
}

} // namespace

pool_registration::pool_registration(const void* core, stats_function stats, std::string_view name)
    : core_(core), stats_(stats), name_(name), process_(sync::process_id()) {
  listed_pools& all = listed();
  const std::scoped_lock lock(all.mutex);
  previous_ = std::exchange(all.last, this);
  (previous_ == nullptr ? all.first : previous_->next_) = this;
}

void pool_registration::end() noexcept {
  if (std::exchange(ended_, true) || process_ != sync::process_id()) // a child has its own list
    return;
  listed_pools& all = listed();
  const std::scoped_lock lock(all.mutex);
  (previous_ == nullptr ? all.first : previous_->next_) = next_;
  (next_ == nullptr ? all.last : next_->previous_) = previous_;
}

} // namespace detail

std::vector<pool_entry> pool_registry::entries() {
  std::vector<pool_entry> all;
  detail::listed_pools& known = detail::listed();
  const std::scoped_lock lock(known.mutex);
  for (const auto* each = known.first; each != nullptr; each = each->next_)
    all.push_back({std::string(each->name_), each->stats_(each->core_)});
  return all;
}

} // namespace weir
