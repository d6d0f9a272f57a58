"""Tables of comparisons with the baseline: matched by steps, tokens and seconds; speed; times to levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmark.endpoints import Axis, Endpoints
from benchmark.report.arms import ARM, TASK
from benchmark.report.claims import mde_text, noun, task_name
from benchmark.report.results import Results
from benchmark.report.table import (
    MISSING,
    Column,
    Table,
    absent,
    number,
    plain,
    points,
    quantities,
    quantity,
    ratio,
)

COUNTED: tuple[Axis, ...] = ("steps", "tokens")
CLOCK: tuple[Axis, ...] = ("seconds",)
"""Equal runs have equal steps and tokens; what is matched by seconds is another table every time."""
NO_OTHER = f"{MISSING} (there is no other arm)"


def _p_note(endpoints: Endpoints) -> str:
    alpha = f"{100 * endpoints.alpha:g} %"
    inner, outer = (f"{100 * (1 - share * endpoints.alpha):g} %" for share in (2, 1))
    return (
        "p: paired t test, which belongs to the interval; adjusted p: after Holm's correction over the "
        "tasks, for each arm, endpoint and axis (the mean of all tasks stands outside it). Exact p: "
        "two-sided sign-flip test; no p below 2/2^n exists. MDE: the minimum detectable effect, the true "
        f"difference that a two-sided paired t test at {alpha} finds with 80 % power. p of equivalence: two "
        f"one-sided tests against the margin, adjusted likewise; at {alpha} they ask for a {inner} interval "
        f"inside the margin, so a {outer} interval may reach over it; none where the baseline itself is not "
        "shown to gain more than the margin. Verdict 'none': no difference shown, which is not "
        "'no difference'."
    )


def _columns(effect: str, show: Any) -> tuple[Column, ...]:
    return (
        TASK,
        ARM,
        Column("endpoint", "endpoint", plain),
        Column("difference", effect, show),
        Column("p_t", "p", number(3)),
        Column("p_holm", "adjusted p", number(3)),
        Column("p", "exact p", number(3)),
        Column("p_equivalent", "p of equivalence", number(3), optional=True),
        Column("mde", "MDE", plain),
        Column("n", "pairs", plain),
        Column("verdict", "verdict", plain),
        Column("reason", "why not, or what is left out", plain, optional=True),
    )


def difference_tables(results: Results, axes: Sequence[Axis]) -> list[Table]:
    """Return the differences in accuracy, one table per axis that arms are matched by."""
    tables = []
    for axis in axes:
        table = results.differences
        chosen = table[(table["unit"] == "metric") & (table["axis"] == axis)]
        if axis != "steps" and chosen.empty:
            continue
        title = f"Differences from {results.baseline}, paired by seed, matched by {axis}"
        note = _p_note(results.endpoints) if axis == "steps" else _matched_note(results, axis)
        tables.append(
            Table(f"differences_{axis}", title, _points_columns(), _records(chosen), note, NO_OTHER)
        )
    return tables


def group_difference_table(results: Results) -> Table:
    """Return the differences of the means over groups of tasks."""
    chosen = results.group_differences[results.group_differences["unit"] == "metric"]
    note = "As above; the adjusted p is corrected over the groups."
    title = f"Groups: differences from {results.baseline}, paired by seed"
    return Table("differences_groups", title, _points_columns(), _records(chosen), note, NO_OTHER)


def _points_columns() -> tuple[Column, ...]:
    columns = _columns("difference (points)", points)
    mde = Column("mde", "MDE (points)", lambda value: MISSING if absent(value) else f"{100 * value:.2f}")
    return tuple(mde if column.name == "mde" else column for column in columns)


def _matched_note(results: Results, axis: Axis) -> str:
    ends = results.runs.groupby("task")[f"{axis}_end"].first().dropna()
    if ends.empty:
        return ""
    shown = ", ".join(f"{task_name(str(task))} {end:g}" for task, end in ends.items())
    return (
        f"Every curve is read up to the same number of {axis}, "
        f"the end of the shortest run or the suite's horizon: {shown}."
    )


def speed_table(results: Results, axes: Sequence[Axis]) -> Table:
    """Return how many times as fast as the baseline the arms reach the levels, on every axis."""
    table = results.differences
    records = _records(table[(table["unit"] == "ratio") & table["axis"].isin(axes)], by_axis=True)
    columns = tuple(
        Column("axis", "matched by", plain) if column.name == "endpoint" else column
        for column in _columns("times as fast", ratio)
    )
    mde = Column("mde", "MDE (times)", number(3))
    columns = tuple(mde if column.name == "mde" else column for column in columns)
    note = (
        "Geometric mean over the levels that some run reaches; t interval on the log scale over pairs of "
        "seeds. Above 1 the arm is faster. A run that never gets to a level counts with the end: the ratio "
        "is then a bound, and only what a bound can show is concluded."
    )
    return Table(
        _name("speed", axes), f"Speed against {results.baseline}", columns, records, note, _no_levels(results)
    )


def level_table(results: Results, axes: Sequence[Axis]) -> Table:
    """Return when the arms reached the levels of their tasks, with what is censored said and counted."""
    records = [
        row | {"task": task_name(row["task"]), "when": when(row)}
        for row in results.crossings.to_dict("records")
        if row["axis"] in axes
    ]
    records.sort(key=lambda row: (*COUNTED, *CLOCK).index(row["axis"]))
    columns = (
        TASK,
        ARM,
        Column("axis", "in", plain),
        Column("level", "level", lambda value: f"{100 * value:g} %"),
        Column("when", "reached after", plain),
        Column("restricted", "mean time below the level, up to the end", quantities, machines_only=True),
        Column("n_reached", "runs that reached it", plain),
        Column("n_left", "already at the first look", plain),
        Column("n_right", "not by the end", plain),
        Column("n", "runs", plain),
        Column("end", "end", quantity),
        Column("reason", "why there is no mean", plain, optional=True),
    )
    note = (
        "Mean over runs of the first place where the isotonic fit of the curve reaches the level, on the "
        "line between two looks. A run that is not there by the end counts with the end, so the mean is "
        'a lower bound, marked by >. "Already at the first look": the schedule looks too late to tell.'
    )
    return Table(_name("levels", axes), "Time to levels", columns, records, note, _no_levels(results))


def when(row: dict[str, Any]) -> str:
    """Write when a level was reached, with censoring in words.

    >>> when({"text": "<=8", "n_left": 2, "n": 6, "reason": "2 of 6 runs are there"})
    'already at the first look (≤8) in 2 of 6'
    >>> when({"n_left": 0, "n_right": 6, "n": 6, "end": 64.0, "reason": ""})
    '>64'
    """
    if row["n_left"]:
        return (
            f"already at the first look ({row['text'].replace('<=', '≤')}) in {row['n_left']} of {row['n']}"
        )
    if row["reason"]:
        return MISSING
    if row["n_right"] == row["n"]:
        return f">{quantity(row['end'])}"
    return f"{'>' if row['n_right'] else ''}{quantities(row['restricted'])}"


def time_table(results: Results, axes: Sequence[Axis]) -> Table:
    """Return the differences in time to each level, in the units of the axis."""
    table = results.differences
    chosen = table[table["endpoint"].str.startswith("time_to_") & table["axis"].isin(axes)]
    columns = list(_columns("difference (arm − baseline)", quantities))
    columns.insert(3, Column("unit", "in", plain))
    columns.insert(4, Column("n_censored", "runs not there by the end", plain))
    columns = [
        Column("mde", "MDE", quantity) if column.name == "mde" else column
        for column in columns
        if column.name != "p_equivalent"
    ]
    title = f"Time to levels: differences from {results.baseline}, paired by seed"
    note = (
        "Below 0 the arm is there sooner. "
        "With runs that never arrive the difference is one of restricted means."
    )
    return Table(
        _name("times", axes), title, columns, _records(chosen, by_axis=True), note, _no_levels(results)
    )


def _name(table: str, axes: Sequence[Axis]) -> str:
    return f"{table}_seconds" if "seconds" in axes else table


def _no_levels(results: Results) -> str:
    if not results.others:
        return NO_OTHER
    return f"{MISSING} (the suite declares no levels: [endpoints.levels] of its file)"


def _records(table: pd.DataFrame, *, by_axis: bool = False) -> list[dict[str, Any]]:
    records = [
        row | {"task": task_name(row["task"]), "endpoint": noun(row), "mde_text": mde_text(row)}
        for row in table.to_dict("records")
    ]
    if by_axis:
        records.sort(key=lambda row: (*COUNTED, *CLOCK).index(row["axis"]))
    return records


def item_table(results: Results) -> Table | None:
    """Return what areas say about these items and about items like these; None without grades of items."""
    if results.item_differences is None:
        return None
    columns = (
        TASK,
        ARM,
        Column("statement", "speaks about", plain),
        Column("difference", "difference (points)", points),
        Column("n_seeds", "pairs", plain),
        Column("n_items", "items", plain),
        Column("n_left_out", "items left out", plain),
        Column("n_clusters", "clusters of items", plain),
        Column("reason", "why there are no bounds", plain, optional=True),
    )
    note = (
        "These items: other seeds, the same items, as everywhere above. Items like these: other seeds "
        "and other items of the same kind, drawn by cluster; wider, because it says more. "
        "Left out: items that the grader could not judge at some checkpoint of the two arms or in the base."
    )
    title = f"Areas under the curve, paired by seed and by item: differences from {results.baseline}"
    return Table("items", title, columns, results.item_differences.to_dict("records"), note, NO_OTHER)
