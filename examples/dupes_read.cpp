// SPDX-License-Identifier: MIT
// Reads with plain system calls: open() can refuse what has been swapped for a link or a pipe since
// the walk saw it.
#include "dupes_read.hpp"

#include <weir/error.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

namespace dupes {

namespace {

/// How much is read at once, and so how soon a request to stop is seen.
constexpr std::uint64_t largest_block = 64 * 1024;

read_failure failure_of(const file& failed, int error_number) {
  return {failed.path, std::generic_category().message(error_number)};
}

} // namespace

file_reader::file_reader(const file& opened, counters& count, weir::inplace_stop_token stop)
    : file_(&opened), count_(&count), stop_(stop),
      // One byte more than the file should have shows whether it has grown.
      block_size_(static_cast<std::size_t>(std::min(opened.size + 1, largest_block))),
      block_(std::make_unique_for_overwrite<std::byte[]>(block_size_)),
      descriptor_(
          ::open(opened.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)) {
  if (descriptor_ < 0)
    throw failure_of(opened, errno);
}

file_reader::~file_reader() {
  ::close(descriptor_);
}

std::span<const std::byte> file_reader::next_block() {
  std::size_t filled = 0;
  while (filled < block_size_) {
    if (stop_.stop_requested())
      throw weir::task_cancelled();
    const ssize_t got = ::read(descriptor_, block_.get() + filled, block_size_ - filled);
    if (got == 0)
      break;
    if (got > 0)
      filled += static_cast<std::size_t>(got);
    else if (errno != EINTR)
      throw failure_of(*file_, errno);
  }
  count_->bytes_read.fetch_add(filled, std::memory_order_relaxed);
  total_ += filled;
  if (total_ > file_->size || (filled < block_size_ && total_ < file_->size))
    throw read_failure(file_->path, "Size changed before or while it was read");
  return {block_.get(), filled};
}

digest hash_content(file_reader& reader) {
  const auto free_state = [](XXH3_state_t* state) { XXH3_freeState(state); };
  const std::unique_ptr<XXH3_state_t, decltype(free_state)> state(XXH3_createState());
  if (state == nullptr)
    throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  for (auto block = reader.next_block(); !block.empty(); block = reader.next_block())
    XXH3_128bits_update(state.get(), block.data(), block.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return {hash.high64, hash.low64};
}

bool same_content(file_reader& a, file_reader& b) {
  for (;;) {
    const auto block_a = a.next_block();
    const auto block_b = b.next_block();
    if (!std::ranges::equal(block_a, block_b))
      return false;
    if (block_a.empty())
      return true;
  }
}

} // namespace dupes
