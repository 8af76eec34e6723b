// SPDX-License-Identifier: MIT
// dupes: finds files with the same content. Shows a weir program as a whole: a runtime, a bounded
// pool that holds back whoever feeds it, a coroutine, stopping, and results from many tasks.
#include "dupes_interrupt.hpp"
#include "dupes_progress.hpp"
#include "dupes_report.hpp"
#include "dupes_scan.hpp"

#include <weir/weir.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

enum exit_status : int { ok = 0, failed = 1, no_folder = 2, was_interrupted = 130 };

struct options {
  std::vector<std::string> folders{"/usr/include", "/usr/share"};
  std::size_t workers = 0;
  std::size_t limit = 16;
  bool include_empty = false;
  bool json = false;
};

void describe(CLI::App& app, options& o) {
  app.description("Finds files with the same content below some folders.\n"
                  "Files of the same size are hashed, files with the same hash compared byte by\n"
                  "byte. Hard links to one file count as one; symbolic links are not followed.");
  app.add_option("folders", o.folders, "Where to search")->capture_default_str();
  app.add_option("-j,--jobs", o.workers, "Worker threads; 0: one for each usable CPU")
      ->check(CLI::Range(std::size_t{0}, weir::runtime::worker_limit))
      ->capture_default_str();
  app.add_option("--limit", o.limit,
                 "Files being read at once, at most; a read keeps its worker busy")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
      ->capture_default_str();
  app.add_flag("--empty", o.include_empty, "Report empty files too");
  app.add_flag("--json", o.json, "Write JSON instead of text");
  app.footer("The results go to standard output, progress and totals to standard error.\n"
             "Text shows control characters in paths as \\n or \\x1b. In JSON, bytes of a path\n"
             "that are not UTF-8 are replaced by U+FFFD.\n"
             "Ctrl-C stops and reports what was found so far; a second one ends the program.\n"
             "Exit status: 0 done, even if something was unreadable; 2 none of the folders\n"
             "could be opened; 130 interrupted; 1 and from 100 on other errors.");
}

void print(std::FILE* stream, const std::string& text) {
  if (std::fputs(text.c_str(), stream) < 0 || std::fflush(stream) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot write the report");
}

int run(const options& o) {
  const auto began = std::chrono::steady_clock::now();
  dupes::findings found;
  dupes::counters count;
  weir::inplace_stop_source stop;
  dupes::scan_context context{found, count, stop.get_token(), o.include_empty};
  std::size_t folders_opened = 0;
  {
    const dupes::interrupt_watch interrupts(stop); // first: it must exist before other threads do
    weir::runtime runtime({.workers = o.workers, .thread_name = "dupes"});
    // The queue holds enough to keep the readers busy while the walk goes through a folder.
    weir::fixed_pool<weir::fifo> readers(runtime, {.size = o.limit, .queue_maxsize = 4 * o.limit});
    const dupes::progress_line progress(count);
    folders_opened =
        runtime.block_on(dupes::scan(readers, {o.folders.begin(), o.folders.end()}, context));
  }
  dupes::report report(found, count);
  report.interrupted = stop.stop_requested();
  report.elapsed = std::chrono::steady_clock::now() - began;

  print(stdout, o.json ? to_json(report) : to_text(report));
  print(stderr, summary(report));
  if (report.interrupted)
    return was_interrupted;
  return folders_opened == 0 ? no_folder : ok;
}

} // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app;
  describe(app, o);
  CLI11_PARSE(app, argc, argv);
  return run(o);
} catch (const std::exception& e) {
  fmt::print(stderr, "dupes: {}\n", e.what());
  return failed;
}
