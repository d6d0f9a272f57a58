"""Summaries of runs into one table of arms, times to levels and paired differences between arms.

The unit of inference is the training seed, paired across arms; items are fixed ("on these items").
`benchmark.analysis.item_pairs` makes the other statement ("on items like these"); the two never share a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.analysis.summaries import on_axis, summarize_runs
from benchmark.analysis.time_pairs import Pairs, levels_of, speed_pairs, time_pairs, too_late
from benchmark.endpoints import MACRO, Axis, Endpoints
from benchmark.stats import (
    MAX_SIGN_FLIP_PAIRS,
    Interval,
    equivalence_p,
    holm,
    minimum_detectable_effect,
    paired_t_p,
    ratio_interval,
    sign_flip_p,
    t_interval,
)
from tasks.errors import UserError, closest

__all__ = ["ENDPOINTS", "arm_table", "crossing_table", "paired_differences", "summarize_runs"]

ENDPOINTS = ("final", "peak", "auc")
"""What sums up a run: value at the last step, value at the step validation picks, area under the curve."""

Verdict = Literal["higher", "lower", "equivalent", "none", "no statement"]


def arm_table(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Average `summarize_runs` over seeds.

    Args:
        runs: of `summarize_runs`.
        level: coverage of the intervals.

    Returns:
        One row per (task, arm), `MACRO` last. As `Interval`: base, final, peak, auc, last3, drop, raw_max,
        and auc_tokens, auc_seconds, final_tokens, final_seconds (None where `tokens_reason`,
        `seconds_reason` says why). `base` is one policy scored once, not n_seeds independent values: its n
        is 1 and it has no bounds. As numbers: `worst`, the final value of the worst seed, and `worst_seed`;
        `n_collapsed` runs; n_seeds; n_items.
    """
    columns = ["final", "peak", "auc", "last3", "drop", "raw_max"]
    columns += [on_axis(endpoint, axis) for axis in ("tokens", "seconds") for endpoint in ("auc", "final")]
    return pd.DataFrame([_arm_row(task, arm, group, columns, level) for task, arm, group in _arms(runs)])


def _arm_row(task: str, arm: str, group: pd.DataFrame, columns: list[str], level: float) -> dict[str, Any]:
    sign = 1 if group["higher_is_better"].iloc[0] else -1
    worst = group.loc[(sign * group["final"]).idxmin()]
    return (
        {"task": task, "arm": arm, "base": Interval(float(group["base"].iloc[0]), None, None, 1)}
        | {name: _mean(group[name], level) for name in columns}
        | {"worst": float(worst["final"]), "worst_seed": int(worst["seed"])}
        | {"n_collapsed": int(group["collapsed"].sum())}
        | {f"{axis}_reason": group[f"{axis}_reason"].iloc[0] for axis in ("tokens", "seconds")}
        | {"n_seeds": len(group), "n_items": int(group["n_items"].min())}
    )


def crossing_table(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Say when the arms reached the levels, with what is censored on either end counted, never dropped.

    Returns:
        One row per (task, arm, axis, number): `number` of the level from 1, `level` (metric units), `n`
        seeds, `n_reached`, `n_left` (already there at the first look: an error in the schedule), `n_right`
        (not there by the end), `end` of the axis, `restricted` (`Interval` of the times over seeds, in units
        of the axis; a run that is not there counts with the end, so with n_right > 0 it is a lower bound of
        the mean time), `text` for tables (a mean; ">end" where no seed arrived; "<=first look" where it is
        too late), and `reason`, why restricted is None, or "".
    """
    rows = [
        {"task": task, "arm": arm, "axis": axis, "number": number} | _crossings(group, axis, number, level)
        for task, arm, group in _arms(runs)
        for axis in ("steps", "tokens", "seconds")
        for number in levels_of(group)
    ]
    columns = ["task", "arm", "axis", "number", "level", "n", "n_reached", "n_left", "n_right", "end"]
    return pd.DataFrame(rows, columns=[*columns, "restricted", "text", "reason"])


def _crossings(group: pd.DataFrame, axis: Axis, number: int, level: float) -> dict[str, Any]:
    name = on_axis(f"time_to_{number}", axis)
    at, censored = group[name], group[f"{name}_censored"]
    left, right = int((censored == "left").sum()), int((censored == "right").sum())
    reason = group[f"{axis}_reason"].iloc[0]
    row = {"level": float(group[f"level_{number}"].iloc[0]), "n": len(group)}
    row |= {"n_left": left, "n_right": right, "end": float(group[f"{axis}_end"].iloc[0])}
    if reason:
        return (
            row
            | {"n_reached": None, "n_left": None, "n_right": None}
            | {"end": None, "restricted": None, "text": "", "reason": reason}
        )
    row["n_reached"] = len(group) - left - right
    if left:
        late = float(at[censored == "left"].max())
        return row | {"restricted": None, "text": f"<={late:g}", "reason": too_late(left, len(group), late)}
    mean = t_interval(at, level)
    text = f">{row['end']:g}" if right == len(group) else f"{'>' if right else ''}{mean.mean:.4g}"
    return row | {"restricted": mean, "text": text, "reason": ""}


def paired_differences(
    runs: pd.DataFrame, baseline: str = "grpo", endpoints: Endpoints | None = None
) -> pd.DataFrame:
    """Compare every other arm with the baseline, paired by training seed: arm minus baseline.

    Args:
        runs: of `summarize_runs` with the same endpoints.
        baseline: an arm.
        endpoints: levels of tests and margins; None: the defaults.

    Returns:
        One row per task, arm, endpoint and axis, `MACRO` last; empty when there is no other arm.
        endpoint: "final", "peak", "auc", "last3", "time_to_1", ... (one per level), "speed".
        axis: "steps", "tokens" or "seconds"; "peak" and "last3" have "steps" alone.
        role: "primary" for the one declared endpoint on `MACRO` (on the task where there is only one), else
        "secondary".
        level: of time_to_*, metric units; None elsewhere.
        unit: of `difference` and `mde`: "metric" (a fraction), the axis for time_to_*, "ratio" for speed.
        difference: `Interval` of the mean difference arm - baseline; for speed the geometric mean of how
        many times as fast the arm is as the baseline (no difference is 1). None when it cannot be formed.
        p: exact two-sided `sign_flip_p`; None above `MAX_SIGN_FLIP_PAIRS` pairs. p_t: paired t test, which
        belongs to the interval.
        p_holm: p_t adjusted by Holm over the tasks of this arm, endpoint and axis; `MACRO` is no member of
        that family, its p_holm is its p_t.
        p_equivalent: two one-sided tests against the margin, adjusted likewise; None where there is no margin
        (time_to_*), where `bound` is not "", and where the baseline itself is not shown to gain more than the
        margin over the untrained policy: two arms that learn nothing are equal whatever they do.
        mde: `minimum_detectable_effect` for the SD of these pairs; for speed the ratio above 1.
        n: pairs. n_censored: runs among them that are not at a level of the row by the end of the axis.
        bound: "" or, for speeds with such runs, what the number bounds: "at most" (of the arm alone: it is
        even slower), "at least" (of the baseline alone), "neither" (of both).
        verdict: "higher" or "lower" when p_holm <= alpha (said of the number: a lower time is better) and
        `bound` allows it; else "equivalent" when p_equivalent <= alpha; else "none" (no difference shown,
        which is not "no difference": see mde); "no statement" when there are too few pairs, no spread, no
        numbers, a bound on the wrong side, or a baseline that is not shown to gain more than the margin.
        reason: why something is None or nothing is concluded, what is censored or left out; or "".

    Raises:
        UserError: the baseline has no runs, or a seed that only one of the two arms has.
    """
    chosen = endpoints or Endpoints()
    arms = sorted(set(runs["arm"]))
    if baseline not in arms:
        raise UserError(f"baseline {baseline!r}: no runs of that arm; {closest(baseline, arms)}")
    records = [
        {"task": task, "arm": arm, "baseline": baseline} | _compare(pairs, chosen)
        for task, arm, ours in _arms(runs)
        if arm != baseline
        for pairs in _endpoint_pairs(*_paired(runs, task, ours, baseline), chosen)
    ]
    return _judged(pd.DataFrame(records, columns=COLUMNS, dtype=object), chosen)


COLUMNS = [
    *("task", "arm", "baseline", "endpoint", "axis", "role", "level", "unit", "difference", "p", "p_t"),
    *("p_holm", "p_equivalent", "mde", "n", "n_censored", "bound", "verdict", "reason"),
]
"""Of `paired_differences`."""


def _paired(
    runs: pd.DataFrame, task: str, ours: pd.DataFrame, baseline: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs of an arm and of the baseline by seed; a seed that one of them lacks is refused."""
    theirs = runs[(runs["task"] == task) & (runs["arm"] == baseline)].set_index("seed").sort_index()
    ours = ours.set_index("seed").sort_index()
    seeds = {ours["arm"].iloc[0]: set(ours.index), baseline: set(theirs.index)}
    _refuse_unpaired(task, seeds)
    return ours, theirs


def _endpoint_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, endpoints: Endpoints) -> Iterator[Pairs]:
    places: list[tuple[str, Axis]] = [("final", "steps"), ("peak", "steps"), ("auc", "steps")]
    places += [("last3", "steps")]
    places += [(name, axis) for axis in endpoints.axes if axis != "steps" for name in ("final", "auc")]
    for name, axis in places:
        column = on_axis(name, axis)
        reason = ours[f"{axis}_reason"].iloc[0]
        both = None if reason else (ours[column] - theirs[column]).to_numpy(dtype=np.float64)
        margin = None if reason or not _gains(theirs, column, endpoints) else endpoints.margin
        yield Pairs(name, axis, "metric", both, len(ours), margin, reason=reason)
    for axis in endpoints.axes:
        for number in levels_of(ours):
            yield time_pairs(ours, theirs, axis, number)
        if levels_of(ours):
            yield speed_pairs(ours, theirs, axis, float(np.log(endpoints.speed_margin)))


def _gains(runs: pd.DataFrame, column: str, endpoints: Endpoints) -> bool:
    """Say whether the mean gain over the untrained policy is shown to exceed the margin (one-sided t)."""
    sign = 1 if runs["higher_is_better"].iloc[0] else -1
    gain = t_interval(sign * (runs[column] - runs["base"]), 1 - 2 * endpoints.alpha)
    return (gain.mean if gain.low is None else gain.low) > endpoints.margin


def _compare(pairs: Pairs, endpoints: Endpoints) -> dict[str, object]:
    record: dict[str, object] = dict.fromkeys(COLUMNS[3:]) | {
        "endpoint": pairs.endpoint,
        "axis": pairs.axis,
        "level": pairs.level,
        "unit": pairs.unit,
        "n": pairs.n,
        "n_censored": pairs.n_censored,
        "bound": pairs.bound,
        "reason": pairs.reason,
        "verdict": "no statement",
    }
    if pairs.difference_s is None:
        return record
    interval_of = ratio_interval if pairs.unit == "ratio" else t_interval
    record["difference"] = interval_of(pairs.difference_s, 1 - endpoints.alpha)
    if pairs.n < 2:
        return record | {
            "reason": "1 pair of seeds: no interval and no test, train at least 2 (5 to be useful)"
        }
    if pairs.n <= MAX_SIGN_FLIP_PAIRS:
        record["p"] = sign_flip_p(pairs.difference_s)
    else:
        too_many = f"no exact p: {pairs.n} pairs, it is counted for up to {MAX_SIGN_FLIP_PAIRS}"
        record["reason"] = "; ".join(filter(None, [pairs.reason, too_many]))
    record["p_t"] = paired_t_p(pairs.difference_s)
    if record["p_t"] is None:
        return record | {
            "reason": f"all {pairs.n} differences are equal: no spread to build an interval from"
        }
    effect = minimum_detectable_effect(float(pairs.difference_s.std(ddof=1)), pairs.n, endpoints.alpha)
    record["mde"] = float(np.exp(effect)) if pairs.unit == "ratio" else effect
    if pairs.margin is not None:
        record["p_equivalent"] = equivalence_p(pairs.difference_s, pairs.margin)
    return record


def _judged(table: pd.DataFrame, endpoints: Endpoints) -> pd.DataFrame:
    """Adjust p over tasks, then conclude; both need all rows of a family."""
    single = table.loc[table["task"] != MACRO, "task"].nunique() == 1
    families = table["task"].where(table["task"] == MACRO, "").rename("macro")
    for _, family in table.groupby([families, table["arm"], table["endpoint"], table["axis"]]):
        table.loc[family.index, "p_holm"] = pd.Series(holm(list(family["p_t"])), family.index, dtype=object)
        adjusted = pd.Series(holm(list(family["p_equivalent"])), family.index, dtype=object)
        table.loc[family.index, "p_equivalent"] = adjusted
    for at, row in table.iterrows():
        declared = (row["endpoint"], row["axis"]) == (endpoints.primary, endpoints.primary_axis)
        primary = declared and (single or row["task"] == MACRO)
        table.loc[at, "role"] = "primary" if primary else "secondary"
        table.loc[at, ["verdict", "reason"]] = _verdict(row, endpoints)
    return table


def _verdict(row: pd.Series, endpoints: Endpoints) -> tuple[Verdict, str]:
    if row["p_holm"] is None:
        return "no statement", row["reason"]
    if row["n"] < endpoints.min_pairs:
        few = f"{row['n']} pairs: fewer than the {endpoints.min_pairs} that a conclusion needs"
        return "no statement", "; ".join(filter(None, [few, row["reason"]]))
    if row["p_holm"] <= endpoints.alpha:
        unchanged = 1.0 if row["unit"] == "ratio" else 0.0
        way: Verdict = "higher" if row["difference"].mean > unchanged else "lower"
        if row["bound"] in ("", {"higher": "at least", "lower": "at most"}[way]):
            return way, row["reason"]
    if row["bound"]:
        return "no statement", row["reason"]
    if row["unit"] == "metric" and row["p_equivalent"] is None:
        idle = f"{row['baseline']}'s own gain is not shown to exceed the margin, so this task cannot show it"
        return "no statement", "; ".join(filter(None, [row["reason"], idle]))
    if row["p_equivalent"] is not None and row["p_equivalent"] <= endpoints.alpha:
        return "equivalent", row["reason"]
    return "none", row["reason"]


def _arms(runs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return (task, arm, runs in order of their seeds), sorted, the mean over tasks last."""
    groups = [(task, arm, group.sort_values("seed")) for (task, arm), group in runs.groupby(["task", "arm"])]
    return sorted(groups, key=lambda one: (one[0] == MACRO, one[0], one[1]))


def _mean(values: pd.Series, level: float) -> Interval | None:
    return None if values.isna().any() else t_interval(values, level)


def _refuse_unpaired(task: str, seeds: dict[str, set[int]]) -> None:
    (arm, ours), (baseline, theirs) = seeds.items()
    for name, only in ((arm, ours - theirs), (baseline, theirs - ours)):
        if only:
            raise UserError(
                f"task {task!r}: seeds {', '.join(map(str, sorted(only)))} exist only for arm {name!r}; "
                f"pairs need both {arm!r} and {baseline!r}, so train the other arm with them"
            )
