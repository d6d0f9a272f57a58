"""`python -m benchmark report SUITE`: tables and pictures from the rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.common import Commands, chosen_suite, run_command, suite_flags

if TYPE_CHECKING:
    import pandas as pd

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
        engine: what decoded; None takes it from the rows.
        timing: what each stage took, as text.
    """
    from benchmark.plots import draw_pictures
    from benchmark.report import collect, facts, write_results
    from benchmark.report.readme import fill, results_block
    from benchmark.rows import read_rows, to_frame

    suite, out = chosen_suite(arguments)
    frame = to_frame(read_rows(out / "rows.jsonl"))
    frame = frame[frame["suite"] == suite.name]
    results = collect(
        frame,
        baseline=suite.baseline,
        kind=suite.kind,
        metric="accuracy",
        endpoints=suite.endpoints,
        scores=_item_scores(out, suite),
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
    if results.scores is None:
        print("no pictures of item flips: there are no grades of single items in this folder")
    if timing:
        print("time: " + ", ".join(f"{stage} {spent}" for stage, spent in timing.items()))
    print(f"tables: {out / 'report.md'}   pictures: {pictures[0].parent}")


def _item_scores(out: Path, suite: Suite) -> pd.DataFrame | None:
    """Return what each checkpoint scored on each item; None where rows alone were copied."""
    if not (out / "grades").is_dir():
        return None
    from benchmark.scoring.items import item_scores

    return item_scores(out, suite)
