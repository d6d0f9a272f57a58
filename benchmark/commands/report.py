"""`python -m benchmark report SUITE`: tables and pictures from the rows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.common import Commands, chosen_suite, run_command, suite_flags
from benchmark.suite import BASE
from tasks.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.rows import ResultRow
    from benchmark.suite import Suite


def add(commands: Commands) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report", parents=[suite_flags()], help="write tables and pictures from the rows"
    )
    report.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="also put the table into FILE, between <!-- table SUITE --> and <!-- /table SUITE -->",
    )
    report.set_defaults(act=lambda arguments: write(arguments, None, {}))


def write(arguments: argparse.Namespace, engine: str | None, timing: dict[str, str]) -> None:
    """Write the report of a suite and print its text.

    Args:
        arguments: of the command line.
        engine: whose texts are reported; None: the one that is named, else all there is.
        timing: what each stage took, as text.
    """
    from benchmark.plots import draw_pictures
    from benchmark.report import collect, facts, write_results
    from benchmark.report.readme import fill, results_block
    from benchmark.rows import is_torn, read_rows, to_frame

    suite, out = chosen_suite(arguments)
    path = out / "rows.jsonl"
    found = read_rows(path)
    if is_torn(path):
        print(f"note: {path}: its last line was cut off and is left out; `aggregate` writes it again")
    rows = _declared(found, suite, engine or arguments.engine)
    _refuse_holes(rows, suite, out, run_command(arguments))
    frame = to_frame(rows)
    results = collect(
        frame,
        baseline=suite.baseline,
        kind=suite.kind,
        metric="accuracy",
        endpoints=suite.endpoints,
        scores=_item_scores(out, suite, rows),
    )
    origin = facts(
        results.rows,
        command=run_command(arguments),
        engine=engine or ", ".join(sorted(set(frame["engine"]))),
    )
    text = write_results(results, out, title=suite.summary, origin=origin)
    pictures = draw_pictures(frame, results, out / "pictures", runs_in=out)
    into: Path | None = getattr(arguments, "into", None)  # `run` writes a report too and has no such flag
    if into is not None:
        fill(into, suite.name, results_block(results, run_command(arguments)))
    print(text)
    if others := _left_out(found, rows):
        print(f"not in this report, though the folder has rows of them: {others}")
    if results.scores is None:
        print("no pictures of item flips: there are no grades of single items in this folder")
    if timing:
        print("time: " + ", ".join(f"{stage} {spent}" for stage, spent in timing.items()))
    print(f"tables: {out / 'report.md'}   pictures: {pictures[0].parent}")


def _item_scores(out: Path, suite: Suite, rows: Sequence[ResultRow]) -> pd.DataFrame | None:
    """Return what each checkpoint scored on each item; None where rows alone were copied."""
    if not (out / "grades").is_dir():
        return None
    from benchmark.rows import latest_rows
    from benchmark.scoring.items import scores_of

    return scores_of(out, suite, latest_rows(rows))


def _declared(rows: Iterable[ResultRow], suite: Suite, engine: str | None) -> list[ResultRow]:
    """Keep the arms, seeds, tasks and engine (None: any) that are named: the folder may hold more."""
    arms, seeds = {BASE, *suite.arms}, {None, *suite.seeds}
    return [
        row
        for row in rows
        if (row.suite, row.engine) == (suite.name, engine or row.engine)
        and row.arm in arms
        and row.seed in seeds
        and row.task in suite.tasks
    ]


def _left_out(found: Sequence[ResultRow], rows: Sequence[ResultRow]) -> str:
    """Say which suites, runs, tasks and engines of the folder a report has nothing of; "" for none."""

    def names(some: Sequence[ResultRow]) -> dict[str, set[str]]:
        return {
            "suites": {row.suite for row in some},
            "runs": {f"{row.arm} seed {row.seed}" for row in some},
            "tasks": {row.task for row in some},
            "engines": {row.engine for row in some},
        }

    ours = names(rows)
    left = {what: sorted(there - ours[what]) for what, there in names(found).items()}
    return "; ".join(f"{len(some)} {what} ({_first(some)})" for what, some in left.items() if some)


def _first(names: Sequence[str], at_most: int = 4) -> str:
    return ", ".join([*names[:at_most], *["..."] * (len(names) > at_most)])


def _refuse_holes(rows: Sequence[ResultRow], suite: Suite, out: Path, command: str) -> None:
    """Refuse a report on runs that have no rows: the command in its head would promise them.

    Raises:
        UserError: names one of them.
    """
    there = {(row.arm, row.seed) for row in rows}
    for arm, seed in product(suite.arms, suite.seeds):
        if (arm, seed) not in there:
            engines = ", ".join(sorted({row.engine for row in rows})) or "none"
            raise UserError(
                f"{out}: has no rows of arm {arm!r}, seed {seed} (engines with rows: {engines}); "
                f"`{command}` makes them"
            )
