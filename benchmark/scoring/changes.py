"""What a new version of the grader changed: cells of every table of the report, and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from benchmark.jobs.runs import TrainedRun
from benchmark.report.document import build
from benchmark.report.files import as_records
from benchmark.report.results import collect
from benchmark.report.table import MISSING, Table
from benchmark.rows import to_frame
from benchmark.scoring.aggregate import make_rows
from benchmark.scoring.grades import graders, grades_of
from benchmark.scoring.items import scores_of
from benchmark.scoring.score import Failures
from benchmark.suite import Suite
from benchmark.texts.units import WantedUnit, wanted_units
from tasks.errors import UserError
from tasks.grading import GRADER_VERSION

SHOWN = 20
"""Changed verdicts that are listed one by one."""
CELLS = 5
"""Changed cells of a table that are listed one by one."""
GRADED = ("item", "index", "status", "score", "found", "vote")
"""What two graders can say differently about a text."""
LINE = ("task", "metric", "endpoint", "axis", "level", "statement", "arm")
"""Columns that say what a line of a table is about."""


class Flip(NamedTuple):
    """One sample whose verdict changed."""

    unit: WantedUnit
    item: str
    sample: int
    old: str
    new: str


class Cell(NamedTuple):
    """One cell of a table as people read it, before and after."""

    line: str
    column: str
    old: str
    new: str


def grader_changes(suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str) -> str:
    """Compare the grades of this version with those of the one before it; returns text for people."""
    earlier = graders(out)
    earlier = earlier[: earlier.index(GRADER_VERSION)] if GRADER_VERSION in earlier else earlier
    if not earlier:
        return f"grader {GRADER_VERSION}: there are no grades of an earlier one to compare with"
    before = earlier[-1]
    title = f"grader {GRADER_VERSION} against {before}"
    try:
        units = [unit for unit in wanted_units(suite, runs, engine) if _differ(out, unit, before)]
        if not units:
            return f"{title}: no number of any table changed, and no verdict"
        old, new = (_tables(suite, runs, out, engine, version) for version in (before, GRADER_VERSION))
    except UserError as error:
        return f"{title}: not compared ({error})"
    names = list(dict.fromkeys([*old, *new]))
    cells = {name: _cells(old.get(name), new.get(name)) for name in names}
    changed = {name: found for name, (found, _) in cells.items() if found}
    flips = [flip for unit in units for flip in _flips(out, unit, before)]
    counts = (
        f"{title}: {sum(map(len, changed.values()))} of {sum(count for _, count in cells.values())} cells "
        f"in {len(changed)} of {len(names)} tables changed, and {len(flips)} verdicts"
    )
    return "\n\n".join([counts, *(_listed(*one) for one in changed.items()), _verdicts(flips)]).rstrip()


def _differ(out: Path, unit: WantedUnit, grader: str) -> bool:
    old, new = (grades_of(out, unit.key, GRADED, version)[1] for version in (grader, GRADER_VERSION))
    return not old.equals(new)


def _tables(
    suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str, grader: str
) -> dict[str, Table]:
    """Return every table of the report under one version of the grader.

    Raises:
        UserError: not every text has a grade of it, or the report refuses its rows.
    """
    rows = list(make_rows(suite, runs, out, engine, Failures(), grader))
    results = collect(
        to_frame(rows),
        baseline=suite.baseline,
        kind=suite.kind,
        metric="accuracy",
        endpoints=suite.endpoints,
        scores=scores_of(out, suite, rows, grader),
    )
    return {table.name: table for document in build("", {}, results) for table in document.tables}


def _cells(old: Table | None, new: Table | None) -> tuple[list[Cell], int]:
    """Return the cells of a table that changed, and how many there are; a table may be in one report only."""
    before, after = _lines(old), _lines(new)
    columns = {column.name: column for table in (old, new) if table for column in table.columns}
    lines = list(dict.fromkeys([*after, *before]))
    changed = []
    for line in lines:
        (was, old_record), (now, new_record) = before.get(line, ({}, {})), after.get(line, ({}, {}))
        for name, column in columns.items():
            if was.get(name) != now.get(name):
                shown = [
                    column.show(record[name]) if name in record else MISSING
                    for record in (old_record, new_record)
                ]
                changed.append(Cell(" ".join(map(str, line[:-1])), column.heading, *shown))
    return changed, len(lines) * len(columns)


def _lines(table: Table | None) -> dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]:
    """Return what each line is about, and how many such lines were before -> its record: raw, and to show."""
    found: dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]] = {}
    seen: Counter[tuple[Any, ...]] = Counter()
    if table is None:
        return found
    for machine, record in zip(as_records(table), table.records, strict=True):
        about = tuple(machine[name] for name in LINE if machine.get(name) is not None)
        found[*about, seen[about]] = machine, record
        seen[about] += 1
    return found


def _listed(name: str, cells: Sequence[Cell]) -> str:
    head = f"{name}: {len(cells)} cell{'s' if len(cells) > 1 else ''} changed"
    table = tabulate(cells[:CELLS], ["line", "column", "old", "new"], disable_numparse=True)
    more = f"\n... and {len(cells) - CELLS} more" if len(cells) > CELLS else ""
    return f"{head}\n{table}{more}"


def _flips(out: Path, unit: WantedUnit, grader: str) -> Iterator[Flip]:
    columns = ("item", "index", "status")
    old, new = (grades_of(out, unit.key, columns, version)[1] for version in (grader, GRADER_VERSION))
    before = {(line["item"], line["index"]): line["status"] for line in old.to_pylist()}
    for line in new.to_pylist():
        item, index, status = (line[name] for name in columns)
        was = before.get((item, index), status)
        if was != status:
            yield Flip(unit, item, index, was, status)


def _verdicts(flips: Sequence[Flip]) -> str:
    """Count the changed verdicts by kind, and list the first of them."""
    kinds = Counter((flip.old, flip.new) for flip in flips)
    lines = [f"{count} from {old} to {new}" for (old, new), count in sorted(kinds.items())]
    lines += [
        f"  {flip.unit.checkpoint.folder} {flip.item} sample {flip.sample}: {flip.old} to {flip.new}"
        for flip in flips[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  ... and {len(flips) - SHOWN} more"] if len(flips) > SHOWN else [])])
