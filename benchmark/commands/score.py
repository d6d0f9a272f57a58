"""`python -m benchmark score SUITE`: grade the stored texts; needs no model."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, set_flags, stored_texts, suite_flags


def add(commands: Commands) -> None:
    """Declare the command."""
    score = commands.add_parser(
        "score", parents=[suite_flags(), set_flags()], help="grade the stored texts; needs no model"
    )
    score.set_defaults(act=_score)


def _score(arguments: argparse.Namespace) -> None:
    suite, out, runs, engine = stored_texts(arguments)
    from benchmark.jobs.progress import progress
    from benchmark.scoring.changes import grader_changes
    from benchmark.scoring.score import score

    with progress() as show:
        stage = show.stage("score", 0, "units")
        graded = score(suite, runs, out, engine, lambda done, units, _: stage.update(done, units))
    print(f"{graded} texts graded, the others had their grades; `aggregate` makes rows and tables of them")
    print(grader_changes(suite, runs, out, engine))
