// SPDX-License-Identifier: MIT
// Jobs that one thread of other libraries runs.
#include "../peers/asio_pool.hpp"
#include "../peers/queue_pool.hpp"
#include "jobs.hpp"

namespace bench::counted {
namespace {

constexpr operation all[] = {
    {"post/asio", 2000, 12000, count_post<asio_pool>},
    {"post/moodycamel", 2000, 12000, count_post<moodycamel_pool>},
    {"post/mutex", 2000, 12000, count_post<mutex_pool>},
    {"post_by_worker/asio", 2000, 12000, count_post_by_worker<asio_pool>},
    {"post_by_worker/moodycamel", 2000, 12000, count_post_by_worker<moodycamel_pool>},
    {"post_by_worker/mutex", 2000, 12000, count_post_by_worker<mutex_pool>},
    {"submit_get/asio", 2000, 12000, count_submit<asio_pool>},
    {"submit_get/moodycamel", 2000, 12000, count_submit<moodycamel_pool>},
    {"submit_get/mutex", 2000, 12000, count_submit<mutex_pool>},
};

} // namespace

std::span<const operation> jobs_of_peers() {
  return all;
}

} // namespace bench::counted
