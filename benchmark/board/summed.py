"""An entry with every statistic that the board shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from benchmark.analysis.compare import arm_table, crossing_table, paired_differences
from benchmark.analysis.curves import learning_curves
from benchmark.analysis.summaries import on_axis
from benchmark.board.declared import unmeasured
from benchmark.board.opened import Opened
from benchmark.board.records import Level
from benchmark.board.schedule import entry_endpoints, entry_runs
from benchmark.endpoints import MACRO
from benchmark.rows import to_frame


@dataclass(frozen=True, kw_only=True)
class Summed:
    """An entry with its statistics."""

    opened: Opened
    level: Level
    status: str
    claim: str
    frame: pd.DataFrame
    curves: pd.DataFrame
    runs: pd.DataFrame
    arms: pd.DataFrame
    crossings: pd.DataFrame
    differences: pd.DataFrame

    @property
    def headline(self) -> str:
        """The task that headline numbers are of: the mean over all of them where there are several."""
        tasks = list(self.runs["task"].unique())
        return MACRO if MACRO in tasks else str(tasks[0])

    @property
    def unmeasured(self) -> str:
        """What of the suite has no value, so that nothing is said over tasks; "" where all is there."""
        return "; ".join(unmeasured(self.opened.rows))


def sum_up(opened: Opened, level: Level = "declared", status: str = "", claim: str = "") -> Summed:
    """Compute everything the board shows of an entry."""
    endpoints = entry_endpoints(opened.entry)
    runs = entry_runs(opened.entry, opened.rows)
    coverage = 1 - endpoints.alpha
    frame = to_frame(opened.rows)
    return Summed(
        opened=opened,
        level=level,
        status=status,
        claim=claim,
        frame=frame,
        curves=learning_curves(frame),
        runs=runs,
        arms=arm_table(runs, coverage),
        crossings=crossing_table(runs, coverage),
        differences=paired_differences(runs, opened.entry.suite["baseline"], endpoints),
    )


def primary_values(one: Summed) -> dict[str, dict[int, float]]:
    """Return arm -> training seed -> primary endpoint of the headline task, without arms that lack it.

    Empty where a task of the suite has not been measured.
    """
    if one.unmeasured:
        return {}
    endpoints = entry_endpoints(one.opened.entry)
    column = on_axis(endpoints.primary, endpoints.primary_axis)
    return {
        str(arm): {int(seed): float(value) for seed, value in zip(runs["seed"], runs[column], strict=True)}
        for arm, runs in one.runs[one.runs["task"] == one.headline].groupby("arm")
        if runs[column].notna().all()
    }


def primary_reason(one: Summed) -> str:
    """Say why an entry has no primary endpoint; all arms of a task share the ends of its axes."""
    if one.unmeasured:
        return one.unmeasured
    axis = entry_endpoints(one.opened.entry).primary_axis
    return str(one.runs.loc[one.runs["task"] == one.headline, f"{axis}_reason"].iloc[0])
