"""`python -m benchmark score SUITE`: grade the stored texts; needs no model."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, chosen_engine, chosen_suite, set_flags, suite_flags


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
    from benchmark.progress import progress
    from benchmark.runs import read_runs
    from benchmark.score import score

    check_sets(suite, allow_missing=arguments.allow_missing)
    runs = read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    engine = chosen_engine(arguments, suite)
    with progress() as show:
        stage = show.stage("score", 0, "units")
        graded = score(suite, runs, out, engine, lambda done, units, _: stage.update(done, units))
    print(f"{graded} texts graded, the others had their grades; `aggregate` makes rows and tables of them")
    print(grader_changes(suite, runs, out, engine))
