"""Grades of ten million samples to all tables: `python -m benchmark.perf.aggregate --out results/perf`.

The grades are made up and written as `score` writes them; then `python -m benchmark aggregate` runs on them
in a process of its own, from starting Python to the last table. The peak is that process's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmark.perf.synthetic import ENGINE, Size, make_folder
from tasks.errors import CommandLine, InfrastructureError, run_cli
from tasks.files import write_json, write_text
from tasks.provenance import git_state, machine, package_versions, utc_now

SIZES = {"1": Size(2, 5), "3": Size(4, 8), "10": Size(8, 13)}
"""Millions of samples, and what makes them."""
CORES = 2
GOAL_S, GOAL_GIB = 60.0, 4.0
"""For ten million."""
GOAL_EXPONENT = 1.1
"""Of the memory's growth with the number of samples; 1 is linear, and less is what does not grow."""
GOAL_SLOPES = 1.25
"""Seconds of a million more up to the largest size, against those up to the second: what starting costs is in
neither; 1 is linear."""


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m benchmark.perf.aggregate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--millions", nargs="+", choices=SIZES, default=list(SIZES), help="sizes (default: all)"
    )
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    results = [measure(SIZES[name]) for name in arguments.millions]
    sha, dirty = git_state()
    about = {"measured_at": utc_now(), "machine": machine(), "git_sha": sha, "git_dirty": dirty}
    goals, added = judge(results), seconds_per_added_million(results)
    record = {**about, "versions": package_versions(), "cores": CORES, "sizes": results, "goals": goals}
    write_json(arguments.out / "aggregate.json", record | {"seconds_per_added_million": added})
    text = to_markdown(results, goals, added)
    write_text(arguments.out / "aggregate.md", text)
    print(text)


def measure(size: Size) -> dict[str, Any]:
    """Make one folder, aggregate it in a new process, and delete it."""
    folder = Path(tempfile.mkdtemp(prefix="aggregate-"))
    try:
        _, suite_file, samples = make_folder(folder, size)
        out = folder / "out"
        words = ["aggregate", str(suite_file), "--out", str(out), "--engine", ENGINE]
        started = time.perf_counter()
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmark", *words], stdout=log, stderr=subprocess.STDOUT
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                log.seek(0)
                raise InfrastructureError(f"aggregate ended with {process.returncode}: {log.read()[-500:]}")
        files = list((out / "grades").rglob("*.parquet"))
        with (out / "rows.jsonl").open() as rows:
            return {
                "samples": samples,
                "units": len(files),
                "mib_of_grades": sum(file.stat().st_size for file in files) / 2**20,
                "rows": sum(1 for _ in rows),
                "seconds": seconds,
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_gib": used.ru_maxrss / 2**20,  # Linux counts KiB
            }
    finally:
        shutil.rmtree(folder)


def judge(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the largest size with the goals, and the growth over the sizes with a straight line."""
    largest = max(results, key=lambda one: one["samples"])
    goals = [
        _goal("seconds", largest["seconds"], GOAL_S, largest),
        _goal("peak memory, GiB", largest["peak_gib"], GOAL_GIB, largest),
    ]
    added = [one["seconds"] for one in seconds_per_added_million(results)]
    if len(added) > 1:
        what = "seconds of the last added millions / of the first"
        goals.append(_goal(what, added[-1] / added[0], GOAL_SLOPES, largest))
    if len(results) > 1:
        exponent = growth([one["samples"] for one in results], [one["peak_gib"] for one in results])
        goals.append(_goal("growth exponent of peak memory", exponent, GOAL_EXPONENT, largest))
    return goals


def seconds_per_added_million(results: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return what a million more samples cost between each size and the next one.

    >>> sizes = [{"samples": 10**6, "seconds": 9.0}, {"samples": 3 * 10**6, "seconds": 13.0}]
    >>> seconds_per_added_million(sizes)
    [{'from': 1000000, 'to': 3000000, 'seconds': 2.0}]
    """
    return [
        {
            "from": small["samples"],
            "to": large["samples"],
            "seconds": 1e6 * (large["seconds"] - small["seconds"]) / (large["samples"] - small["samples"]),
        }
        for small, large in pairwise(sorted(results, key=lambda one: one["samples"]))
    ]


def growth(sizes: list[int], costs: list[float]) -> float:
    """Return the exponent e of cost ~ size^e, by least squares on logarithms.

    >>> round(growth([1, 10, 100], [3.0, 30.0, 300.0]), 9)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _goal(what: str, value: float, most: float, largest: dict[str, Any]) -> dict[str, Any]:
    """Judge a number; ten million samples are what the goals speak of, and fewer meet none."""
    if largest["samples"] < 10**7:
        verdict = "not judged: too few samples"
    else:
        verdict = "met" if value <= most else "not met"
    return {"what": what, "value": value, "at_most": most, "verdict": verdict}


def to_markdown(
    results: list[dict[str, Any]], goals: list[dict[str, Any]], added: list[dict[str, float]]
) -> str:
    """Lay out sizes, growth and goals."""
    head = ["samples", "units", "grades, MiB", "rows", "seconds", "CPU seconds", "peak memory, GiB"]
    lines = [
        [
            f"{one['samples']:,}",
            one["units"],
            *(f"{one[name]:.0f}" for name in ("mib_of_grades", "rows")),
            *(f"{one[name]:.1f}" for name in ("seconds", "cpu_s")),
            f"{one['peak_gib']:.2f}",
        ]
        for one in results
    ]
    judged = [[one["what"], f"{one['value']:.2f}", f"{one['at_most']:g}", one["verdict"]] for one in goals]
    sizes = tabulate(lines, head, tablefmt="github", disable_numparse=True)
    table = tabulate(judged, ["", "measured", "at most", "goal"], tablefmt="github", disable_numparse=True)
    about = (
        f"`python -m benchmark aggregate` on made-up grades, {CORES} cores, a process of its own:\n"
        "four arms, two tasks, 16 samples of an item; avg@k, pass@k, maj@k, counts, standard errors, tables."
    )
    grows = "".join(
        f"From {one['from']:,} to {one['to']:,} samples: {one['seconds']:.2f} seconds a million more.\n"
        for one in added
    )
    return (
        "\n\n".join(["# From grades to tables", about, sizes, *([grows.strip()] if grows else []), table])
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(run_cli(main))
