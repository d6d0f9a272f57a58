"""What the gate reads of a results folder: one curve per seed and what vouches for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from benchmark.gate.decide import MARGIN
from benchmark.gate.health import checked_names
from benchmark.gate.items import final_items
from benchmark.gate.stops import IntegrityError, TooLittleError
from benchmark.rows import read_rows, to_frame
from benchmark.stats import normalised_auc
from benchmark.suite import BASE, Suite, run_folder
from tasks.errors import UserError
from tasks.settings import Settings

METRIC = "accuracy"
SPLIT = "validation"
"""A gate looks again and again; the test split is left to claims (docs/gate.md)."""
STREAMS = ("loss", "reward/mean", "gradient_norm", "kl", "step_tokens")
"""Metrics kept per step, to find the first step at which two runs of a seed differ."""
SAME = ("engine", "device", "model")
DECODING = ("temperature", "top_p", "max_new_tokens")
NOT_PROTOCOL = {"name", "summary", "arm", "seeds", "train", "engine", "max_sequences", "retention"}
"""Keys of a suite that change no number, or that are compared by what was done instead: `train` as the
resolved configuration of every run."""


Cells = dict[tuple[str, int | None, int], dict[Any, Any]]
"""(task, seed, step) -> row; the untrained policy has seed None."""


class Run(Settings):
    """One training run."""

    seed: int
    config: dict[str, Any]
    """The trainer's resolved configuration."""
    config_hash: str
    git_sha: str
    git_dirty: bool
    weights: list[str]
    """Digest of the weights at every step of `Results.steps`, the base first."""
    curve: dict[str, list[float]]
    """Task -> metric at every step."""
    items: dict[str, list[float | None]]
    """Task -> score of each of `Results.items` at the last step; empty where the folder holds no texts."""
    streams: dict[str, list[float | None]]
    """Metric -> value at each optimizer step."""


class Results(Settings):
    """All runs of one arm of a suite, as measured."""

    suite: dict[str, Any]
    protocol: str
    """Digest of everything in the suite that decides what is measured."""
    endpoints: str
    """Digest of the suite's endpoints."""
    arm: str
    steps: list[int]
    """Of the curves, 0 first."""
    engine: str
    device: str
    versions: dict[str, str]
    task_versions: dict[str, str]
    counts: dict[str, tuple[int, int]]
    """Task -> items asked, completions per item."""
    decoding: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    """Task -> how its completions were drawn, as the rows say."""
    checked: list[str]
    """Metrics with a limit that the runs log."""
    items: dict[str, list[str]]
    runs: list[Run]


def protocol_digest(suite: Suite) -> str:
    """Return the digest of what the suite asks for, resolved: another default is another protocol."""
    asked = suite.model_dump(mode="json", exclude={*NOT_PROTOCOL, *DECODING, "samples", "endpoints"})
    kept = asked | {"decoding": {task: asdict(suite.decoding(task)) for task in suite.tasks}}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def auc(results: Results, run: Run, task: str | None = None) -> float:
    """Return the normalised area under a run's curve: of a task, or the mean over the suite's tasks."""
    tasks = [task] if task else sorted(run.curve)
    return float(np.mean([normalised_auc(results.steps, run.curve[name]) for name in tasks]))


def final(results: Results, run: Run, task: str | None = None) -> float:
    """Return the last value of a run's curve: of a task, or the mean over the suite's tasks."""
    tasks = [task] if task else sorted(run.curve)
    return float(np.mean([run.curve[name][-1] for name in tasks]))


def read_results(out: Path, suite: Suite, seeds: Iterable[int] | None = None) -> Results:
    """Read what a folder holds of a suite's arm.

    Args:
        out: the results folder.
        suite: what was asked for.
        seeds: those to read; None takes every seed of the suite that has rows.

    Raises:
        TooLittleError: no rows, or none of this suite's arm.
        IntegrityError: smoke rows, rows that do not compare with each other, a hole in the grid.
    """
    arm = the_arm(suite)
    rows = _rows(out, suite, arm)
    held = {int(seed) for seed in rows["seed"].dropna()}
    wanted = [seed for seed in suite.seeds if seed in held] if seeds is None else list(seeds)
    if not wanted:
        raise TooLittleError(f"{out}: no rows of {arm} with a seed of the suite; run the suite first")
    rows = rows[rows["seed"].isna() | rows["seed"].isin(wanted)]
    for column in SAME:
        _one(rows[column], f"{out / 'rows.jsonl'}: column {column!r}")
    tasks = sorted(set(rows["task"]))
    cells = {(row["task"], _seed(row["seed"]), int(row["step"])): row for row in rows.to_dict("records")}
    steps = [0, *sorted({step for _, seed, step in cells if seed is not None})]
    named, scores = final_items(out, suite, wanted, steps[-1], SPLIT)
    runs, logged = [], []
    for seed in wanted:
        folder = run_folder(out, arm, seed)
        grid = {task: [_cell(cells, task, seed, step, out) for step in steps] for task in tasks}
        lines = read_metrics(folder)
        logged.append(checked_names(lines))
        runs.append(_run(folder, seed, grid, steps, lines, scores.get(seed, {})))
    counts = {
        task: (
            int(_one(rows[rows["task"] == task]["n_asked"], f"{task}: items asked")),
            int(_one(rows[rows["task"] == task]["n_samples"], f"{task}: completions per item")),
        )
        for task in tasks
    }
    return Results(
        suite=suite.model_dump(mode="json"),
        protocol=protocol_digest(suite),
        endpoints=suite.endpoints.digest(),
        arm=arm,
        steps=steps,
        engine=str(rows["engine"].iloc[0]),
        device=str(rows["device"].iloc[0]),
        versions=json.loads(_one([json.dumps(one, sort_keys=True) for one in rows["versions"]], "versions")),
        task_versions={task: _one(rows[rows["task"] == task]["task_version"], task) for task in tasks},
        counts=counts,
        decoding={task: _decoding(rows[rows["task"] == task], task) for task in tasks},
        checked=sorted(set(logged[0]).intersection(*logged)),
        items=named,
        runs=runs,
    )


def the_arm(suite: Suite) -> str:
    """Return the only arm of a suite.

    Raises:
        UserError: it has several, or the suite declares another endpoint or margin than the gate's plan.
    """
    declared = (suite.endpoints.primary, suite.endpoints.primary_axis, suite.endpoints.margin)
    if declared != ("auc", "steps", MARGIN):
        raise UserError(
            f"suite {suite.name!r} declares {', '.join(map(str, declared))}: the gate's plan is auc over "
            f"steps with a margin of {MARGIN}; leave [endpoints] out of its suite"
        )
    if len(suite.arms) > 1:
        raise UserError(
            f"suite {suite.name!r} has arms {', '.join(suite.arms)}: the gate judges one; add "
            f"--set 'arms=[\"{suite.baseline}\"]'"
        )
    return suite.arms[0]


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run; a torn last line is left out.

    Raises:
        IntegrityError: there are none, or a line is no JSON object.
    """
    path = folder / "metrics.jsonl"
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        records = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        raise IntegrityError(
            f"{path}: missing or damaged; the run's health is unknown, train it again"
        ) from None
    if not all(isinstance(record, dict) for record in records):
        raise IntegrityError(f"{path}: a line is no JSON object; train the run again")
    return records


def _rows(out: Path, suite: Suite, arm: str) -> pd.DataFrame:
    path = out / "rows.jsonl"
    if not path.exists():
        raise TooLittleError(f"{path}: not there, so nothing was measured; run the suite first")
    try:
        frame = to_frame(read_rows(path))
    except UserError as error:
        raise IntegrityError(str(error)) from None
    if suite.kind == "smoke" or (frame["kind"] == "smoke").any():
        raise IntegrityError(f"{path}: smoke rows; they show that the machinery runs, gate a real suite")
    chosen = frame[
        (frame["suite"] == suite.name)
        & frame["arm"].isin([arm, BASE])
        & (frame["split"] == SPLIT)
        & (frame["metric"] == METRIC)
    ]
    if (chosen["arm"] == arm).sum() == 0:
        raise TooLittleError(f"{path}: no {SPLIT} rows of {arm} in suite {suite.name}; run the suite first")
    unmeasured = chosen[chosen["value"].isna()]
    if len(unmeasured):
        first = unmeasured.iloc[0]
        why = first["missing"] or f"{first['n_ungraded']} completions could not be graded"
        raise TooLittleError(f"{path}: {first['task']} step {first['step']} has no value ({why}); measure it")
    return chosen


def _run(
    folder: Path,
    seed: int,
    grid: dict[str, list[dict[Any, Any]]],
    steps: Sequence[int],
    lines: list[dict[str, Any]],
    scores: dict[str, list[float | None]],
) -> Run:
    own = [cell for column in grid.values() for cell in column[1:]]
    weights = []
    for at, step in enumerate(steps):
        weights.append(
            _one([column[at]["weights_hash"] for column in grid.values()], f"weights of step {step}")
        )
    config = _config(folder)
    if config["config"].get("seed", seed) != seed:
        raise IntegrityError(
            f"{folder}: was trained with seed {config['config']['seed']}, not {seed}; "
            "a seed counts once, train it again"
        )
    where = f"seed {seed}"
    return Run(
        seed=seed,
        config=config["config"],
        config_hash=_one([cell["config_hash"] for cell in own], f"{where}: configuration"),
        git_sha=_one([cell["git_sha"] for cell in own], f"{where}: commit"),
        git_dirty=any(cell["git_dirty"] for cell in own),
        weights=weights,
        curve={task: [float(cell["value"]) for cell in column] for task, column in grid.items()},
        items=scores,
        streams={name: [line.get(name) for line in lines] for name in STREAMS},
    )


def _cell(cells: Cells, task: str, seed: int, step: int, out: Path) -> dict[Any, Any]:
    cell = cells.get((task, seed if step else None, step))
    if cell is None:
        raise IntegrityError(
            f"{out / 'rows.jsonl'}: no row of seed {seed}, step {step}, {task} {SPLIT}; "
            "every run needs every checkpoint, run the suite again"
        )
    return cell


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["config"], dict):
            return dict(config)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise IntegrityError(f"{path}: missing or damaged; train the run again")


def _one(values: Iterable[Any], what: str) -> Any:
    found = sorted(set(values), key=str)
    if len(found) != 1:
        shown = ", ".join(str(value)[:60] for value in found[:3])
        raise IntegrityError(f"{what}: {shown} do not compare; keep the rows of one, or score again")
    return found[0].item() if isinstance(found[0], np.generic) else found[0]


def _decoding(rows: pd.DataFrame, task: str) -> dict[str, float | None]:
    return {
        name: _one([None if pd.isna(one) else float(one) for one in rows[name]], f"{task}: {name}")
        for name in DECODING
    }


def _seed(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)
