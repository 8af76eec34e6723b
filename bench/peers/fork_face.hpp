// SPDX-License-Identifier: MIT
// What the problems of fork and join ask of a peer.
//
// A peer is a class with
//   name        in tables: lower case, without '/'; names of weir begin with "weir"
//   Peer(n)     n threads, of which the calling one may be one
//   run(f)      calls f() where the library's forks work and returns its result
// Of the following static functions it has those that its library can do. It answers the problems
// that need no others. Results of callables can be default-constructed and moved.
//   both(f, g)              the results of both, which may run beside each other, as a
//                           pair or tuple
//   fold(count, f)          the sum, by +=, of f(i) for i < count, of which each may run
//                           beside the others; count is 1 or more
//   fold_fixed<Count>(f)    the same for peers that gain if the compiler knows the number
//   loop(size, hints, f)    calls f(i) for i < size; hints: see below
//   sum(values, f)          the sum of f(value) over a std::span<const std::uint32_t>
//   sort(first, last)
//   pipeline(p)             sends the items of a `stream` through its stages
//                           (problems/pipeline.hpp)
// And it may say
//   most_forks      it does not answer problems of more forks, because it would take minutes
//   cpus_only       it cannot have more threads than CPUs
//   own_process     it can be made once in a process
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>

namespace bench {

/// What some libraries want to be told about a loop.
struct loop_hints {
  int chunk;     ///< bodies at a time where the library asks for that
  double cycles; ///< of a body, roughly
};

/// A place for each child's result: on the stack if they are few.
template <class T>
class child_results {
 public:
  explicit child_results(std::size_t size)
      : size_(size), many_(size > few_.size() ? std::make_unique<T[]>(size) : nullptr) {}
  T& operator[](std::size_t i) { return many_ ? many_[i] : few_[i]; }
  T sum() {
    T total = (*this)[0];
    for (std::size_t i = 1; i < size_; ++i)
      total += (*this)[i];
    return total;
  }

 private:
  std::size_t size_;
  std::array<T, 16> few_{};
  std::unique_ptr<T[]> many_;
};

template <class Peer>
concept forks_two = requires { Peer::both([] { return 1; }, [] { return 1; }); };
template <class Peer>
concept forks_many = requires { Peer::fold(std::size_t{2}, [](std::size_t) { return 1; }); };
template <class Peer>
concept has_loops = requires { Peer::loop(std::size_t{2}, loop_hints{}, [](std::size_t) {}); };
template <class Peer>
concept has_sums = requires(std::span<const std::uint32_t> values) {
  Peer::sum(values, [](std::uint32_t x) { return std::uint64_t{x}; });
};
template <class Peer>
concept sorts = requires(std::uint32_t* at) { Peer::sort(at, at); };

template <class Peer>
inline constexpr long most_forks = std::numeric_limits<long>::max();
template <class Peer>
  requires requires { Peer::most_forks; }
inline constexpr long most_forks<Peer> = Peer::most_forks;

/// The sum of f(0) to f(Count - 1), each of which is a child.
template <forks_many Peer, std::size_t Count, class F>
auto fold_fixed(const F& f) {
  if constexpr (requires { Peer::template fold_fixed<Count>(f); })
    return Peer::template fold_fixed<Count>(f);
  else
    return Peer::fold(Count, f);
}

} // namespace bench
