"""`python -m benchmark score SUITE`: grade the stored texts; needs no model."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, chosen_engine, chosen_suite, set_flags, suite_flags


def add(commands: Commands) -> None:
    """Declare the command."""
    score = commands.add_parser(
        "score", parents=[suite_flags(), set_flags()], help="grade the stored texts again; needs no model"
    )
    score.set_defaults(act=_score)


def _score(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    from benchmark.generate import check_sets
    from benchmark.runs import read_runs
    from benchmark.score import score

    check_sets(suite, allow_missing=arguments.allow_missing)
    runs = read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    rows = score(suite, runs, out, chosen_engine(arguments, suite))
    print(f"{len(rows)} rows in {out / 'rows.jsonl'}")
