"""Item by item: what each checkpoint scored on each item, for pairing by item, clusters and flips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.rows import ResultRow, latest_rows, read_rows
from benchmark.scoring.grades import grades_path, read_grades
from benchmark.scoring.measure import READ, Samples, arrange, item_clusters
from benchmark.suite import Suite
from tasks.catalog import load_problems
from tasks.grading import GRADER_VERSION
from tasks.schema import Problem

PLACE = ("arm", "seed", "step", "task", "split")
COLUMNS = (*PLACE, "item", "cluster", "n", "mean")


def item_scores(out: Path, suite: Suite) -> pd.DataFrame:
    """Return the accuracy of every checkpoint on every item, from the rows of a suite and their grades.

    Returns:
        One row per checkpoint, task, split and item, in the order of the rows and then of the items:
        arm, seed (Int64, NA for the untrained policy), step, task, split;
        item: `Problem.id`; cluster: what items share that are not independent, else the item itself;
        n: graded samples; mean: accuracy over them, NaN where n is 0.

    Raises:
        UserError: there are no rows yet, or a row's grades are missing, damaged or incomplete.
    """
    return scores_of(out, suite, latest_rows(read_rows(out / "rows.jsonl")))


def scores_of(
    out: Path, suite: Suite, rows: Iterable[ResultRow], grader: str = GRADER_VERSION
) -> pd.DataFrame:
    """Return what `item_scores` does for rows that are given, by one version of the grader."""
    places, sizes, items, clusters = [], [], [], []
    counts, means = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for row, samples, problems in _units(out, suite, rows, grader):
        names = [problem.id for problem in problems]
        n_i, mean_i = _of_items(samples)
        places.append(row.model_dump(include=set(PLACE)))
        sizes.append(len(problems))
        items += names
        clusters += item_clusters(problems) or names
        counts.append(n_i)
        means.append(mean_i)
    frame = pd.DataFrame(places, columns=list(PLACE)).astype({"seed": "Int64", "step": "int64"})
    frame = frame.loc[frame.index.repeat(sizes)].reset_index(drop=True)
    return frame.assign(item=items, cluster=clusters, n=np.concatenate(counts), mean=np.concatenate(means))


def _units(
    out: Path, suite: Suite, rows: Iterable[ResultRow], grader: str
) -> Iterator[tuple[ResultRow, Samples, list[Problem]]]:
    """Read the grades behind every accuracy of a suite."""
    scored, items_of = set(suite.scored()), cache(load_problems)  # a split is read once, not for every row
    for row in rows:
        mine = (row.suite, row.kind, row.metric) == (suite.name, suite.kind, "accuracy")
        if not mine or row.missing or (row.task, row.split) not in scored:
            continue
        path = grades_path(out, row.sample_key, grader)
        _, table = read_grades(path, READ)
        problems = items_of(row.task, row.split)
        yield row, arrange(table, problems, row.n_samples, str(path)), problems


def _of_items(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return how many samples of each item were graded, and its accuracy over them."""
    n_i = (~np.isnan(samples.score_ik)).sum(axis=1)
    right_i = np.nansum(samples.score_ik, axis=1)
    return n_i, np.where(n_i > 0, right_i / np.maximum(n_i, 1), np.nan)
