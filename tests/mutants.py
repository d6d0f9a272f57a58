"""Test the tests (tox -e mutants): change the mathematics in a thousand ways, count what is noticed.

It fails where fewer than ENOUGH of the mutants are killed, and for a survivor that docs/mutants.md does not
explain. `trainer`, `statistics` and `gate` are parts: their mutants alone are tested and counted. Names, as
`mutmut run` takes them, test those mutants again and count all that have a result.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

ENOUGH = 0.9
KILLED = {"killed", "timeout", "segfault"}
MUTMUT = Path(sys.executable).with_name("mutmut")
PARTS = {
    "trainer": ["trainer.*"],
    "statistics": [
        "benchmark.stats.*",
        "benchmark.analysis.*",
        "benchmark.endpoints.*",
    ],
    "gate": ["benchmark.gate.*"],
}
ROOT = Path(__file__).parent.parent
EXPLAINED = ROOT / "docs/mutants.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", help=f"a part ({', '.join(PARTS)}) or mutants to test again: 'trainer.tree.*'"
    )
    parser.add_argument("--processes", default="1", help="mutants tested at once")
    args = parser.parse_args()
    if not args.names:
        shutil.rmtree(
            ROOT / "mutants", ignore_errors=True
        )  # mutmut would not ask new tests about old mutants
    names = [pattern for name in args.names for pattern in PARTS.get(name, [name])]
    subprocess.run([MUTMUT, "run", "--max-children", args.processes, *names], cwd=ROOT, check=True)
    results = read_results(mutmut("results", "--all", "true"))
    if set(args.names) & PARTS.keys():
        results = only(results, names)
    return report({name: status for name, status in results.items() if status != "not checked"})


def only(results: dict[str, str], patterns: list[str]) -> dict[str, str]:
    """Return the mutants that one of the patterns names."""
    return {
        name: status
        for name, status in results.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def mutmut(*arguments: str) -> str:
    done = subprocess.run([MUTMUT, *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def read_results(text: str) -> dict[str, str]:
    """Return name -> status from lines like "    trainer.loss.x_kl_term__mutmut_3: killed"."""
    pairs = (line.strip().rsplit(": ", 1) for line in text.splitlines() if "__mutmut_" in line)
    return {name: status for name, status in pairs}


def report(results: dict[str, str]) -> int:
    """Print counts and survivors; return the exit status."""
    modules: dict[str, Counter[str]] = {}
    for name, status in results.items():
        modules.setdefault(name.rpartition(".")[0], Counter())[status] += 1
    for module, counts in sorted(modules.items()):
        parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        print(f"{module:20} {counts.total():5} mutants: {parts}")
    alive = [name for name, status in results.items() if status not in KILLED]
    explained = EXPLAINED.read_text(encoding="utf-8").splitlines()
    unexplained = 0
    for name in alive:
        change = describe(name, mutmut("show", name))
        known = change in explained
        unexplained += not known
        print(f"{results[name]}{'' if known else ', not explained'}: {name}\n{change}")
    share = 1 - len(alive) / len(results)
    print(f"{share:.1%} of {len(results)} mutants killed; {len(alive)} alive, {unexplained} not explained")
    return int(share < ENOUGH or unexplained > 0)


def describe(name: str, diff: str) -> str:
    """Return one line that says what a mutant changes, and does not move when the function grows.

    >>> diff = "--- a.py\\n+++ a.py\\n@@ -1 +1 @@\\n-    return a + b\\n+    return a - b"
    >>> describe("trainer.loss.x_total__mutmut_2", diff)
    'loss.total: return a - b'
    """
    found = re.fullmatch(r"(?:\w+\.)*?(\w+)\.x_?(.+)__mutmut_\d+", name)
    assert found is not None, name
    module, function = found.groups()
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    old, new = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    added = [line for line in new if line not in old]
    gone = [line for line in old if line not in new]
    change = " ".join(added) if added else "without " + " ".join(gone)
    return f"{module}.{function.strip('ǁ').replace('ǁ', '.')}: {change}"


if __name__ == "__main__":
    sys.exit(main())
