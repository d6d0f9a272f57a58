"""`python -m benchmark score SUITE`: grade the stored texts; needs no model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmark.commands.common import Commands, chosen_engine, chosen_suite, set_flags, suite_flags

if TYPE_CHECKING:
    from benchmark.score import Report


def add(commands: Commands) -> None:
    """Declare the command."""
    score = commands.add_parser(
        "score", parents=[suite_flags(), set_flags()], help="grade the stored texts; needs no model"
    )
    score.set_defaults(act=_score)


def _score(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    from benchmark.changes import grader_changes
    from benchmark.generate import check_sets
    from benchmark.runs import read_runs
    from benchmark.score import score

    check_sets(suite, allow_missing=arguments.allow_missing)
    runs = read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    engine = chosen_engine(arguments, suite)
    with live_count() as report:
        graded = score(suite, runs, out, engine, report)
    print(f"{graded} texts graded, the others had their grades; `aggregate` makes rows and tables of them")
    print(grader_changes(suite, runs, out, engine))


@contextmanager
def live_count() -> Iterator[Report]:
    """Yield what shows how far grading is: one line that changes in a terminal, a line a batch elsewhere."""
    live = sys.stdout.isatty()
    last = ""

    def report(done: int, units: int, graded: int) -> None:
        nonlocal last
        last = f"score  {done} of {units} units, {graded} texts graded"
        print(f"\r{last}", end="", flush=True) if live else print(last, flush=True)

    try:
        yield report
    finally:
        if live and last:
            print()
