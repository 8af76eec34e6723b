// SPDX-License-Identifier: MIT
// One coroutine walks and submits, the pool's tasks read. When the pool's queue is full, the walk
// is suspended: it holds no thread, and never runs ahead by more than the queue.
#include "dupes_scan.hpp"

#include "dupes_read.hpp"
#include "dupes_walk.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

namespace dupes {

namespace {

/// Finds the files that share their size with another one.
class size_filter {
 public:
  /// \return the files that have become candidates by this one: none if it is the first of its
  /// size, both if it is the second, otherwise itself.
  std::vector<file> add(file f) {
    std::vector<file> candidates;
    const auto [at, is_first] = first_of_size_.try_emplace(f.size);
    if (is_first) {
      at->second = std::move(f);
      return candidates;
    }
    if (at->second.has_value())
      candidates.push_back(*std::exchange(at->second, std::nullopt));
    candidates.push_back(std::move(f));
    return candidates;
  }

 private:
  /// The only file of a size; nothing once there are more.
  std::unordered_map<std::uint64_t, std::optional<file>> first_of_size_;
};

/// \return whether the bytes are the same; false if `other` cannot be read (any more).
bool equal_bytes(const file& candidate, const file& other, scan_context& context) {
  try {
    file_reader mine(candidate, context.count, context.stop);
    file_reader theirs(other, context.count, context.stop);
    return same_content(mine, theirs);
  } catch (const read_failure& failure) {
    if (failure.path() == candidate.path)
      throw;
    context.found.add_unreadable(failure.path(), failure.what());
    return false;
  }
}

/// Files `candidate` under its content. The hash only says what to compare with; the bytes decide.
void classify(const file& candidate, scan_context& context) {
  content_key key{candidate.size, {}};
  {
    file_reader reader(candidate, context.count, context.stop);
    key.hash = hash_content(reader);
  }
  for (std::size_t nth = 0;; ++nth) {
    const auto other = context.found.class_or_new(key, nth, candidate);
    if (!other)
      return;
    if (equal_bytes(candidate, *other, context)) {
      context.found.join_class(key, nth, candidate);
      return;
    }
  }
}

/// A task of the pool. It ends as cancelled if stop is requested meanwhile.
void check(const file& candidate, scan_context& context) {
  try {
    classify(candidate, context);
  } catch (const read_failure& failure) {
    context.found.add_unreadable(failure.path(), failure.what());
  }
}

} // namespace

weir::task<std::size_t> scan(weir::fixed_pool<weir::fifo>& pool,
                             std::vector<std::filesystem::path> folders, scan_context& context) {
  tree_walk walk(folders, context.found, context.count, context.stop);
  size_filter sizes;
  for (auto next = walk.next(); next.has_value(); next = walk.next()) {
    if (next->size == 0 && !context.include_empty)
      continue;
    std::vector<file> candidates = sizes.add(std::move(*next));
    for (file& candidate : candidates) {
      context.count.candidates.fetch_add(1, std::memory_order_relaxed);
      auto submission = pool.submit_async(check, std::move(candidate), std::ref(context));
      // The handle is dropped: a check leaves its result in the findings, and close() waits for it.
      [[maybe_unused]] const auto dropped = co_await submission;
    }
  }
  auto all_ended = pool.close();
  co_await all_ended;
  co_return walk.folders_opened();
}

} // namespace dupes
