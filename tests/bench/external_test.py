# SPDX-License-Identifier: MIT
import json
import os
import subprocess
import sys
import unittest

from support import TestWithFiles, runs
import external
from results import Key, Results


class External(TestWithFiles):
    def program(self, name, **values):
        """A script that answers as a peer does."""
        answers = "".join(f"*' {b}') echo '{json.dumps(runs(b, [value], **({'rss_mb': [7]} if b in self.memory else {})))}' ;;\n"
                          for b, value in values.items())
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\ncase \"$*\" in\n--list) echo {' '.join(values)} ;;\n--compiler) echo {name} 1 ;;\n"
                       f"{answers}*) echo unknown \"$*\" >&2; exit 2 ;;\nesac\n")
        os.chmod(self.path(name), 0o755)
        return self.path(name)

    memory = ()

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, external.__file__, *arguments], capture_output=True, text=True)

    def test_filters_see_the_whole_name(self):
        names = ["throughput/go/1", "throughput/go/2", "round_trip/go", "inside/go/1"]
        self.assertEqual(external.chosen(names, [r"throughput/[a-z]+/[14]/|round_trip"]),
                         ["throughput/go/1", "round_trip/go"])
        self.assertEqual(external.chosen(names, ["^inside/", "/2/"]), ["throughput/go/2", "inside/go/1"])
        self.assertEqual(external.chosen(names, []), names)

    def test_runs_come_with_the_context_of_the_others(self):
        like = self.write("like.json", runs("sort/weir-functions/2", [3]))
        into = self.path("other.json")
        rust = self.program("rust", **{"sort/rayon/1": 5, "sort/rayon/2": 4})
        go = self.program("go", **{"relay/go": 6})
        done = self.run_script("--like", like, "--into", into, "--round", "3", rust, go, self.path("absent"))
        self.assertEqual(done.stderr, "")
        found = Results([like, into])
        self.assertEqual({peer: s.median for peer, s in found.runs[Key("sort", "2", "real_time")].items()},
                         {"weir-functions": 3, "rayon": 4})
        self.assertEqual(found.runs[Key("relay", "", "real_time")]["go"].values, [6])
        with open(into, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["context"]["other_compilers"], "rust 1, go 1")

    def test_what_kills_a_program_is_left_out_and_said(self):
        with open(self.path("dying"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\ncase \"$*\" in\n--list) echo deep/x ;;\n--compiler) echo x 1 ;;\n"
                       "*) kill -ABRT $$ ;;\nesac\n")
        os.chmod(self.path("dying"), 0o755)
        like, into = self.write("like.json", runs("sort/weir-functions/2", [3])), self.path("other.json")
        done = self.run_script("--like", like, "--into", into, self.path("dying"))
        self.assertEqual(done.returncode, 0)
        self.assertIn("signal 6", done.stdout)
        with open(into, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["benchmarks"], [])

    def test_round_is_handed_on(self):
        asked = []

        def ask(program, *arguments):
            asked.append((program, *arguments))
            return "a/x b/x" if arguments == ("--list",) else "[]"

        external.round_of(["one"], ["^b"], 4, ask=ask)
        self.assertEqual(asked, [("one", "--list"), ("one", "--round", "4", "b/x")])

    def test_memory_comes_from_those_that_report_it(self):
        self.memory = ("sort/rayon/1",)
        program = self.program("rust", **{"sort/rayon/1": 5, "relay/tokio": 4})
        found = external.round_of([program], [], 0, rss=True)
        self.assertEqual([run["rss_mb"] for run in found], [7])

    def test_what_the_machine_cannot_do_is_left_out(self):
        with open(self.path("slow"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n[ \"$1\" = --list ] && echo sleeper_fire/go relay/go && exit\n"
                       f"case \"$*\" in *relay*) echo '{json.dumps(runs('relay/go', [6]))}'; exit ;; esac\n"
                       "echo too slow >&2\nexit 3\n")
        os.chmod(self.path("slow"), 0o755)
        found = external.round_of([self.path("slow")], [], 0)
        self.assertEqual([run["name"].split("/")[0] for run in found], ["relay"])

    def test_a_wrong_result_ends_it(self):
        like = self.write("like.json", runs("sort/weir-functions/2", [3]))
        with open(self.path("bad"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n[ \"$1\" = --list ] && echo sort/rayon/1 && exit\n[ \"$1\" = --compiler ] && exit\n"
                       "echo wrong result >&2\nexit 1\n")
        os.chmod(self.path("bad"), 0o755)
        done = self.run_script("--like", like, "--into", self.path("other.json"), self.path("bad"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("wrong result", done.stderr)
        self.assertFalse(os.path.exists(self.path("other.json")))


if __name__ == "__main__":
    unittest.main()
