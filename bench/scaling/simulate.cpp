// SPDX-License-Identifier: MIT
// Runs simulations of the lines it reads, and prints one line of JSON for each:
//   TREE SIZE [NAME=VALUE...]      for example: fib 39 workers=64 lazy=1 fork=4900
// Names are the fields of scaling::model; times are in picoseconds.
#include "simulation.hpp"

#include <charconv>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

std::int64_t number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw std::invalid_argument(text + " is not a number");
  return value;
}

void run(const std::string& text) {
  std::istringstream words(text);
  std::string name;
  std::string size;
  words >> name >> size;
  const auto work = scaling::tree::named(name, static_cast<std::uint64_t>(number(size)));
  if (!work)
    throw std::invalid_argument("no such tree: " + name + " " + size);
  scaling::model m;
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    if (equals == std::string::npos ||
        !m.set(word.substr(0, equals), number(word.substr(equals + 1))))
      throw std::invalid_argument("no such parameter: " + word);
  }
  scaling::simulation s(*work, m);
  const scaling::outcome& o = s.run();
  const auto print = [](const char* key, auto value) {
    std::printf("\"%s\": %lld, ", key, static_cast<long long>(value));
  };
  std::printf("{");
  print("time", o.time);
  print("forks", o.forks);
  print("leaves", o.leaves);
  print("steals", o.steals);
  print("failed", o.failed);
  print("published", o.published);
  print("publications", o.publications);
  print("taken_back", o.taken_back);
  print("parks", o.parks);
  print("wakes", o.wakes);
  print("near_lines", o.near_lines);
  print("far_lines", o.far_lines);
  print("owner_lines", o.owner_lines);
  print("deepest", o.deepest);
  std::printf("\"all_busy\": %lld}\n", static_cast<long long>(o.all_busy));
}

} // namespace

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);)
      run(line);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 2;
  }
}
