"""Scores of single items at the last checkpoint, from the grades of the stored texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.scoring.items import item_scores
from benchmark.suite import BASE, Suite
from tasks.errors import UserError

Scores = dict[int, dict[str, list[float | None]]]


def final_items(
    out: Path, suite: Suite, seeds: Sequence[int], step: int, split: str
) -> tuple[dict[str, list[str]], Scores]:
    """Return the items of each task and their mean score per seed; both empty where there are no grades.

    Args:
        out: the results folder.
        suite: of the rows.
        seeds: those to read.
        step: the checkpoint to read.
        split: the items' own.
    """
    try:
        frame = item_scores(out, suite)
    except UserError:  # committed results keep rows and no texts; what the items were is then not known
        return {}, {}
    last = frame[(frame["step"] == step) & (frame["split"] == split) & (frame["arm"] != BASE)]
    last = last[last["seed"].isin(seeds)]
    named: dict[str, list[str]] = {}
    scores: Scores = {seed: {} for seed in seeds}
    for (task, seed), of_run in last.groupby(["task", "seed"]):
        of_run = of_run.sort_values("item")
        named[str(task)] = list(of_run["item"])
        scores[int(seed)][str(task)] = [None if pd.isna(one) else float(one) for one in of_run["mean"]]
    return named, scores
