# SPDX-License-Identifier: MIT
"""Adds up a meson test log: test cases of Catch2 programs, other tests as one each."""
import re
import sys

passed = failed = skipped = 0
text = open(sys.argv[1], encoding="utf-8", errors="replace").read()
for part in re.split(r"^=+ \d+/\d+ =+$", text, flags=re.MULTILINE)[1:]:
    result = re.search(r"^result:\s+(.*)$", part, re.MULTILINE)
    outcome = result.group(1) if result else "no result"
    if "skipped" in outcome:
        skipped += 1
        continue
    everything = re.search(r"^All tests passed \(.* in (\d+) test cases?\)$", part, re.MULTILINE)
    counts = re.search(r"^test cases:.*$", part, re.MULTILINE)
    if "exit status 0" in outcome:
        passed += int(everything.group(1)) if everything else 1
    elif counts:
        failures = re.search(r"(\d+) failed", counts.group(0))
        successes = re.search(r"(\d+) passed", counts.group(0))
        failed += max(1, int(failures.group(1)) if failures else 1)
        passed += int(successes.group(1)) if successes else 0
    else:
        failed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
