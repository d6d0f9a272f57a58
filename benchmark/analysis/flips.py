"""Which items training turned from wrong to right and back: counts per run, and the items that moved most."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmark.suite import BASE

RIGHT = 0.5
"""An item counts as right when more than this share of its graded samples is."""
KINDS = ("gained", "lost", "gained_and_lost", "kept")


def flip_counts(scores: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Count, for every run, the items that training flipped from the first to the last checkpoint.

    Args:
        scores: as `items.item_scores` returns them. Items without a graded sample at either end are left out.
        split: which items.

    Returns:
        One row per task, arm and seed, sorted: `gained` items (wrong before, right at the last checkpoint),
        `lost` (right before, wrong at the last), `gained_and_lost` (wrong at both ends and right between),
        `kept` (right at both ends), `n_items`.
    """
    rows = []
    for task, base, runs in _tasks(scores, split):
        for (arm, seed), mean in runs.items():
            last = mean.iloc[:, -1].dropna()
            ends = base.dropna().index.intersection(last.index)
            before, after = base[ends] > RIGHT, last[ends] > RIGHT
            between = (mean.loc[ends].iloc[:, :-1] > RIGHT).any(axis=1)
            kinds = (~before & after, before & ~after, ~before & ~after & between, before & after)
            counts = {name: int(found.sum()) for name, found in zip(KINDS, kinds, strict=True)}
            rows.append({"task": task, "arm": arm, "seed": seed, **counts, "n_items": len(ends)})
    return pd.DataFrame(rows, columns=["task", "arm", "seed", *KINDS, "n_items"])


def arm_flips(scores: pd.DataFrame, baseline: str, split: str = "test") -> pd.DataFrame:
    """Count the items that an arm has right at its last checkpoint and the baseline of that seed has not.

    Returns:
        One row per task, other arm and seed that the baseline has too: `only_arm`, `only_baseline`, `both`,
        `neither` (items) and their total `n_items`.
    """
    names = ["only_arm", "only_baseline", "both", "neither"]
    rows = []
    for task, _, runs in _tasks(scores, split):
        last = {run: mean.iloc[:, -1].dropna() for run, mean in runs.items()}
        for (arm, seed), ours in last.items():
            theirs = last.get((baseline, seed))
            if arm == baseline or theirs is None:
                continue
            shared = ours.index.intersection(theirs.index)
            a, b = ours[shared] > RIGHT, theirs[shared] > RIGHT
            counts = zip(names, (a & ~b, b & ~a, a & b, ~a & ~b), strict=True)
            row = {"task": task, "arm": arm, "seed": seed, "n_items": len(shared)}
            rows.append(row | {name: int(x.sum()) for name, x in counts})
    return pd.DataFrame(rows, columns=["task", "arm", "seed", *names, "n_items"])


def moved_items(scores: pd.DataFrame, task: str, *, count: int, split: str = "test") -> pd.DataFrame:
    """Return the items of a task that training moved most, averaged over seeds.

    Returns:
        At most `count` items, those with the largest |mean over arms of last - base|, those gained first;
        index: item; columns: (arm, step) -> mean over seeds of the item's accuracy, with the untrained policy
        as step 0 of every arm.
    """
    chosen = scores[(scores["split"] == split) & (scores["task"] == task)]
    base = chosen[chosen["arm"] == BASE].set_index("item")["mean"]
    trained = chosen[chosen["arm"] != BASE].groupby(["item", "arm", "step"])["mean"].mean().unstack("item").T
    blocks = {
        arm: trained[arm].sort_index(axis=1) for arm in sorted(set(trained.columns.get_level_values(0)))
    }
    for block in blocks.values():
        block.insert(0, 0, base.reindex(block.index))
    gain = sum(block.iloc[:, -1] - block.iloc[:, 0] for block in blocks.values()) / len(blocks)
    order = pd.DataFrame({"gain": gain.round(9), "size": gain.abs().round(9)}).query("size > 0").reset_index()
    most = order.sort_values(["size", "item"], ascending=[False, True]).head(count)
    return pd.concat(blocks, axis=1).loc[most.sort_values(["gain", "item"], ascending=[False, True])["item"]]


Runs = dict[tuple[str, int], pd.DataFrame]
"""(arm, seed) -> items x steps, accuracy."""


def _tasks(scores: pd.DataFrame, split: str) -> Iterator[tuple[str, pd.Series, Runs]]:
    """Yield every task with the untrained policy's accuracy by item, and its runs."""
    for task, rows in scores[scores["split"] == split].groupby("task"):
        base = rows[rows["arm"] == BASE].set_index("item")["mean"]
        runs = {
            (arm, int(seed)): run.pivot(index="item", columns="step", values="mean").sort_index(axis=1)
            for (arm, seed), run in rows[rows["arm"] != BASE].groupby(["arm", "seed"])
        }
        yield task, base, runs
