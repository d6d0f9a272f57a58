"""Score and aggregate in forked children, kill them with SIGKILL, and say what the folder holds at last.

    python tests/killing_stages.py FOLDER STRIDE

A child is killed right before the n-th call that changes or flushes a file, for every STRIDE-th n, once more
while it picks up the pieces, and then runs to its end. Each line of the output is a JSON object: what was
killed where, and in what the folder differs from an undisturbed one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from benchmark.rows import read_rows  # noqa: E402
from benchmark.scoring.aggregate import content  # noqa: E402
from tests.killing import die, ended, fork, on_file_calls, write_number  # noqa: E402
from tests.toy import all_rows, make_suite, write_suite  # noqa: E402


def held(out: Path) -> dict[str, object]:
    grades = {str(path.relative_to(out)): path.read_bytes() for path in (out / "grades").rglob("*.parquet")}
    leftovers = sorted(str(path.relative_to(out)) for path in (out / "grades").rglob(".*.tmp"))
    return {
        "grades": grades,
        "rows": [content(row) for row in read_rows(out / "rows.jsonl")],
        "left": leftovers,
    }


def main() -> None:
    folder, stride = Path(sys.argv[1]), int(sys.argv[2])
    start = write_suite(folder / "start")

    def run(out: Path, act: Callable[[int], None] | None = None) -> int:
        def work() -> None:
            if act:
                on_file_calls(act)
            all_rows(make_suite(), out)

        return ended(fork(work))

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(start, folder / name))

    calls = folder / "calls"
    assert run(fresh("straight"), lambda number: write_number(calls, number)) == 0
    total, want = int(calls.read_text()), held(folder / "straight")
    assert len(want["grades"]) == len(want["rows"]) == 18, want
    for at in range(1, total + 1, stride):
        out = fresh(f"call{at}")
        codes = [run(out, die(at)), run(out, die(at // 2 + 1)), run(out)]
        found = held(out)
        different = [name for name in want if found[name] != want[name]]
        sys.stdout.write(
            json.dumps({"at": at, "total": total, "codes": codes, "different": different}) + "\n"
        )
        sys.stdout.flush()  # before the next fork, which would print it again
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
