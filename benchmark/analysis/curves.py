"""Result rows into complete learning curves: every cell is there and comparable, or it is an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from benchmark.endpoints import MACRO
from tasks.catalog import is_test_set
from tasks.errors import UserError, closest
from tasks.schema import SCORED

BASE = "base"
"""The arm name of the untrained policy: step 0, no seed, shared by every arm and seed."""

RUN = ["task", "arm", "seed"]
"""The columns that name one training run on one task."""

COUNTS = ("n_truncated", "n_unparsed", "n_ungraded")

MEASURED = {"tokens": "tokens", "seconds": "train_s"}
"""Other columns of a curve, and the columns of the test row that they come from."""

Cell = tuple[str, str, int | None, int, str]
"""(task, arm, seed, step, split)."""


def learning_curves(frame: pd.DataFrame, *, metric: str = "accuracy", kind: str = "real") -> pd.DataFrame:
    """Pair validation and test value of every checkpoint and put the untrained policy at step 0 of every run.

    A task without a validation split of its own, such as a published test set, takes the mean of the tasks
    that have one. Rows that say why they have no value (`missing`) are left out; the report lists them.
    The grid is complete by construction: each (arm, seed) of the frame has every step that any run of the
    task has, on both splits. Nothing is filled in or left out.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them.
        metric: the metric to read; rows of other metrics are ignored.
        kind: "real" or "smoke"; rows of the other kind are never read.

    Returns:
        One row per task, arm, seed and step, in that order: `validation` and `test` (metric units), the
        test row's `n_items` and `n_completions` (ungraded ones too), its counts `n_truncated`, `n_unparsed`,
        `n_ungraded` (completions), and `higher_is_better`; `tokens` and `seconds` of training so far (0 at
        step 0) and `train_device`, which the seconds were spent on: where a row does not say, the device that
        generated its texts.

    Raises:
        UserError: nothing to read; rows that cannot be compared (two schemas, suites, models, engines or
            versions of a task); a missing cell or a value that is null or not finite, named by arm, seed,
            step, task and split; two rows for one cell; two runs with the same weights after step 0; rows of
            one checkpoint with different weights.
    """
    rows = _select(frame, metric, kind)
    cells = _index(rows.to_dict("records"))
    _refuse_copies(cells)
    suite = rows["suite"].iloc[0]
    _refuse_other_weights(cells, suite)
    runs = sorted({(arm, seed) for _, arm, seed, _, _ in cells if arm != BASE and seed is not None})
    if not runs:
        raise UserError(f"arm {BASE!r} is the only one with rows; train an arm with {_command(suite)}")
    on_split = {split: sorted({cell[0] for cell in cells if cell[-1] == split}) for split in SCORED}
    if not on_split["test"]:
        raise UserError(
            f"suite {suite!r}: no test rows, so there is nothing to claim; it is for "
            "`python -m benchmark gate`"
        )
    points = []
    for task in on_split["test"]:
        steps = sorted({0} | {step for name, _, _, step, _ in cells if name == task})
        chosen_on = _chosen_on(task, on_split["validation"])
        for arm, seed in runs:
            for step in steps:
                who = (arm, seed, step) if step else (BASE, None, 0)
                test = _cell(cells, (task, *who, "test"), metric, suite)
                validation = [_cell(cells, (name, *who, "validation"), metric, suite) for name in chosen_on]
                name = {"task": task, "arm": arm, "seed": seed, "step": step}
                points.append(name | _point(test, validation))
    return pd.DataFrame(points)


def _chosen_on(task: str, with_validation: list[str]) -> list[str]:
    """Return the tasks on whose validation split the checkpoint of a task is chosen."""
    chosen_on = with_validation if is_test_set(task) else [task]
    if not chosen_on:
        raise UserError(
            f"task {task!r}: no task has validation rows, so no checkpoint can be chosen without looking "
            "at the test split; add a task with a validation split to the suite"
        )
    return chosen_on


def _point(test: dict[str, Any], validation: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `learning_curves` says about one checkpoint."""
    values = {"validation": float(np.mean([row["value"] for row in validation])), "test": test["value"]}
    sizes = {"n_items": test["n_items"], "n_completions": test["n_asked"] * test["n_samples"]}
    counts = {name: test[name] for name in (*COUNTS, "higher_is_better")}
    measured = {name: test[of] for name, of in MEASURED.items()}
    return values | sizes | counts | measured | {"train_device": test["train_device"] or test["device"]}


def macro_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Average the curves of several tasks into one task named `MACRO`, each task with the same weight.

    The tasks are fixed: the mean speaks about these tasks. Counts, items and completions are sums.

    Returns:
        Rows like those of `learning_curves`; empty with fewer than two tasks, or where their steps or their
        directions differ, since a mean over other checkpoints would be another quantity.
    """
    steps = {tuple(sorted(set(group["step"]))) for _, group in curves.groupby("task")}
    tasks, directions = curves["task"].nunique(), curves["higher_is_better"].nunique()
    if tasks < 2 or len(steps) > 1 or directions > 1:
        return curves.iloc[:0]
    sums = ["n_items", "n_completions", *COUNTS]
    how = {"validation": "mean", "test": "mean"} | dict.fromkeys(sums, "sum")
    how |= dict.fromkeys(("higher_is_better", "tokens", "seconds", "train_device"), "first")
    mean = curves.groupby(["arm", "seed", "step"], sort=True).agg(how).reset_index()
    return mean.assign(task=MACRO)[list(curves.columns)]


def _select(frame: pd.DataFrame, metric: str, kind: str) -> pd.DataFrame:
    rows = frame[frame["kind"] == kind]
    if rows.empty:
        raise UserError(f"kind {kind!r}: none of the {len(frame)} rows is of that kind; {_other_kind(kind)}")
    chosen = rows[(rows["metric"] == metric) & (rows["missing"] == "")]
    if chosen.empty:
        raise UserError(f"metric {metric!r}: no measured row has it; {closest(metric, set(rows['metric']))}")
    for column in ("schema_version", "suite", "model", "engine", "higher_is_better"):
        _refuse_mixture(chosen[column], f"column {column!r}")
    for task, rows_of_task in chosen.groupby("task"):
        _refuse_mixture(rows_of_task["task_version"], f"task {task!r}, column 'task_version'")
    return chosen


def _other_kind(kind: str) -> str:
    if kind == "real":
        return "smoke rows carry no result, so score a real suite with `python -m benchmark run SUITE`"
    return "run a smoke suite first"


def _refuse_mixture(values: Iterable[Any], what: str) -> None:
    found = sorted({str(value) for value in values})
    if len(found) > 1:
        raise UserError(
            f"{what}: {', '.join(found)} cannot be compared; keep the rows of one, or score again"
        )


def _index(records: Iterable[dict[str, Any]]) -> dict[Cell, dict[str, Any]]:
    cells: dict[Cell, dict[str, Any]] = {}
    for record in records:
        arm, step = record["arm"], int(record["step"])
        seed = None if pd.isna(record["seed"]) else int(record["seed"])
        cell = (record["task"], arm, seed, step, record["split"])
        if (arm == BASE) != (step == 0) or (arm == BASE) != (seed is None):
            raise UserError(
                f"{_name(cell)}: only arm {BASE!r} has step 0, and only it has no seed; "
                "write the untrained policy as that arm"
            )
        if cell in cells:
            raise UserError(
                f"{_name(cell)}: two rows; build the frame with `rows.to_frame`, it keeps the later one"
            )
        cells[cell] = record
    return cells


def _cell(cells: dict[Cell, dict[str, Any]], cell: Cell, metric: str, suite: str) -> dict[str, Any]:
    record = cells.get(cell)
    if record is None:
        raise UserError(f"{_name(cell)}: no row with metric {metric!r}; complete it with {_command(suite)}")
    if not np.isfinite(record["value"]):
        raise UserError(
            f"{_name(cell)}: {metric!r} is {_shown(record['value'])} "
            f"({record['n_ungraded']} ungraded completions); "
            f"find out why, then score it again with {_command(suite)}"
        )
    return record


def _shown(value: float) -> str:
    return "null" if pd.isna(value) else f"{value}"


def _refuse_copies(cells: dict[Cell, dict[str, Any]]) -> None:
    """Two seeds with the same weights after training are one run: counted twice it would pass for evidence.

    Two arms may agree on a seed: they did the same, and their difference is 0.
    """
    owner: dict[tuple[int, str], tuple[str, int | None]] = {}
    for cell, record in cells.items():
        _, arm, seed, step, _ = cell
        if step == 0 or not record["weights_hash"]:
            continue
        other, first = owner.setdefault((step, record["weights_hash"]), (arm, seed))
        if first != seed:
            raise UserError(
                f"{_name(cell)}: has the weights of arm {other!r}, seed {first}; a run counts once, "
                "so train it with a seed of its own"
            )


def _refuse_other_weights(cells: dict[Cell, dict[str, Any]], suite: str) -> None:
    """A run that was trained again, and only some tasks of it scored again, is two runs in one curve."""
    first: dict[tuple[str, int | None, int], Cell] = {}
    for cell, record in cells.items():
        other = first.setdefault(cell[1:4], cell)
        ours, theirs = record["weights_hash"], cells[other]["weights_hash"]
        if ours and theirs and ours != theirs:
            raise UserError(
                f"{_name(cell)}: measured on weights {ours[:12]}, task {other[0]!r}, {other[-1]} on "
                f"{theirs[:12]}; a checkpoint has one set of weights, so score it whole with "
                f"{_command(suite)} where the sets of all its tasks are"
            )


def _name(cell: Cell) -> str:
    task, arm, seed, step, split = cell
    return f"arm {arm!r}, seed {'none' if seed is None else seed}, step {step}, task {task!r}, {split}"


def _command(suite: str) -> str:
    return f"`python -m benchmark run {suite}`, with the --out and --set that made the rows"
