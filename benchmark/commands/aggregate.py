"""`python -m benchmark aggregate SUITE`: rows from the grades, then all tables; needs no model."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, chosen_engine, chosen_suite, set_flags, suite_flags
from benchmark.commands.report import write


def add(commands: Commands) -> None:
    """Declare the command."""
    aggregate = commands.add_parser(
        "aggregate", parents=[suite_flags(), set_flags()], help="rows from the grades, then all tables"
    )
    aggregate.set_defaults(act=_aggregate)


def _aggregate(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    from benchmark.aggregate import aggregate
    from benchmark.generate import check_sets
    from benchmark.runs import read_runs

    check_sets(suite, allow_missing=arguments.allow_missing)
    runs = read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    engine = chosen_engine(arguments, suite)
    rows = aggregate(suite, runs, out, engine)
    print(f"{len(rows)} rows in {out / 'rows.jsonl'}")
    write(arguments, engine, {})
