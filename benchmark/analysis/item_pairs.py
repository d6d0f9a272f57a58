"""Scores of single items to differences between arms, paired by seed and by item, and to optimism of peaks.

Two statements that never share a row: "these items" (other seeds, the items fixed) and "items like these"
(other seeds and other items of the same kind). The second is wider and says more.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.analysis.curves import BASE
from benchmark.stats import MIN_DRAWS, Interval, crossed_interval, peak_optimism, t_interval
from tasks.errors import UserError, closest

Endpoint = Literal["final", "auc"]
COLUMNS = [
    "task",
    "arm",
    "baseline",
    "endpoint",
    "statement",
    "difference",
    "n_seeds",
    "n_items",
    "n_clusters",
    "n_left_out",
    "reason",
]


def item_differences(
    items: pd.DataFrame,
    baseline: str = "grpo",
    *,
    endpoint: Endpoint = "auc",
    split: str = "test",
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare every other arm with the baseline, item by item and seed by seed: arm minus baseline.

    Args:
        items: one line per arm, seed, step, task, split and item, as `items.item_scores` returns it: columns
            arm, seed (none for the base), step, task, split, item, cluster, n, mean.
        baseline: an arm.
        endpoint: "final", the score at the last step; "auc", its normalised area over steps. Both are linear
            in the scores, so the mean over items is the endpoint of the mean.
        split: whose items.
        level: coverage of the intervals.

    Returns:
        Two rows per task and arm: `statement` "these items" (t interval over seeds of the mean over items)
        and "items like these" (`crossed_interval`: other seeds and other clusters of items); `difference`
        (`Interval`, metric units), n_seeds, n_items, n_clusters, and `reason`, why it has no bounds, or "".
        Items without a graded sample at some checkpoint that the endpoint reads, of either arm or the base,
        are left out and counted in n_left_out.

    Raises:
        UserError: the baseline has no items; an arm, seed, step or item that others have and one lacks; no
            item has a score everywhere.
    """
    rows = items[items["split"] == split]
    arms = sorted(set(rows["arm"]) - {BASE})
    if baseline not in arms:
        raise UserError(f"baseline {baseline!r}: no items of that arm; {closest(baseline, arms)}")
    records = []
    for task, of_task in rows.groupby("task"):
        clusters = of_task.groupby("item")["cluster"].first()
        tables = {arm: _endpoint_table(of_task, task, arm, endpoint) for arm in arms}
        for arm in (name for name in arms if name != baseline):
            _refuse_unequal(task, tables[arm], tables[baseline], arm, baseline)
            difference = (tables[arm] - tables[baseline]).dropna(axis="columns")
            if difference.empty:
                raise UserError(
                    f"task {task!r}: no item has a score at every checkpoint of {arm!r} and {baseline!r}; "
                    "find out why the grader could not judge them"
                )
            names = [clusters[item] or item for item in difference.columns]
            place = {"task": task, "arm": arm, "baseline": baseline, "endpoint": endpoint}
            place["n_left_out"] = tables[arm].shape[1] - len(names)
            records += [place | one for one in _statements(difference.to_numpy(), names, level)]
    return pd.DataFrame(records, columns=COLUMNS, dtype=object)


def _statements(difference_si: np.ndarray, names: list[str], level: float) -> list[dict[str, object]]:
    seeds, items = difference_si.shape
    counts = {"n_seeds": seeds, "n_items": items, "n_clusters": len(set(names))}
    these = t_interval(difference_si.mean(axis=1), level)
    if min(seeds, items) < 2:
        like = Interval(these.mean, None, None, seeds)
    else:
        like = crossed_interval(difference_si, names, level)
    return [
        {"statement": statement, "difference": interval}
        | counts
        | {"reason": _reason(statement, interval, counts)}
        for statement, interval in (("these items", these), ("items like these", like))
    ]


def _reason(statement: str, interval: Interval, counts: dict[str, int]) -> str:
    if interval.low is not None:
        return ""
    if counts["n_seeds"] < 2:
        return "1 pair of seeds: no interval, train at least 2 (5 to be useful)"
    if statement == "items like these" and counts["n_clusters"] < 2:
        return "1 cluster of items: nothing to tell other items by"
    return "all differences are equal or cancel: no spread to build an interval from"


def _endpoint_table(rows: pd.DataFrame, task: str, arm: str, endpoint: Endpoint) -> pd.DataFrame:
    """Return seeds x items: the endpoint of every item's own curve, step 0 from the shared base.

    NaN where a score that the endpoint reads could not be judged. What was not even asked is an error.
    """
    own = rows[(rows["arm"] == arm) & (rows["step"] > 0)]
    base = rows[rows["arm"] == BASE].set_index("item")
    graded, table = (own.pivot(index=["seed", "item"], columns="step", values=of) for of in ("n", "mean"))
    for of, wide in (("n", graded), ("mean", table)):
        wide.insert(0, 0, wide.index.get_level_values("item").map(base[of]))
    holes = graded.isna().stack()  # 0 graded samples are no hole
    if holes.any():
        (seed, item), step = holes.idxmax()[:2], holes.idxmax()[2]
        raise UserError(
            f"task {task!r}, arm {arm!r}, seed {seed}, step {step}: item {item!r} has no score there; "
            "arms are compared on the same items, so generate and score what is missing"
        )
    if len(table) != own["seed"].nunique() * own["item"].nunique():
        raise UserError(f"task {task!r}: seeds of {arm!r} differ in their items; score them again")
    steps = table.columns.to_numpy(dtype=np.float64)
    values = table.to_numpy()
    value = values[:, -1] if endpoint == "final" else np.trapezoid(values, steps, axis=1) / steps[-1]
    return pd.Series(value, index=table.index).unstack("item").sort_index()


def _refuse_unequal(task: str, ours: pd.DataFrame, theirs: pd.DataFrame, arm: str, baseline: str) -> None:
    for what in ("index", "columns"):
        mine, other = set(getattr(ours, what)), set(getattr(theirs, what))
        if mine != other:
            kind = "seed" if what == "index" else "item"
            one = min(mine ^ other)
            raise UserError(
                f"task {task!r}: {kind} {one} is there for only one of {arm!r} and {baseline!r}; "
                "pairs need both, so train or score the other one"
            )


def optimism_table(
    items: pd.DataFrame, generator: np.random.Generator, *, split: str = "test", draws: int = MIN_DRAWS
) -> pd.DataFrame:
    """Say what the raw maximum over trained checkpoints of every run would be if all were equally good.

    Args:
        items: as for `item_differences`.
        generator: the only source of randomness; every run, in sorted order, gets a child of it.
        split: whose items.
        draws: as for `stats.peak_optimism`.

    Returns:
        One row per task, arm and seed: raw_max, `optimism` (expected excess of the maximum of equal
        checkpoints over their mean), p_equal, n_checkpoints, n_items. Items that some checkpoint has no
        graded completion of are left out and counted in n_left_out.
    """
    rows = items[(items["split"] == split) & (items["arm"] != BASE) & (items["step"] > 0)]
    runs = list(rows.groupby(["task", "arm", "seed"]))
    children = generator.spawn(len(runs))
    records = [
        _optimism_of_run(name, run, child, draws) for (name, run), child in zip(runs, children, strict=True)
    ]
    columns = ["task", "arm", "seed", "raw_max", "optimism", "p_equal", "n_checkpoints", "n_items"]
    return pd.DataFrame(records, columns=[*columns, "n_left_out"])


def _optimism_of_run(
    name: tuple[str, str, int], run: pd.DataFrame, generator: np.random.Generator, draws: int
) -> dict[str, Any]:
    task, arm, seed = name
    mean = run.pivot(index="step", columns="item", values="mean")
    n = run.pivot(index="step", columns="item", values="n").fillna(0)
    kept = (n > 0).all()
    if not kept.any():
        raise UserError(f"task {task!r}, arm {arm!r}, seed {seed}: no item has a score at every checkpoint")
    n_ki = n.loc[:, kept].to_numpy(dtype=np.int64)
    right_ki = np.rint(mean.loc[:, kept].to_numpy(dtype=np.float64) * n_ki)
    found = peak_optimism(right_ki, n_ki, generator, draws)
    return {
        **{"task": task, "arm": arm, "seed": int(seed), "n_checkpoints": len(mean)},
        **{"n_items": int(kept.sum()), "n_left_out": int((~kept).sum())},
        **{"raw_max": found.raw_max, "optimism": found.expected, "p_equal": found.p_equal},
    }
