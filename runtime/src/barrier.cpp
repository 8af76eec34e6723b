// SPDX-License-Identifier: MIT
#include <weir/barrier.hpp>

#include <mutex>
#include <utility>

namespace weir {

barrier::barrier(std::size_t parties, std::function<void()> completion)
    : parties_(parties), completion_(std::move(completion)) {
  if (parties == 0)
    detail::throw_error(errc::invalid_option,
                        "a barrier was to have 0 parties; it needs 1 or more");
}

std::size_t barrier::parties() const noexcept {
  const std::scoped_lock lock(mutex_);
  return parties_;
}

void barrier::require_parties() const {
  if (parties_ == 0)
    detail::throw_error(errc::limit_exceeded,
                        "arrival at a barrier with 0 parties left: all have dropped out; a party "
                        "that comes again must not drop out");
}

void barrier::arrive_and_drop() {
  detail::woken_list woken;
  {
    const std::scoped_lock lock(mutex_);
    require_parties();
    --parties_;
    if (arrived_ != parties_)
      return;
    arrived_ = 0;
    waiting_.move_all_to(woken);
  }
  finish_phase(woken);
}

void barrier::finish_phase(detail::woken_list& woken) const {
  struct release {
    explicit release(detail::woken_list& others) noexcept : others_(others) {}
    release(const release&) = delete;
    release& operator=(const release&) = delete;
    ~release() { others_.complete_all(); }
    detail::woken_list& others_;
  } const at_exit(woken);
  if (completion_)
    completion_();
}

bool barrier::wait_awaiter::wait_or_take() {
  barrier& at = *awaited_;
  const std::scoped_lock lock(at.mutex_);
  at.require_parties();
  if (at.arrived_ + 1 != at.parties_) {
    ++at.arrived_;
    at.waiting_.push_back(*this);
    return true;
  }
  at.arrived_ = 0;
  at.waiting_.move_all_to(others_);
  last_ = true;
  return false;
}

bool barrier::wait_awaiter::withdraw(suspension& self) noexcept {
  auto& node = static_cast<wait_awaiter&>(self);
  const std::scoped_lock lock(node.awaited_->mutex_);
  if (!node.awaited_->waiting_.remove(node))
    return false;
  --node.awaited_->arrived_;
  return true;
}

} // namespace weir
