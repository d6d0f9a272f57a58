"""Rows to every frame that the tables are made of, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.analysis.compare import arm_table, crossing_table, paired_differences, summarize_runs
from benchmark.analysis.item_pairs import item_differences, optimism_table
from benchmark.endpoints import MACRO, Endpoints
from tasks.catalog import groups

ALL_TASKS = "mean of all tasks"
"""What people read instead of the name `MACRO`."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The frames of one report. Arms are in the order of tables: the baseline first, then by name."""

    rows: pd.DataFrame
    """Of the report's kind and metric."""
    runs: pd.DataFrame
    arms: pd.DataFrame
    differences: pd.DataFrame
    crossings: pd.DataFrame
    """As compare.py returns them, the mean over all tasks among the tasks."""
    groups: pd.DataFrame
    """Like `arms`; its task is the name of a group of tasks."""
    group_differences: pd.DataFrame
    """Like `differences`, final, peak, auc and last three only."""
    other_metrics: dict[str, pd.DataFrame]
    """Metric of the rows that is not the report's, such as pass@4 -> `arms` by it, tasks only."""
    left_out: list[str]
    """Why a task has no such metric although rows of it are there, a line each."""
    scores: pd.DataFrame | None
    """`items.item_scores`; None, and the next two with it, where the grades of single items are not here."""
    optimism: pd.DataFrame | None
    item_differences: pd.DataFrame | None
    baseline: str
    smoke: bool
    metric: str
    endpoints: Endpoints

    @property
    def tasks(self) -> list[str]:
        """Return the tasks that have numbers, without the mean over them."""
        return sorted(set(self.runs["task"]) - {MACRO})

    @property
    def others(self) -> list[str]:
        """Return the arms that are compared with the baseline."""
        return sorted(set(self.runs["arm"]) - {self.baseline})

    @property
    def arm_names(self) -> list[str]:
        """Return all arms, the baseline first."""
        return [self.baseline, *self.others]


def collect(
    frame: pd.DataFrame,
    *,
    baseline: str,
    kind: str,
    metric: str,
    endpoints: Endpoints | None,
    scores: pd.DataFrame | None = None,
) -> Results:
    """Compute the frames of a report.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them, in any order.
        baseline: the arm that the others are compared with.
        kind: "real" or "smoke"; rows of the other kind are never read.
        metric: a fraction in [0, 1].
        endpoints: of the suite; None: the defaults.
        scores: `items.item_scores` of the rows, where they are known.

    Raises:
        UserError: what `summarize_runs` and `paired_differences` refuse.
    """
    level = 1 - (endpoints or Endpoints()).alpha
    runs = summarize_runs(frame, endpoints=endpoints, metric=metric, kind=kind)
    differences = paired_differences(runs, baseline, endpoints)
    rows = frame[(frame["kind"] == kind) & (frame["metric"] == metric)]
    grouped = [
        _group_runs(rows, name, tasks, endpoints, metric=metric, kind=kind)
        for name, tasks in measured_groups(sorted(set(runs["task"]) - {MACRO})).items()
    ]
    group_runs = pd.concat(grouped) if grouped else runs.iloc[:0]
    others, left_out = _other_metrics(frame, baseline, metric, kind, level)
    return Results(
        rows=rows.sort_values(["task", "arm", "seed", "step", "split"], na_position="first"),
        runs=runs,
        arms=_ordered(arm_table(runs, level), baseline),
        differences=differences,
        crossings=_ordered(crossing_table(runs, level), baseline),
        groups=_ordered(arm_table(group_runs, level), baseline) if grouped else pd.DataFrame(),
        group_differences=_group_differences(group_runs, baseline, endpoints) if grouped else differences[:0],
        other_metrics=others,
        left_out=left_out,
        scores=scores,
        optimism=None if scores is None else optimism_table(scores, np.random.default_rng(0)),
        item_differences=None if scores is None else item_differences(scores, baseline, level=level),
        baseline=baseline,
        smoke=kind == "smoke",
        metric=metric,
        endpoints=endpoints or Endpoints(),
    )


def _other_metrics(
    frame: pd.DataFrame, baseline: str, metric: str, kind: str, level: float
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Average the other metrics; the report's own chooses the checkpoints, and some tasks have no others."""
    measured = frame[(frame["kind"] == kind) & (frame["missing"] == "")]
    choosing = (measured["metric"] == metric) & (measured["split"] == "validation")
    found, left_out = {}, []
    for other in sorted(set(measured[measured["split"] == "test"]["metric"]) - {metric}):
        told = (measured["metric"] == other) & (measured["split"] == "test")
        holes = sorted(set(measured[told & measured["value"].isna()]["task"]))
        left_out += [
            f"No {other} of {task}: some checkpoint has no item with enough answers." for task in holes
        ]
        told &= ~measured["task"].isin(holes)
        if told.any():
            rows = measured[choosing | told].assign(metric=other)
            runs = summarize_runs(rows, metric=other, kind=kind)
            found[other] = _ordered(arm_table(runs[runs["task"] != MACRO], level), baseline)
    return found, left_out


def measured_groups(tasks: list[str]) -> dict[str, list[str]]:
    """Return the groups of tasks that are measured whole; two names for the same tasks give one, the first.

    A mean over a part of a group is not the group's, so a group with a task missing has no number. A group
    of all the suite's tasks is the mean of all tasks, which stands there anyway.

    >>> measured_groups(["gpqa_diamond", "bbh", "musr", "add2"])
    {'reasoning': ['gpqa_diamond', 'bbh', 'musr']}
    """
    found: dict[frozenset[str], str] = {frozenset(tasks): ALL_TASKS}
    for name, members in groups().items():
        if len(members) > 1 and set(members) <= set(tasks):
            found.setdefault(frozenset(members), name)
    return {name: groups()[name] for name in found.values() if name != ALL_TASKS}


def incomplete_groups(tasks: list[str]) -> dict[str, list[str]]:
    """Return the groups of which a part is measured, with what is missing."""
    return {
        name: [task for task in members if task not in tasks]
        for name, members in groups().items()
        if len(set(members) & set(tasks)) > 1 and not set(members) <= set(tasks)
    }


def _group_runs(
    rows: pd.DataFrame, name: str, tasks: list[str], endpoints: Endpoints | None, *, metric: str, kind: str
) -> pd.DataFrame:
    """Sum up the mean over a group's tasks; all validation rows stay, they choose the checkpoints."""
    chosen = rows[(rows["split"] == "validation") | rows["task"].isin(tasks)]
    bare = (endpoints or Endpoints()).model_copy(update={"levels": {}, "reference": {}})
    runs = summarize_runs(
        chosen.drop(columns="endpoints", errors="ignore"), endpoints=bare, metric=metric, kind=kind
    )
    return runs[runs["task"] == MACRO].assign(task=name)


def _group_differences(runs: pd.DataFrame, baseline: str, endpoints: Endpoints | None) -> pd.DataFrame:
    """Compare on groups; Holm goes over the groups, and none of them is the primary endpoint."""
    return paired_differences(runs, baseline, endpoints).assign(role="secondary")


def _ordered(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Sort by task, the mean over all last, the baseline before the other arms."""
    order = table.assign(macro=table["task"] == MACRO, other=table["arm"] != baseline)
    by = [name for name in ("macro", "task", "other", "arm", "axis", "number") if name in order]
    return order.sort_values(by, kind="stable").drop(columns=["macro", "other"]).reset_index(drop=True)
