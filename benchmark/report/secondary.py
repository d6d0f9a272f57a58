"""Tables that no verdict reads: robust summaries over runs, and the parts of the error over items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.curves import BASE
from benchmark.analysis.summaries import on_axis
from benchmark.endpoints import MACRO
from benchmark.report.arms import ARM, COUNTS, TASK
from benchmark.report.claims import NOUNS
from benchmark.report.results import Results
from benchmark.report.table import Column, Table, absent, number, percent, plain
from benchmark.stats import MIN_SEEDS, Interval, improvement_interval, iqm_interval, variance_parts


def robust_table(results: Results) -> Table | None:
    """Return interquartile means and chances of improvement; None where the primary axis has no numbers."""
    endpoints, runs = results.endpoints, results.runs[results.runs["task"] != MACRO]
    column = on_axis(endpoints.primary, endpoints.primary_axis)
    if runs[column].isna().any():
        return None
    sign = 1 if runs["higher_is_better"].iloc[0] else -1
    value_st = {
        str(arm): own.pivot(index="seed", columns="task", values=column).sort_index().to_numpy()
        for arm, own in runs.groupby("arm")
    }
    generator, level = np.random.default_rng(0), 1 - endpoints.alpha
    records: list[dict[str, Any]] = []
    for arm in results.arm_names:
        ours, theirs = value_st[arm], value_st[results.baseline]
        record = {"arm": arm, "iqm": iqm_interval(ours, generator, level=level), "n_seeds": len(ours)}
        if arm != results.baseline and len(ours) > 1:
            record["improvement"] = improvement_interval(sign * ours, sign * theirs, generator, level=level)
        records.append(record)
    columns = (
        ARM,
        Column("iqm", "interquartile mean", _bare),
        Column("improvement", f"chance to beat {results.baseline}", _bare),
        COUNTS[0],
    )
    note = (
        "Over all seeds and tasks, each task with the same weight: the mean of the middle half of all "
        f"runs, and how often a run is better than a run of {results.baseline} with another seed. "
        f"Intervals resample whole seeds and need {MIN_SEEDS} of them. Secondary: shown, not tested."
    )
    title = f"Robust summaries: {NOUNS[endpoints.primary]} over {endpoints.primary_axis}"
    return Table("robust", title, columns, records, note)


def _bare(value: Interval | None) -> str:
    """Write a share; here no bounds mean few seeds."""
    return percent(value.mean if isinstance(value, Interval) and value.low is None else value)


def variance_table(results: Results) -> Table | None:
    """Return the two parts of the error over items at the last step; None without several answers an item."""
    if results.scores is None:
        return None
    rows = results.scores[(results.scores["split"] == "test") & (results.scores["n"] > 0)]
    parts = []
    for (task, arm, seed), run in rows[rows["arm"] != BASE].groupby(["task", "arm", "seed"]):
        last = run[run["step"] == run["step"].max()]
        found = variance_parts(np.rint(last["mean"] * last["n"]), last["n"])
        if found is not None:
            place = {"task": task, "arm": arm, "seed": seed, "n_items": len(last)}
            parts.append(place | {"between": found.between, "within": found.within})
    if not parts:
        return None
    table = pd.DataFrame(parts).groupby(["task", "arm"])
    means = table[["between", "within"]].mean().assign(n_seeds=table.size(), n_items=table["n_items"].min())
    columns = (
        TASK,
        ARM,
        Column("between", "from which items were asked (points)", _error),
        Column("within", "from the sampling of answers (points)", _error),
        *COUNTS,
    )
    note = (
        "Square roots of the two parts of a run's variance over items, averaged over runs. More answers an "
        "item lower the second only. Files for machines hold the variances."
    )
    return Table(
        "item_variance", "Standard error over items, at the last step", columns,
        means.reset_index().to_dict("records"), note,
    )  # fmt: skip


def _error(variance: float | None) -> str:
    return plain(None) if variance is None or absent(variance) else number(3)(100 * max(0.0, variance) ** 0.5)
