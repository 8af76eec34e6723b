// SPDX-License-Identifier: MIT
// Boost.Asio's thread_pool behind the benchmarks' common face (face.hpp). The same source as
// standalone Asio at another version; so it answers only what is asked of jobs.
#pragma once

#include <cstddef>
#include <future>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace bench {

class boost_asio_pool {
 public:
  static constexpr const char* name = "boost-asio";

  explicit boost_asio_pool(std::size_t workers) : pool_(workers) {}
  boost_asio_pool(const boost_asio_pool&) = delete;
  boost_asio_pool& operator=(const boost_asio_pool&) = delete;
  ~boost_asio_pool() { pool_.join(); }

  template <class F>
  void post(F f) {
    boost::asio::post(pool_, std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    post([&] { result.set_value(f()); });
    return got.get();
  }

 private:
  boost::asio::thread_pool pool_;
};

} // namespace bench
