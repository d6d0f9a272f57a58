"""What a new version of the grader changed: every number of the tables, and the verdicts behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from benchmark.aggregate import make_rows
from benchmark.compare import ENDPOINTS, arm_table, summarize_runs
from benchmark.grades import graders, grades_of
from benchmark.rows import to_frame
from benchmark.runs import TrainedRun
from benchmark.score import Failures
from benchmark.suite import Suite
from benchmark.units import WantedUnit, wanted_units
from tasks.errors import UserError
from tasks.grading import GRADER_VERSION

SHOWN = 20
"""Changed verdicts that are listed one by one."""
EVERY = "mean of all checkpoints"


class Flip(NamedTuple):
    """One sample whose verdict changed."""

    unit: WantedUnit
    item: str
    sample: int
    old: str
    new: str


def grader_changes(suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str) -> str:
    """Compare the grades of this version with those of the one before it; returns text for people.

    Raises:
        UserError: the grades of this version are not complete.
    """
    earlier = graders(out)
    earlier = earlier[: earlier.index(GRADER_VERSION)] if GRADER_VERSION in earlier else earlier
    if not earlier:
        return f"grader {GRADER_VERSION}: there are no grades of an earlier one to compare with"
    title = f"grader {GRADER_VERSION} against {earlier[-1]}"
    new = _numbers(suite, runs, out, engine, GRADER_VERSION)
    try:
        old = _numbers(suite, runs, out, engine, earlier[-1])
    except UserError as error:
        return f"{title}: not compared, since not every text has an old grade ({error})"
    names = list(new.index.names)
    both = new.to_frame("new").join(old.to_frame("old"), how="outer").reset_index()
    changed = both[~((both["old"] == both["new"]) | (both["old"].isna() & both["new"].isna()))]
    flips = [flip for unit in wanted_units(suite, runs, engine) for flip in _flips(out, unit, earlier[-1])]
    if changed.empty and not flips:
        return f"{title}: no number of any table changed, and no verdict"
    rows = [
        [*line[names], _cell(line["old"]), _cell(line["new"]), _cell(line["new"] - line["old"], "+")]
        for _, line in changed.iterrows()
    ]
    table = tabulate(rows, [*names, "old", "new", "difference"], disable_numparse=True)
    counts = f"{title}: {len(changed)} of {len(both)} numbers and {len(flips)} verdicts changed"
    return "\n\n".join(part for part in (counts, table if rows else "", _verdicts(flips)) if part)


def _numbers(suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str, grader: str) -> pd.Series:
    """Return every number of the tables under one version of the grader, by what it is a number of."""
    frame = to_frame(make_rows(suite, runs, out, engine, Failures(), grader))
    names = ["task", "split", "arm", "metric"]
    means = frame.groupby(names)["value"].mean().to_frame("value").assign(number=EVERY).reset_index()
    arms = arm_table(summarize_runs(frame, endpoints=suite.endpoints, kind=suite.kind))
    endpoints = [
        dict(zip(names, (line["task"], "test", line["arm"], "accuracy"), strict=True))
        | {"number": name, "value": line[name].mean}
        for line in arms.to_dict("records")
        for name in ENDPOINTS
    ]
    table = pd.concat([means, pd.DataFrame(endpoints)]).set_index([*names, "number"])
    return table["value"].sort_index()


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


def _cell(value: float, sign: str = "") -> str:
    return "null" if pd.isna(value) else f"{value:{sign}.4f}"
