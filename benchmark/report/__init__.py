"""The report of a suite: Markdown to read, CSV and JSON to compute with, LaTeX to print, terminal text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.endpoints import Endpoints
from benchmark.report.document import build, write
from benchmark.report.results import Results, collect
from benchmark.report.summary import facts
from benchmark.report.terminal import terminal_text

__all__ = ["Results", "collect", "facts", "write_report", "write_results"]


def write_report(  # noqa: PLR0913 - all keyword-only, each one a fact of the report
    frame: pd.DataFrame,
    out: Path,
    *,
    title: str,
    command: str,
    engine: str,
    baseline: str = "grpo",
    kind: str = "real",
    metric: str = "accuracy",
    endpoints: Endpoints | None = None,
) -> str:
    """Write a report in four formats; equal rows in any order give equal bytes.

    `report.md` to read, `report.json` with every raw number, `report.tex` that shows all tables; the same
    three as `seconds.*` for what is matched by seconds, which equal runs do not share; and each table as
    `tables/NAME.csv` and `tables/NAME.tex` (to be input into a paper). CSV and JSON hold metric units; a
    number that does not exist is an empty field or null. Percentages are for people only.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them.
        out: folder, made when missing.
        title: first heading; a smoke report puts SMOKE before it.
        command: the command that reproduces the rows.
        engine: what generated the scored texts.
        baseline: the arm that the others are compared with.
        kind: "real" or "smoke"; rows of the other kind are never read.
        metric: a fraction in [0, 1].
        endpoints: what the suite is judged by; rows made under others are refused. None: the defaults.

    Returns:
        The text for the terminal, at most 100 columns wide.

    Raises:
        UserError: rows that cannot be compared or are incomplete (`summarize_runs`), a baseline without
            runs or unpaired seeds (`paired_differences`). Nothing is written then.
    """
    results = collect(frame, baseline=baseline, kind=kind, metric=metric, endpoints=endpoints)
    origin = facts(results.rows, command=command, engine=engine)
    return write_results(results, out, title=title, origin=origin)


def write_results(results: Results, out: Path, *, title: str, origin: dict[str, str]) -> str:
    """Write the report of frames that are there already; arguments and result as for `write_report`.

    Args:
        results: of `collect`.
        out: folder, made when missing.
        title: first heading.
        origin: `summary.facts` of the rows.
    """
    heading = f"SMOKE: {title}" if results.smoke else title
    out.mkdir(parents=True, exist_ok=True)
    write(build(heading, origin, results), out)
    return terminal_text(heading, results)
