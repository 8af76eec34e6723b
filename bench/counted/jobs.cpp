// SPDX-License-Identifier: MIT
// Jobs that weir's runtime runs.
#include "jobs.hpp"

namespace bench::counted {
namespace {

/// The runtime with the face of a peer.
class runtime_of_one {
 public:
  explicit runtime_of_one(std::size_t) {}
  template <class F>
  void post(F f) {
    rt_.post(std::move(f));
  }
  template <class F>
  auto submit(F f) {
    return rt_.submit(std::move(f));
  }

 private:
  one_worker rt_;
};

constexpr operation all[] = {
    {"post/weir", 2000, 12000, count_post<runtime_of_one>},
    {"post_by_worker/weir", 2000, 12000, count_post_by_worker<runtime_of_one>},
    {"submit_get/weir", 2000, 12000, count_submit<runtime_of_one>},
};

} // namespace

std::span<const operation> jobs() {
  return all;
}

} // namespace bench::counted
