"""Scores of single items at the last checkpoint, from the stored texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.store import read_samples, samples_path
from benchmark.suite import Suite
from tasks.catalog import find_task, load_problems
from tasks.grading import Asked, grade_all

Scores = dict[int, dict[str, list[float | None]]]


def final_items(
    out: Path, suite: Suite, rows: pd.DataFrame, seeds: Sequence[int], step: int
) -> tuple[dict[str, list[str]], Scores]:
    """Return the items of each task and their mean score per seed; both empty where there are no texts.

    Args:
        out: the results folder.
        suite: of the rows.
        rows: one per seed, step and task.
        seeds: those to read.
        step: the checkpoint to read.
    """
    last = rows[(rows["step"] == step) & rows["seed"].isin(seeds)]
    paths = {
        (int(row["seed"]), row["task"]): samples_path(out, row["sample_key"])
        for row in last.to_dict("records")
    }
    if not paths or not all(path.exists() for path in paths.values()):
        return {}, {}
    tasks = sorted({task for _, task in paths})
    problems = {task: load_problems(task, "validation") for task in tasks}
    named = {task: [problem.id for problem in problems[task]] for task in tasks}
    scores: Scores = {seed: {} for seed in seeds}
    for (seed, task), path in paths.items():
        _, samples = read_samples(path)
        golds = {problem.id: problem.gold for problem in problems[task]}
        kind = find_task(task).answer
        grades = grade_all([Asked(one.text, golds[one.item], one.finish, kind) for one in samples])
        by_item: dict[str, list[float]] = {name: [] for name in named[task]}
        for sample, grade in zip(samples, grades, strict=True):
            if grade.score is not None:
                by_item[sample.item].append(grade.score)
        scores[seed][task] = [float(np.mean(one)) if one else None for one in by_item.values()]
    return named, scores
