"""Summaries of runs into one table of arms, times to levels and paired differences between arms.

The unit of inference is the training seed, paired across arms; items are fixed ("on these items").
`benchmark.item_pairs` makes the other statement ("on items like these"); the two never share a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.endpoints import MACRO, Axis, Endpoints
from benchmark.stats import (
    Interval,
    equivalence_p,
    holm,
    minimum_detectable_effect,
    paired_t_p,
    ratio_interval,
    sign_flip_p,
    speed_log_ratios,
    t_interval,
)
from benchmark.summaries import on_axis, summarize_runs
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
        (never there), `end` of the axis, `restricted` (`Interval` of `restricted_mean` over seeds, in units
        of the axis; a lower bound of the mean time where n_right > 0), `text` for tables (a mean; ">end"
        where no seed arrived; "<=first look" where it is too late), and `reason`, why restricted is
        None, or "".
    """
    rows = [
        {"task": task, "arm": arm, "axis": axis, "number": number} | _crossings(group, axis, number, level)
        for task, arm, group in _arms(runs)
        for axis in ("steps", "tokens", "seconds")
        for number in _levels(group)
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
        return row | {"restricted": None, "text": f"<={late:g}", "reason": _too_late(left, len(group), late)}
    mean = t_interval(at, level)
    text = f">{row['end']:g}" if right == len(group) else f"{'>' if right else ''}{mean.mean:.4g}"
    return row | {"restricted": mean, "text": text, "reason": ""}


def _too_late(left: int, n: int, late: float) -> str:
    where = "the untrained policy" if late == 0 else f"the first look ({late:g})"
    return (
        f"{left} of {n} runs are there at {where} already: the schedule looks too late, or the level is low"
    )


def paired_differences(
    runs: pd.DataFrame, baseline: str = "grpo", endpoints: Endpoints | None = None
) -> pd.DataFrame:
    """Compare every other arm with the baseline, paired by training seed: arm minus baseline.

    Args:
        runs: of `summarize_runs` with the same endpoints.
        baseline: an arm.
        endpoints: levels of tests and margins; None: the defaults.

    Returns:
        One row per task x arm x endpoint x axis, `MACRO` last; empty when there is no other arm.
        task, arm, baseline.
        endpoint: "final", "peak", "auc", "last3", "time_to_1", ... (one per level), "speed".
        axis: "steps", "tokens" or "seconds"; "peak" and "last3" have "steps" alone.
        role: "primary" for the one declared endpoint on `MACRO` (on the task where there is only one), else
        "secondary".
        level: of time_to_*, metric units; None elsewhere.
        unit: of `difference` and `mde`: "metric" (a fraction), the axis ("steps", ...) for time_to_*, or
        "ratio" for speed.
        difference: `Interval` of the mean difference arm - baseline; for speed the geometric mean of how
        many times as fast the arm is as the baseline (no difference is 1). None when it cannot be formed.
        p: exact two-sided `sign_flip_p`. p_t: paired t test, which belongs to the interval.
        p_holm: p_t adjusted by Holm over the tasks of this arm, endpoint and axis; `MACRO` is no member of
        that family, its p_holm is its p_t.
        p_equivalent: two one-sided tests against the margin, adjusted likewise; None where there is no margin
        (time_to_*).
        mde: `minimum_detectable_effect` for the SD of these pairs; for speed the ratio above 1.
        n: pairs. n_censored: runs among them that never reached a level of the row.
        verdict: "higher" or "lower" when p_holm <= alpha (said of the number: a lower time is better);
        else "equivalent" when p_equivalent <= alpha; else "none" (no difference shown, which is not "no
        difference": see mde); "no statement" when there are too few pairs, no spread, or no numbers.
        reason: why something is None or nothing is concluded, or which levels a speed leaves out; or "".

    Raises:
        UserError: the baseline has no runs, or a seed that only one of the two arms has.
    """
    chosen = endpoints or Endpoints()
    arms = sorted(set(runs["arm"]))
    if baseline not in arms:
        raise UserError(f"baseline {baseline!r}: no runs of that arm; {closest(baseline, arms)}")
    records = []
    for task, arm, group in _arms(runs):
        if arm == baseline:
            continue
        theirs = runs[(runs["task"] == task) & (runs["arm"] == baseline)].set_index("seed").sort_index()
        ours = group.set_index("seed").sort_index()
        _refuse_unpaired(task, {arm: set(ours.index), baseline: set(theirs.index)})
        for pairs in _endpoint_pairs(ours, theirs, chosen):
            place = {"task": task, "arm": arm, "baseline": baseline}
            records.append(place | _compare(pairs, chosen))
    return _judged(pd.DataFrame(records, columns=COLUMNS, dtype=object), chosen)


COLUMNS = [
    *("task", "arm", "baseline", "endpoint", "axis", "role", "level", "unit", "difference", "p", "p_t"),
    *("p_holm", "p_equivalent", "mde", "n", "n_censored", "verdict", "reason"),
]
"""Of `paired_differences`."""


@dataclass(frozen=True)
class _Pairs:
    """One comparison before any statistics."""

    endpoint: str
    axis: Axis
    unit: str
    difference_s: np.ndarray | None
    """One per seed, on the log scale for a ratio; None with a reason."""
    n: int
    margin: float | None = None
    """Of equivalence, on the scale of `difference_s`."""
    level: float | None = None
    n_censored: int = 0
    reason: str = ""


def _endpoint_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, endpoints: Endpoints) -> Iterator[_Pairs]:
    places: list[tuple[str, Axis]] = [("final", "steps"), ("peak", "steps"), ("auc", "steps")]
    places += [("last3", "steps")]
    places += [(name, axis) for axis in endpoints.axes if axis != "steps" for name in ("final", "auc")]
    for name, axis in places:
        column = on_axis(name, axis)
        reason = ours[f"{axis}_reason"].iloc[0]
        both = None if reason else (ours[column] - theirs[column]).to_numpy(dtype=np.float64)
        yield _Pairs(name, axis, "metric", both, len(ours), endpoints.margin, reason=reason)
    for axis in endpoints.axes:
        for number in _levels(ours):
            yield _time_pairs(ours, theirs, axis, number)
        if _levels(ours):
            yield _speed_pairs(ours, theirs, axis, float(np.log(endpoints.speed_margin)))


def _time_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, axis: Axis, number: int) -> _Pairs:
    name = f"time_to_{number}"
    column, reason = on_axis(name, axis), ours[f"{axis}_reason"].iloc[0]
    level = float(ours[f"level_{number}"].iloc[0])
    censored = pd.concat([ours[f"{column}_censored"], theirs[f"{column}_censored"]])
    at = pd.concat([ours[column], theirs[column]])
    left, right = censored == "left", int((censored == "right").sum())
    if left.any():
        reason = _too_late(int(left.sum()), len(censored), float(at[left].max()))
    elif right == len(censored) and not reason:
        reason = f"no run reaches {level:g} by {ours[f'{axis}_end'].iloc[0]:g} {axis}"
    both = None if reason else (ours[column] - theirs[column]).to_numpy(dtype=np.float64)
    return _Pairs(name, axis, axis, both, len(ours), None, level, 0 if reason else right, reason)


def _speed_pairs(ours: pd.DataFrame, theirs: pd.DataFrame, axis: Axis, margin: float) -> _Pairs:
    """Use the levels that every run of both arms reaches; what is left out is said."""
    reason, n = ours[f"{axis}_reason"].iloc[0], len(ours)
    numbers = _levels(ours)
    columns = {number: on_axis(f"time_to_{number}", axis) for number in numbers}
    kept = [
        number
        for number, name in columns.items()
        if all((one[f"{name}_censored"] == "").all() for one in (ours, theirs))
    ]
    if reason or not kept:
        why = reason or "no level that every run of both arms reaches after its first look"
        return _Pairs("speed", axis, "ratio", None, n, margin, reason=why)
    names = [columns[number] for number in kept]
    ratios = speed_log_ratios(theirs[names].to_numpy(dtype=np.float64), ours[names].to_numpy(np.float64))
    dropped = [f"{ours[f'level_{number}'].iloc[0]:g}" for number in numbers if number not in kept]
    note = f"without the levels {', '.join(dropped)}: censored in some run" if dropped else ""
    return _Pairs("speed", axis, "ratio", ratios, n, margin, reason=note)


def _compare(pairs: _Pairs, endpoints: Endpoints) -> dict[str, object]:
    record: dict[str, object] = dict.fromkeys(COLUMNS[3:]) | {
        "endpoint": pairs.endpoint,
        "axis": pairs.axis,
        "level": pairs.level,
        "unit": pairs.unit,
        "n": pairs.n,
        "n_censored": pairs.n_censored,
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
    record["p"] = sign_flip_p(pairs.difference_s)
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
        return ("higher" if row["difference"].mean > unchanged else "lower"), row["reason"]
    if row["p_equivalent"] is not None and row["p_equivalent"] <= endpoints.alpha:
        return "equivalent", row["reason"]
    return "none", row["reason"]


def _arms(runs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return (task, arm, runs in order of their seeds), sorted, the mean over tasks last."""
    groups = [(task, arm, group.sort_values("seed")) for (task, arm), group in runs.groupby(["task", "arm"])]
    return sorted(groups, key=lambda one: (one[0] == MACRO, one[0], one[1]))


def _levels(runs: pd.DataFrame) -> list[int]:
    """Return the numbers of the levels that the task of these runs has."""
    numbers = range(1, sum(name.startswith("level_") for name in runs.columns) + 1)
    return [number for number in numbers if not pd.isna(runs[f"level_{number}"].iloc[0])]


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
