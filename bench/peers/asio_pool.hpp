// SPDX-License-Identifier: MIT
// Standalone Asio's thread_pool behind the benchmarks' common face.
#pragma once

#include <cstddef>
#include <future>
#include <utility>

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

namespace bench {

class asio_pool {
 public:
  static constexpr const char* name = "asio";
  static constexpr bool has_bulk = false;

  explicit asio_pool(std::size_t workers) : pool_(workers) {}
  asio_pool(const asio_pool&) = delete;
  asio_pool& operator=(const asio_pool&) = delete;
  ~asio_pool() { pool_.join(); }

  template <class F>
  void post(F f) {
    asio::post(pool_, std::move(f));
  }
  template <class F>
  auto round_trip(F f) {
    std::promise<decltype(f())> result;
    auto got = result.get_future();
    asio::post(pool_, [&] { result.set_value(f()); });
    return got.get();
  }

 private:
  asio::thread_pool pool_;
};

} // namespace bench
