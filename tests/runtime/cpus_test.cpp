// SPDX-License-Identifier: MIT
// usable_cpus(): the tables of fixture trees below tests/fixtures/cgroup, random bytes instead of
// the kernel's files, and the machine that runs the test.
#include "catch.hpp"

#include <weir/cpus.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <sched.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

fs::path fixture(std::string_view name) {
  return fs::path(WEIR_FIXTURES) / "cgroup" / name;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct limited {
  const char* name;
  std::size_t count; // of 8 CPUs
  double quota;
  const char* source;
};

// Where a tree has other files that give a smaller quota, they are bait and must not be read.
const std::vector<limited> with_quota{
    {"v1", 2, 1.5, "/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us"},
    {"v1_separate_mounts", 3, 3, "/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us"},
    {"v1_combined", 3, 3, "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us"},
    {"v1_combined_reversed", 3, 3, "/sys/fs/cgroup/cpuacct,cpu/app/cpu.cfs_quota_us"},
    {"v1_nested", 2, 1.5, "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us"},
    {"v1_container", 2, 2, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"},
    {"v1_container_child", 3, 2.5, "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"},
    {"hybrid", 2, 2, "/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us"},
    {"hybrid_v2_limits", 3, 3, "/sys/fs/cgroup/unified/app/cpu.max"},
    {"v2", 2, 1.5, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_nested", 2, 1.5, "/sys/fs/cgroup/a/b/cpu.max"},
    {"v2_nested_unlimited_leaf", 2, 2, "/sys/fs/cgroup/a/cpu.max"},
    {"v2_fraction", 3, 2.00001, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_exact", 2, 2, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_below_one", 1, 0.01, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_above_affinity", 8, 16, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_no_newline", 3, 3, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_default_period", 3, 3, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_malformed_leaf", 5, 5, "/sys/fs/cgroup/cpu.max"},
    {"v2_group_gone", 2, 2, "/sys/fs/cgroup/app/cpu.max"},
    {"v2_colon_in_path", 2, 2, "/sys/fs/cgroup/user:1/app/cpu.max"},
    {"v2_elsewhere", 2, 2, "/cgroup2/app/cpu.max"},
    {"v2_escaped", 2, 2, "/mnt/c group\\x/my app/cpu.max"},
    {"v2_container", 2, 2, "/sys/fs/cgroup/cpu.max"},
    {"v2_not_below_root", 2, 2, "/sys/fs/cgroup/cpu.max"},
    {"v2_root_is_a_prefix", 2, 2, "/sys/fs/cgroup/cpu.max"},
    {"v2_namespace", 2, 2, "/sys/fs/cgroup/cpu.max"},
    {"v2_namespace_climbs", 2, 2, "/sys/fs/cgroup/cpu.max"},
    {"v2_namespace_above", 2, 2, "/sys/fs/cgroup/other/cpu.max"},
    {"truncated_then_whole", 2, 2, "/sys/fs/cgroup/app/cpu.max"},
    {"malformed_groups", 2, 2, "/sys/fs/cgroup/app/cpu.max"},
};

const std::vector<const char*> without_quota{
    "v1_unlimited",
    "v1_named_hierarchy",
    "v1_no_period",
    "v1_malformed",
    "v1_zero_period",
    "v1_negative_period",
    "v2_max",
    "v2_minus_one",
    "v2_zero_quota",
    "v2_malformed",
    "v2_malformed_tail",
    "v2_overflow",
    "v2_empty_period",
    "v2_empty_file",
    "v2_zero_period",
    "v2_negative_period",
    "v2_no_cpu_max",
    "no_mountinfo",
    "no_cgroup_file",
    "empty_proc",
    "truncated_mountinfo",
};

std::size_t affinity_of_this_thread() {
  // As the library, because the kernel may want a larger mask than cpu_set_t.
  std::vector<cpu_set_t> mask(64);
  const std::size_t size = mask.size() * sizeof(cpu_set_t);
  REQUIRE(sched_getaffinity(0, size, mask.data()) == 0);
  return static_cast<std::size_t>(CPU_COUNT_S(size, mask.data()));
}

} // namespace

TEST_CASE("the smallest quota of a process's groups limits the CPU count", "[cpus]") {
  for (const auto& expected : with_quota) {
    INFO(expected.name);
    REQUIRE(fs::exists(fixture(expected.name)));
    const auto budget = weir::usable_cpus(fixture(expected.name), 8);
    INFO(budget.reason);
    CHECK(budget.count == expected.count);
    CHECK(budget.affinity == 8);
    CHECK(budget.quota.has_value());
    CHECK(std::abs(budget.quota.value_or(0) - expected.quota) < 1e-9);
    CHECK(budget.reason.rfind(std::to_string(expected.count) + ": affinity 8, quota ", 0) == 0);
    CHECK(contains(budget.reason, std::string(" from ") + expected.source));
  }
}

TEST_CASE("files that are missing, malformed or unlimited leave the affinity", "[cpus]") {
  for (const char* name : without_quota) {
    INFO(name);
    REQUIRE(fs::exists(fixture(name)));
    const auto budget = weir::usable_cpus(fixture(name), 8);
    CHECK(budget.count == 8);
    CHECK(budget.affinity == 8);
    CHECK_FALSE(budget.quota.has_value());
    CHECK(budget.reason == "8: affinity 8, no quota");
  }
}

TEST_CASE("a tree without /proc leaves the affinity", "[cpus]") {
  const auto budget = weir::usable_cpus(fixture("there is no such tree"), 3);
  CHECK(budget.count == 3);
  CHECK_FALSE(budget.quota.has_value());
}

TEST_CASE("each fixture tree is listed in a table", "[cpus]") {
  std::vector<std::string> listed(without_quota.begin(), without_quota.end());
  for (const auto& expected : with_quota)
    listed.emplace_back(expected.name);
  listed.emplace_back("two_mounts");
  std::vector<std::string> present;
  for (const auto& entry : fs::directory_iterator(fixture("")))
    present.push_back(entry.path().filename().string());
  std::sort(listed.begin(), listed.end());
  std::sort(present.begin(), present.end());
  CHECK(present == listed);
}

TEST_CASE("the quota never gives more CPUs than the affinity, and one at the least", "[cpus]") {
  CHECK(weir::usable_cpus(fixture("v2"), 1).count == 1);
  CHECK(weir::usable_cpus(fixture("v2"), 2).count == 2);
  CHECK(weir::usable_cpus(fixture("v2_above_affinity"), 15).count == 15);
  CHECK(weir::usable_cpus(fixture("v2_above_affinity"), 17).count == 16);
  const auto unknown = weir::usable_cpus(fixture("v2_max"), 0);
  CHECK(unknown.count == 1);
  CHECK(unknown.affinity == 1);
}

// A bind mount of another group must not hide the mount that shows this process's group.
TEST_CASE("of two mounts the one above the process's group is read", "[cpus]") {
  const auto budget = weir::usable_cpus(fixture("two_mounts"), 8);
  INFO(budget.reason);
  CHECK(budget.quota == std::optional<double>(3));
  CHECK(budget.count == 3);
}

TEST_CASE("on this machine there is a CPU, and no more than the affinity", "[cpus]") {
  const auto budget = weir::usable_cpus();
  INFO(budget.reason);
  CHECK(budget.affinity == affinity_of_this_thread());
  CHECK(budget.count >= 1);
  CHECK(budget.count <= budget.affinity);
  CHECK(budget.reason.rfind(std::to_string(budget.count) + ": affinity ", 0) == 0);
}

TEST_CASE("a narrowed affinity mask is seen", "[cpus]") {
  int narrowed = -1;
  weir::cpu_budget budget;
  // On a thread of its own, so that the tests that follow keep all CPUs.
  std::thread([&] {
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu >= CPU_SETSIZE)
      return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(cpu), &one);
    narrowed = sched_setaffinity(0, sizeof one, &one);
    budget = weir::usable_cpus();
  }).join();
  if (narrowed != 0) {
    WARN("the affinity cannot be changed here");
    return;
  }
  CHECK(budget.affinity == 1);
  CHECK(budget.count == 1);
}

namespace {

/// A tree of the files that the library reads, rewritten for each random input.
class scratch_tree {
 public:
  scratch_tree()
      : root_(fs::temp_directory_path() / ("weir_cpus_test_" + std::to_string(getpid()))) {
    fs::create_directories(root_ / "proc/self");
    fs::create_directories(root_ / "sys/fs/cgroup/a/b");
  }
  scratch_tree(const scratch_tree&) = delete;
  scratch_tree& operator=(const scratch_tree&) = delete;
  ~scratch_tree() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  void write(const char* path, const std::string& text) const {
    // Not overwritten: ext4 writes a file that replaces its contents to the disk at once.
    fs::remove(root_ / path);
    std::ofstream(root_ / path, std::ios::binary) << text;
  }
  [[nodiscard]] const fs::path& root() const noexcept { return root_; }

 private:
  fs::path root_;
};

class text_maker {
 public:
  explicit text_maker(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }

  /// A valid text, or one with a few bytes changed, removed, doubled or cut off, or noise.
  std::string bytes(std::string text) {
    if (below(2) == 0)
      return text;
    if (below(8) == 0) {
      text.assign(below(80), '\0');
      for (char& c : text)
        c = static_cast<char>(below(256));
      return text;
    }
    for (std::size_t changes = 1 + below(4); changes > 0 && !text.empty(); --changes) {
      const std::size_t at = below(text.size());
      switch (below(5)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, 1 + below(4));
        break;
      case 2:
        text.insert(at, text.substr(at, below(12)));
        break;
      case 3:
        text.insert(at, one_of({" ", ":", "/", "..", "\\04", "-", "\n", ",", "0", "max"}));
        break;
      default:
        text.resize(at);
      }
    }
    return text;
  }

  std::string one_of(std::initializer_list<const char*> texts) {
    return texts.begin()[below(texts.size())];
  }

 private:
  std::mt19937 random_;
};

} // namespace

TEST_CASE("random bytes in the kernel's files are never worse than no limit", "[cpus]") {
  const scratch_tree tree;
  text_maker make(20240229);
  std::size_t with_limit = 0;
  for (int i = 0; i < 2500; ++i) {
    const bool v2 = make.below(2) == 0;
    const auto group = make.bytes(v2 ? "0::/a/b\n" : "3:cpu,cpuacct:/a/b\n2:cpuset:/a\n");
    const auto mounts =
        make.bytes(v2 ? "30 24 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n"
                      : "30 24 0:27 / /sys/fs/cgroup rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
    const auto quota = make.bytes(make.one_of({"150000", "1", "-1", "9223372036854775807"}));
    const auto period = make.bytes(make.one_of({"100000", "1", "0", "-9223372036854775808"}));
    const auto separator = make.one_of({" ", " ", " ", "\t", ""});
    tree.write("proc/self/cgroup", group);
    tree.write("proc/self/mountinfo", mounts);
    tree.write("sys/fs/cgroup/a/b/cpu.max", quota + separator + period + "\n");
    tree.write("sys/fs/cgroup/a/cpu.cfs_quota_us", quota);
    tree.write("sys/fs/cgroup/a/cpu.cfs_period_us", period);

    const std::size_t affinity = make.below(10);
    CAPTURE(i, group, mounts, quota, period, affinity);
    weir::cpu_budget budget;
    bool thrown = false;
    try {
      budget = weir::usable_cpus(tree.root(), affinity);
    } catch (...) {
      thrown = true;
    }
    REQUIRE_FALSE(thrown);
    const auto cpus = std::max<std::size_t>(affinity, 1);
    REQUIRE(budget.affinity == cpus);
    REQUIRE(budget.count >= 1);
    REQUIRE(budget.count <= cpus);
    if (budget.quota) {
      ++with_limit;
      REQUIRE(*budget.quota > 0);
      const double wanted = std::min(std::ceil(*budget.quota), static_cast<double>(cpus));
      REQUIRE(budget.count == static_cast<std::size_t>(wanted));
    } else {
      REQUIRE(budget.count == cpus);
    }
  }
  // The inputs must be close enough to valid ones that the numbers are reached.
  CHECK(with_limit > 100);
}
