"""`python -m benchmark aggregate SUITE`: rows from the grades, then all tables; needs no model."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, set_flags, stored_texts, suite_flags
from benchmark.commands.report import write


def add(commands: Commands) -> None:
    """Declare the command."""
    aggregate = commands.add_parser(
        "aggregate", parents=[suite_flags(), set_flags()], help="rows from the grades, then all tables"
    )
    aggregate.set_defaults(act=_aggregate)


def _aggregate(arguments: argparse.Namespace) -> None:
    suite, out, runs, engine = stored_texts(arguments)
    from benchmark.scoring.aggregate import aggregate

    rows = aggregate(suite, runs, out, engine)
    print(f"{len(rows)} rows in {out / 'rows.jsonl'}")
    write(arguments, engine, {})
